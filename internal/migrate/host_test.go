package migrate

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheHostsNameIsTakenWhereItIsAWholeOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mailname, hostname, want string }{
		{"mx.example.test\n", "other.example.test\n", "mx.example.test"}, {"short\n", "mx.example.test\n", "mx.example.test"},
		{"", "short\n", ""}, {"two words.test\n", "", ""},
	} {
		root := t.TempDir()
		if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"mailname": c.mailname, "hostname": c.hostname} {
			if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r := new(Report)
		r.HostName(root)
		if s, _ := r.Get("host"); s.Value != c.want {
			t.Errorf("%+v: %q", c, s.Value)
		}
		r.Set("host", "given.example.test", "x", 1)
		r.HostName(root)
		if s, _ := r.Get("host"); s.Value != "given.example.test" {
			t.Errorf("the configured name was replaced by %q", s.Value)
		}
	}
}
