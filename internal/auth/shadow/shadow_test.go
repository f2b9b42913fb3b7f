package shadow

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs/fstest"
)

var errForm = errors.New("no form that is known")

// passwords are those of a file, compared as they are; a form $y$ is not known.
func passwords(t *testing.T, content string, helpers ...string) *Passwords {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return New(Options{Path: path, Helpers: helpers, Now: func() time.Time { return time.Unix(20_000*86400, 0) },
		Match: func(form, password string) (bool, error) {
			if strings.HasPrefix(form, "$y$") {
				return false, errForm
			}
			return form == password, nil
		}})
}

const file = `root:*:19000:0:99999:7:::
joe:secret:19000:0:99999:7:::
joe:other:19000::::::
locked:!secret:19000:0:99999:7:::
empty::19000:0:99999:7:::
nis:x:1::::::
gone:secret:19000:0:99999:7::20000:
soon:secret:19000:0:99999:7::20001:
odd:secret:19000:0:99999:7::never:
short:secret
new:$y$j9T$abc:19000::::::

nothing of it
`

func TestAPasswordIsTheFirstLinesUntilItsAccountEnds(t *testing.T) {
	t.Parallel()
	p := passwords(t, file)
	for _, c := range []struct {
		user, password string
		want           bool
	}{
		{"joe", "secret", true}, {"joe", "other", false}, {"joe", "", false}, {"joe", "secret\x00", false}, {"root", "*", false},
		{"locked", "!secret", false}, {"locked", "secret", false}, {"empty", "", false}, {"empty", "x", false}, {"nis", "x", false},
		{"gone", "secret", false}, {"soon", "secret", true}, {"odd", "secret", false}, {"short", "secret", true}, {"nobody", "secret", false},
	} {
		have, err := p.Check(context.Background(), c.user, c.password)
		if err != nil || have != c.want {
			t.Errorf("%s %q: have %v, %v", c.user, c.password, have, err)
		}
	}
	_, err := p.Check(context.Background(), "new", "secret")
	if !errors.Is(err, errForm) || !strings.HasPrefix(err.Error(), "the password of new in ") {
		t.Errorf("have %v", err)
	}
}

func TestWhatIsNotKnownIsAskedOfTheHelper(t *testing.T) {
	t.Parallel()
	helper := filepath.Join(t.TempDir(), "helper")
	script := "#!/bin/sh\n[ \"$1 $2\" = 'new nonull' ] || exit 99\np=$(tr '\\000' '|')\n[ \"$p\" = 'secret|' ] && exit 0\n[ \"$p\" = 'odd|' ] && exit 9\nexit 7\n"
	if err := fstest.WriteProgram(helper, script); err != nil {
		t.Fatal(err)
	}
	p := passwords(t, file, "/no/such/helper", helper)
	for password, want := range map[string]bool{"secret": true, "Secret": false} {
		if have, err := p.Check(context.Background(), "new", password); err != nil || have != want {
			t.Errorf("%s: have %v, %v", password, have, err)
		}
	}
	if _, err := p.Check(context.Background(), "new", "odd"); err == nil || !strings.Contains(err.Error(), "exit status 9") {
		t.Errorf("have %v", err)
	}
}

func TestAFileThatCannotBeReadIsTrouble(t *testing.T) {
	t.Parallel()
	p := New(Options{Path: filepath.Join(t.TempDir(), "missing"), Match: func(string, string) (bool, error) { return true, nil }})
	if right, err := p.Check(context.Background(), "joe", "secret"); right || err == nil {
		t.Errorf("have %v, %v", right, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte("a:b:c\n:\n::::::::\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parse(data)
		if err != nil {
			t.Fatal(err)
		}
		for name := range all {
			if name == "" || strings.ContainsAny(name, ":\n") {
				t.Errorf("a user %q", name)
			}
		}
	})
}
