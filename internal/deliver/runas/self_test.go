package runas

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/fstest"
	"github.com/postilion/postilion/internal/reason"
)

// selfTest is set in the environment of a test process that is an ordinary user.
const selfTest = "RUNAS_SELF_TEST"

// asOrdinary runs the test that calls it again as an ordinary user where this one is root; true tells
// that the caller is the ordinary one.
func asOrdinary(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	u := newUser(t)
	program := u.Home + "/test" // where it lies is root's alone
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Another process copies it: programs that other tests start meanwhile would inherit a descriptor
	// of ours that writes it, and nobody may run a file that is open for writing (ETXTBSY).
	if out, err := exec.Command("cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = u.Home, []string{"PATH=/usr/bin:/bin", "TMPDIR=" + u.Home, selfTest + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.UID, Gid: u.GID}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as uid %d: %v\n%s", u.UID, err, out)
	}
	return false
}

func myself(t *testing.T) (User, *Here) {
	t.Helper()
	h, err := NewHere(Options{Processes: 4000, Memory: 64 << 20, Time: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return User{Name: "me", UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Home: t.TempDir()}, h
}

func TestAnOrdinaryUserServesItself(t *testing.T) {
	t.Parallel()
	if !asOrdinary(t) {
		return
	}
	u, h := myself(t)
	ctx := context.Background()
	fstest.Write(t, tree(t, h, u), ".qmail", "./Maildir/\n")
	if found, err := h.Search(ctx, u, Search{Names: []string{".qmail"}, Limit: 100}); err != nil || string(found.Content) != "./Maildir/\n" {
		t.Errorf("have %+v, %v", found, err)
	}
	// Here limits are laid on a program that is stopped at its first instruction.
	r := sh(t, h, u, "id -u; ulimit -d; ulimit -p; umask; cat /proc/$$/oom_score_adj; exit 4")
	if want := strconv.Itoa(os.Getuid()) + "\n65536\n4000\n0077\n500\n"; string(r.Output) != want || r.Exit != 4 {
		t.Errorf("have %q, want %q: %+v", r.Output, want, r)
	}
	if _, err := h.Run(ctx, u, Command{Args: []string{"/no/such/program"}}); reason.As(err).Reason != reason.ProgramNotRun.Reason {
		t.Errorf("have %v", err)
	}
	other := u
	other.Name, other.UID = "joe", u.UID+1
	_, err := h.Files(ctx, other)
	if e := reason.As(err); e == nil || e.Reason != reason.RunasOnlyOwn.Reason ||
		e.Text(reason.English) != "This server was not started as root: it can serve only its own user uid "+strconv.Itoa(os.Getuid())+", not joe." {
		t.Errorf("have %v", err)
	}
}

func TestAnOrdinaryUsersFilesKeepTheContract(t *testing.T) {
	t.Parallel()
	if !asOrdinary(t) {
		return
	}
	_, h := myself(t)
	fstest.Contract(t, func(t *testing.T) fs.FS {
		u, _ := myself(t)
		return tree(t, h, u)
	})
}
