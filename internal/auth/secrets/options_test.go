package secrets

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/directory/memdir"
)

func TestDefaultsAreWhatTheirTagsSay(t *testing.T) {
	t.Parallel()
	var o Options
	if _, err := o.normalise(); err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(o)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		want := f.Tag.Get("default")
		if f.Name == "Path" || f.Name == "HashConcurrency" { // no key; as many as there are CPUs
			continue
		}
		if d, err := time.ParseDuration(want); err == nil && f.Type == reflect.TypeFor[time.Duration]() {
			want = d.String()
		}
		if got := strings.Trim(fmt.Sprint(v.Field(i).Interface()), "[]"); got != want {
			t.Errorf("%s: the default is %q, its tag says %q", f.Name, got, want)
		}
		if f.Tag.Get("doc") == "" || f.Tag.Get("toml") == "" || f.Tag.Get("example") == "" {
			t.Errorf("%s is not documented", f.Name)
		}
	}
}

func TestWrongSettingsAreAllToldAtOnce(t *testing.T) {
	t.Parallel()
	o := Options{
		Path: filepath.Join(t.TempDir(), "secrets.db"), HashMemory: 1, HashPasses: -1, HashQueue: -5, BlockMax: -time.Second, DefaultDomain: "a..b", Trusted: []string{"10.0.0.0"},
	}
	_, err := Open(t.Context(), o, Deps{Directory: new(memdir.DB)})
	if o.Validate() == nil || (Options{}).Validate() != nil {
		t.Error("Validate and Open do not agree")
	}
	for _, key := range []string{"hash_memory", "hash_passes", "hash_queue", "block_max", "default_domain", "trusted"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not told in: %v", key, err)
		}
	}
}
