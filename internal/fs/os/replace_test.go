package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Who owns the folder may not have root write where he has laid a link to.
func TestAFileIsReplacedNotWrittenThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, victim := filepath.Join(dir, "copy-of-key.pem"), filepath.Join(dir, "victim")
	if err := errors.Join(os.WriteFile(victim, []byte("old"), 0o600), os.Symlink(victim, name+".new"), os.Symlink(victim, name)); err != nil {
		t.Fatal(err)
	}
	if err := Replace(name, []byte("secret"), 0o640); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{name: "secret", victim: "old"} {
		if p, err := os.ReadFile(file); err != nil || string(p) != want {
			t.Errorf("%s holds %q (%v), want %q", file, p, err, want)
		}
	}
}
