package wrap

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/tools/tool"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

// become runs a program and returns what it wanted the process to become.
func become(t *testing.T, name string, c tooltest.Call) (tooltest.Result, *tool.Image) {
	t.Helper()
	var got *tool.Image
	c.Exec = func(i tool.Image) error { got = &i; return nil }
	return tooltest.Run(t, Programs(), name, c), got
}

func TestUsageErrorsExit100AndChangeNothing(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"setuidgid": "setuidgid: usage: setuidgid account child\n",
		"envuidgid": "envuidgid: usage: envuidgid account child\n",
		"envdir":    "envdir: usage: envdir dir child\n",
		"setlock":   "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]\n",
		"pgrphack":  "pgrphack: usage: pgrphack child\n",
		"fghack":    "fghack: usage: fghack child\n",
		"softlimit": "softlimit: usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child\n",
	} {
		code := 100
		if name == "envdir" {
			code = 111
		}
		r, img := become(t, name, tooltest.Call{})
		if r.Code != code || r.Err != want || img != nil {
			t.Errorf("%s: %+v, %v, want %d and %q", name, r, img, code, want)
		}
	}
}

func TestSetuidgidTakesTheAccountsNumbers(t *testing.T) {
	t.Parallel()
	_, img := become(t, "setuidgid", tooltest.Call{Args: []string{"root", "prog", "a"}})
	if img == nil || img.Account == nil || *img.Account != (tool.Account{}) || !slices.Equal(img.Argv, []string{"prog", "a"}) {
		t.Errorf("got %+v", img)
	}
	r, img := become(t, "setuidgid", tooltest.Call{Args: []string{"no-such-account", "prog"}})
	if r.Code != 111 || r.Err != "setuidgid: fatal: unknown account no-such-account\n" || img != nil {
		t.Errorf("got %+v, %v", r, img)
	}
	_, img = become(t, "envuidgid", tooltest.Call{Args: []string{"root", "prog"}, Env: []string{"UID=7", "A=b"}})
	if !slices.Equal(img.Environ, []string{"A=b", "GID=0", "UID=0"}) || img.Account != nil {
		t.Errorf("got %+v", img)
	}
}

func TestEnvdirReadsFirstLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"LINE": "value \t\nsecond\n", "NUL": "a\x00b", "GONE": "", "BLANK": "\n", ".hidden": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, img := become(t, "envdir", tooltest.Call{Args: []string{dir, "prog"}, Env: []string{"GONE=1", "KEPT=2"}})
	slices.Sort(img.Environ)
	if want := []string{"BLANK=", "KEPT=2", "LINE=value", "NUL=a\nb"}; !slices.Equal(img.Environ, want) {
		t.Errorf("got %q, want %q", img.Environ, want)
	}
	original := tooltest.Original(t, "envdir", "daemontools")
	want := tooltest.RunOriginal(t, original, tooltest.Call{Args: []string{dir, "/usr/bin/env", "-u", "PATH", "-u", "TZ"}, Env: []string{"GONE=1", "KEPT=2"}})
	words := strings.Split(strings.TrimSuffix(want.Out, "\n"), "\n")
	got := strings.Split(strings.Join(img.Environ, "\n"), "\n")
	slices.Sort(words)
	slices.Sort(got)
	if !slices.Equal(got, words) {
		t.Errorf("got %q, the original %q", got, words)
	}
}

func TestSoftlimitSetsTheAddressSpaceLast(t *testing.T) {
	t.Parallel()
	_, img := become(t, "softlimit", tooltest.Call{Args: []string{"-m2000000", "-o", "=", "-c", "0", "prog"}})
	want := []tool.Limit{
		{Resource: syscall.RLIMIT_DATA, Soft: 2000000}, {Resource: syscall.RLIMIT_STACK, Soft: 2000000},
		{Resource: rlimitMemlock, Soft: 2000000}, {Resource: syscall.RLIMIT_NOFILE, Soft: 1<<64 - 1},
		{Resource: syscall.RLIMIT_CORE}, {Resource: syscall.RLIMIT_AS, Soft: 2000000},
	}
	if !slices.Equal(img.Limits, want) {
		t.Errorf("got %+v, want %+v", img.Limits, want)
	}
	if r, img := become(t, "softlimit", tooltest.Call{Args: []string{"-m", "2x", "prog"}}); r.Code != 100 || img != nil {
		t.Errorf("a wrong number: %+v", r)
	}
}

func TestSetlockHoldsTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lock")
	inner := func(args ...string) tooltest.Result {
		r, img := become(t, "setlock", tooltest.Call{Args: append(args, file, "prog")})
		if img != nil {
			t.Errorf("%v: ran the program", args)
		}
		return r
	}
	ran := false
	tooltest.Run(t, Programs(), "setlock", tooltest.Call{Args: []string{file, "prog"}, Exec: func(tool.Image) error {
		ran = true
		if r := inner("-n"); r.Code != 111 || r.Err != "setlock: fatal: unable to lock "+file+": temporary failure\n" {
			t.Errorf("-n: %+v", r)
		}
		if r := inner("-nx"); r.Code != 0 || r.Err != "" {
			t.Errorf("-nx: %+v", r)
		}
		if r := inner("-xnX"); r.Code != 111 {
			t.Errorf("-xnX: %+v", r)
		}
		return nil
	}})
	if !ran {
		t.Error("the program was not run")
	}
	// A child that another test starts inherits the file, as it should, and holds the lock until it has ended.
	for end := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		if _, img := become(t, "setlock", tooltest.Call{Args: []string{"-n", file, "prog"}}); img != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the lock was not given back")
		}
	}
}

func TestAProgramThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	r := tooltest.Run(t, Programs(), "pgrphack", tooltest.Call{Args: []string{"prog"}, Exec: func(tool.Image) error { return syscall.ENOENT }})
	if r.Code != 111 || r.Err != "pgrphack: fatal: unable to run prog: file does not exist\n" {
		t.Errorf("got %+v", r)
	}
}

func TestFghackWaitsForDescriptorsNotForTheProgram(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan tooltest.Result, 1)
	go func() {
		done <- tooltest.Run(t, Programs(), "fghack", tooltest.Call{
			Args: []string{"sh", "-c", "(read x <" + fifo + ") & exit 3"}, Env: []string{"PATH=/usr/bin:/bin"},
		})
	}()
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the background process
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-done:
		t.Errorf("did not wait: %+v", r)
	default:
	}
	w.WriteString("go\n")
	w.Close()
	if r := <-done; r.Code != 3 {
		t.Errorf("got %+v", r)
	}
}
