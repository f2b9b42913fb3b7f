package lastgood

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAFileThatTurnsBadChangesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules")
	now := time.Now()
	var warned []string
	write := func(text string) {
		t.Helper()
		now = now.Add(5 * time.Second)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options[string]{Path: path, Now: func() time.Time { return now }, Warn: func(err error) { warned = append(warned, err.Error()) },
		Parse: func(p []byte) (string, error) {
			if string(p) == "bad" {
				return "", errors.New(path + ":1: bad")
			}
			return string(p), nil
		}}
	if _, err := Open(o); err == nil {
		t.Error("a missing file at the start: want an error")
	}
	write("bad")
	if _, err := Open(o); err == nil {
		t.Error("a bad file at the start: want an error")
	}
	write("one")
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text, want string
		bad        bool
	}{{"two", "two", false}, {"bad", "two", true}, {"three", "three", false}} {
		write(step.text)
		if got := f.Get(); got != step.want || (f.Err() != nil) != step.bad {
			t.Errorf("after %q: %q, %v", step.text, got, f.Err())
		}
		f.Get()
	}
	if len(warned) != 1 || warned[0] != path+":1: bad" {
		t.Errorf("warned %q, want once", warned)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(5 * time.Second)
	if got := f.Get(); got != "three" || f.Err() == nil || len(warned) != 2 {
		t.Errorf("after its removal: %q, %v, %q", got, f.Err(), warned)
	}
}
