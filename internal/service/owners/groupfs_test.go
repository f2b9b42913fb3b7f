package owners

import (
	"io/fs"
	"os"
	"testing"

	osfs "github.com/postilion/postilion/internal/fs/os"
)

func TestTheGroupMayDoWhatTheOwnerMay(t *testing.T) {
	t.Parallel()
	root, err := osfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := groupFS{root}
	if err := g.MkdirAll("a/b", 0o700); err != nil {
		t.Fatal(err)
	}
	sub, err := g.Sub("a")
	if err != nil {
		t.Fatal(err)
	}
	f, err := sub.OpenFile("b/f", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for name, want := range map[string]fs.FileMode{"a/b": 0o770, "a/b/f": 0o660} {
		st, err := root.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		// The umask of the tests may take rights away, but gives none.
		if st.Mode().Perm()&^want != 0 || st.Mode().Perm()&0o700 != want&0o700 {
			t.Errorf("%s has %v, want %v", name, st.Mode().Perm(), want)
		}
	}
}
