package supervisor

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/qmail/supervise"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/limits"
)

// state waits until a role is in a state.
func state(t *testing.T, s *Supervisor, r role.Role, want string) control.Role {
	t.Helper()
	return wait(t, s, string(r)+" "+want, func(m map[string]control.Role) bool { return m[string(r)].State == want })[string(r)]
}

func TestSingleRolesAreStoppedPausedAndContinued(t *testing.T) {
	t.Parallel()
	s := superviseRoles(t, map[role.Role]string{role.Local: "exec sleep 1000", role.Remote: "exec sleep 1000"})
	first, other := state(t, s, role.Local, "up"), state(t, s, role.Remote, "up")
	do := func(c supervise.Command) {
		t.Helper()
		if err := s.Obey(role.Local, c); err != nil {
			t.Fatal(err)
		}
	}
	do(supervise.Pause)
	state(t, s, role.Local, "paused")
	do(supervise.Continue)
	if r := state(t, s, role.Local, "up"); r.PID != first.PID {
		t.Errorf("another process: %+v", r)
	}
	do(supervise.Pause)
	do(supervise.Stop) // also one that stands still
	if r := state(t, s, role.Local, "stopped"); r.PID != 0 || r.Restarts != 0 {
		t.Errorf("have %+v", r)
	}
	do(supervise.Once)
	once := state(t, s, role.Local, "up")
	do(supervise.Terminate)
	state(t, s, role.Local, "stopped")
	do(supervise.Up)
	if r := state(t, s, role.Local, "up"); r.PID == first.PID || r.PID == once.PID {
		t.Errorf("have %+v", r)
	}
	do(supervise.Stop)
	state(t, s, role.Local, "stopped")
	if err := s.Restart(role.Local); err != nil {
		t.Fatal(err)
	}
	state(t, s, role.Local, "up")
	if r := state(t, s, role.Remote, "up"); r.PID != other.PID {
		t.Errorf("another role was touched: %+v", r)
	}
	if err := s.Obey(role.Queue, supervise.Stop); err == nil || err.Error() != "role queue is not run here" {
		t.Errorf("have %v", err)
	}
}

// tool runs one of daemontools' programs.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is missing: install the package daemontools", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 100) {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	if err != nil {
		return "no"
	}
	return string(out)
}

func TestDaemontoolsSeeAndCommandRoles(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "service")
	if err := os.MkdirAll(filepath.Join(root, "remote"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "remote", supervise.Down), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := superviseRoles(t, map[role.Role]string{role.Local: "exec sleep 1000", role.Remote: "exec sleep 1000"})
	s.OpenFolders(root)
	up := state(t, s, role.Local, "up")
	local := filepath.Join(root, "local")
	if _, err := openServiceFolder(local); err == nil {
		t.Error("a folder has two supervisors")
	}
	want := func(parts ...string) {
		t.Helper()
		out := tool(t, "svstat", local)
		for _, p := range parts {
			if !strings.Contains(out, p) {
				t.Errorf("svstat says %q: want %q", out, p)
			}
		}
	}
	want(local+": up (pid ", " seconds\n")
	if tool(t, "svok", local) == "no" {
		t.Error("svok sees nobody")
	}
	tool(t, "svc", "-p", local)
	if r := state(t, s, role.Local, "paused"); r.PID != up.PID {
		t.Errorf("have %+v", r)
	}
	want(", paused")
	tool(t, "svc", "-d", local)
	state(t, s, role.Local, "stopped")
	want(": down ", ", normally up")
	tool(t, "svc", "-u", local)
	again := state(t, s, role.Local, "up")
	tool(t, "svc", "-t", local)
	wait(t, s, "another process", func(m map[string]control.Role) bool {
		return m["local"].State == "up" && m["local"].PID != again.PID
	})
	tool(t, "svc", "-k", local)
	s.CloseFolders()
	// A process that is being started has every descriptor until it begins its program.
	wait(t, s, "svok sees nobody", func(map[string]control.Role) bool { return tool(t, "svok", local) == "no" })
}

// TestEatsMemory is the role of the next test: it takes memory until it has too much.
func TestEatsMemory(t *testing.T) {
	if os.Getenv("POSTILION_TEST_EATS") == "" {
		t.Skip("it is run by another test")
	}
	limits.Set(config.Process{MaxMemory: 4 << 30}, slog.New(slog.DiscardHandler))
	for range 5 {
		if _, err := unix.Mmap(-1, 0, 1<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE); err != nil {
			panic("out of memory: " + err.Error()) // as the runtime does
		}
	}
	os.Exit(0) // there was no limit
}

func TestARoleThatExceedsItsMemoryIsStartedAgainAndOthersGoOn(t *testing.T) {
	t.Parallel()
	s := superviseRoles(t, map[role.Role]string{
		role.Local:  "POSTILION_TEST_EATS=1 exec '" + os.Args[0] + "' -test.run '^TestEatsMemory$' >/dev/null 2>&1",
		role.Remote: "exec sleep 1000",
	})
	other := state(t, s, role.Remote, "up")
	r := wait(t, s, "a start after the end", func(m map[string]control.Role) bool { return m["local"].Restarts > 0 })["local"]
	if r.Last != "exit status 2" { // of a panic; 0 would be a role without a limit
		t.Errorf("have %+v", r)
	}
	if r := state(t, s, role.Remote, "up"); r.PID != other.PID {
		t.Errorf("another role was touched: %+v", r)
	}
}
