package svc

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs/fstest"
	"github.com/postilion/postilion/internal/qmail/supervise"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

// service makes a folder as supervise keeps it, with somebody who reads its pipes until the test
// ends. It returns what was written to control.
func service(t *testing.T, s supervise.Status, down bool) (dir string, control *os.File) {
	t.Helper()
	dir = t.TempDir()
	sub := filepath.Join(dir, supervise.Folder)
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{supervise.OK, supervise.Control} {
		if err := syscall.Mkfifo(filepath.Join(sub, name), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(sub, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		control = f
	}
	if err := os.WriteFile(filepath.Join(sub, supervise.File), s.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if down {
		if err := os.WriteFile(filepath.Join(dir, supervise.Down), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, control
}

func TestSvstatTellsAllStates(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		s    supervise.Status
		down bool
		want string
	}{
		{supervise.Status{Since: now.Add(-56 * time.Second), PID: 1234}, false, "up (pid 1234) 56 seconds"},
		{supervise.Status{Since: now, PID: 7, Paused: true, Want: 'd'}, true, "up (pid 7) 0 seconds, normally down, paused, want down"},
		{supervise.Status{Since: now.Add(-time.Hour)}, false, "down 3600 seconds, normally up"},
		{supervise.Status{Since: now, Want: 'u'}, true, "down 0 seconds, want up"},
	} {
		dir, _ := service(t, c.s, c.down)
		r := tooltest.Run(t, Programs(), "svstat", tooltest.Call{Args: []string{dir}, Now: now})
		if want := dir + ": " + c.want + "\n"; r.Out != want || r.Code != 0 {
			t.Errorf("got %+v, want %q", r, want)
		}
	}
}

func TestWhatIsWrongWithAServiceIsTold(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	empty, gone, silent := filepath.Join(root, "empty"), filepath.Join(root, "gone"), filepath.Join(root, "silent")
	broken := filepath.Join(root, "broken")
	for _, d := range []string{empty, silent + "/supervise", broken + "/supervise"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{silent + "/supervise/ok", silent + "/supervise/control"} {
		if err := syscall.Mkfifo(p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A plain file in the pipe's place is not written to.
	if err := os.WriteFile(broken+"/supervise/control", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dirs := []string{empty, gone, silent}
	for name, want := range map[string]tooltest.Result{
		"svstat": {Out: empty + ": unable to open supervise/ok: file does not exist\n" + gone +
			": unable to chdir: file does not exist\n" + silent + ": supervise not running\n"},
		"svc": {Err: "svc: warning: unable to control " + empty + ": file does not exist\nsvc: warning: unable to chdir to " + gone +
			": file does not exist\nsvc: warning: unable to control " + silent + ": supervise not running\n"},
	} {
		args := dirs
		if name == "svc" {
			args = append([]string{"-u"}, dirs...)
		}
		if got := tooltest.Run(t, Programs(), name, tooltest.Call{Args: args}); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		if path, err := exec.LookPath(name); err == nil {
			if got := tooltest.RunOriginal(t, path, tooltest.Call{Args: args}); got != want {
				t.Errorf("%s of daemontools: %+v, want %+v", name, got, want)
			}
		}
	}
	for dir, want := range map[string]int{empty: 100, gone: 111, silent: 100} {
		if r := tooltest.Run(t, Programs(), "svok", tooltest.Call{Args: []string{dir}}); r.Code != want {
			t.Errorf("svok %s: got %d, want %d", dir, r.Code, want)
		}
	}
	tooltest.Run(t, Programs(), "svc", tooltest.Call{Args: []string{"-u", broken}})
	if b, err := os.ReadFile(broken + "/supervise/control"); err != nil || len(b) > 0 {
		t.Errorf("wrote %q into a plain file, %v", b, err)
	}
}

func TestSvcSendsEachCommandOnceInOrder(t *testing.T) {
	t.Parallel()
	dir, control := service(t, supervise.Status{PID: 1}, false)
	if r := tooltest.Run(t, Programs(), "svc", tooltest.Call{Args: []string{"-dud", "-x", dir}}); r.Code != 0 || r.Err != "" {
		t.Errorf("got %+v", r)
	}
	b := make([]byte, 10)
	n, err := control.Read(b)
	if string(b[:n]) != "dux" {
		t.Errorf("sent %q, %v", b[:n], err)
	}
	if r := tooltest.Run(t, Programs(), "svc", tooltest.Call{Args: []string{"-q", dir}}); r.Code != 100 {
		t.Errorf("an unknown option: %+v", r)
	}
}

func TestTheOriginalReadsOurFolderAndWeItsOwn(t *testing.T) {
	t.Parallel()
	svstat := tooltest.Original(t, "svstat", "daemontools")
	// Far in the past, so that a second more or less changes nothing.
	dir, _ := service(t, supervise.Status{PID: 1234, Paused: true, Want: 'd'}, true)
	seconds := func(s string) string { f := strings.Fields(s); f[4] = "N"; return strings.Join(f, " ") }
	ours := tooltest.Run(t, Programs(), "svstat", tooltest.Call{Args: []string{dir}})
	theirs := tooltest.RunOriginal(t, svstat, tooltest.Call{Args: []string{dir}})
	if seconds(ours.Out) != seconds(theirs.Out) {
		t.Errorf("of our folder: ours %q, the original's %q", ours.Out, theirs.Out)
	}

	// A service of the real supervise, stopped by our svc.
	program := tooltest.Original(t, "supervise", "daemontools")
	dir = t.TempDir()
	// supervise starts it before it writes that it is up.
	run := "#!/bin/sh\nuntil " + svstat + " . | grep -q ': up '; do sleep .01; done\necho up\nexec sleep 600\n"
	if err := fstest.WriteProgram(dir+"/run", run); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ours = tooltest.Run(t, Programs(), "svstat", tooltest.Call{Args: []string{dir}})
	if !strings.Contains(ours.Out, ": up (pid ") {
		t.Errorf("of a running service: %q", ours.Out)
	}
	if r := tooltest.Run(t, Programs(), "svok", tooltest.Call{Args: []string{dir}}); r.Code != 0 {
		t.Errorf("svok: %+v", r)
	}
	if r := tooltest.Run(t, Programs(), "svc", tooltest.Call{Args: []string{"-dx", dir}}); r.Err != "" {
		t.Errorf("svc: %+v", r)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("supervise: %v", err)
	}
	ours = tooltest.Run(t, Programs(), "svstat", tooltest.Call{Args: []string{dir}})
	if ours.Out != dir+": supervise not running\n" {
		t.Errorf("of an ended service: %q", ours.Out)
	}
}
