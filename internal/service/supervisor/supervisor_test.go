package supervisor

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/owners"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// superviseRoles runs a supervisor over shell commands, one a role, until the test ends.
func superviseRoles(t *testing.T, scripts map[role.Role]string) *Supervisor {
	t.Helper()
	s := &Supervisor{
		Command: func(r role.Role) (*exec.Cmd, func(), error) {
			return exec.Command("/bin/sh", "-c", scripts[r]), func() {}, nil
		},
		Identity:    func(role.Role) owners.Identity { return owners.Identity{UID: 7} },
		Abandon:     func(role.Role) {},
		StopTimeout: 200 * time.Millisecond,
		Log:         slog.New(slog.DiscardHandler),
	}
	var roles []role.Role
	for _, r := range role.All() {
		if scripts[r] != "" {
			roles = append(roles, r)
		}
	}
	s.Prepare(roles)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// wait polls the supervisor, whose processes are the system's.
func wait(t *testing.T, s *Supervisor, what string, ok func(map[string]control.Role) bool) map[string]control.Role {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		m := map[string]control.Role{}
		for _, r := range s.Status() {
			m[r.Name] = r
		}
		if ok(m) {
			return m
		}
	}
	t.Fatalf("it did not come about that %s: %+v", what, s.Status())
	return nil
}

func TestARoleThatDiesIsStartedAgainAndOthersGoOn(t *testing.T) {
	t.Parallel()
	s := superviseRoles(t, map[role.Role]string{role.Queue: "exec sleep 60", role.SMTPD: "exec sleep 60"})
	up := func(m map[string]control.Role) bool { return m["queue"].PID != 0 && m["smtpd"].PID != 0 }
	before := wait(t, s, "both are up", up)
	syscall.Kill(before["queue"].PID, syscall.SIGKILL)
	after := wait(t, s, "the queue is up again", func(m map[string]control.Role) bool {
		return m["queue"].PID != 0 && m["queue"].PID != before["queue"].PID
	})
	if after["smtpd"].PID != before["smtpd"].PID || after["queue"].Restarts != 1 || !strings.Contains(after["queue"].Last, "killed") {
		t.Errorf("have %+v", after)
	}
}

func TestARoleThatEndsAtOnceIsSaidToFlap(t *testing.T) {
	t.Parallel()
	s := superviseRoles(t, map[role.Role]string{role.Queue: "exit 3", role.SMTPD: "exec sleep 60"})
	m := wait(t, s, "the queue flaps", func(m map[string]control.Role) bool { return m["queue"].State == "flapping" })
	if m["smtpd"].State != "up" || m["smtpd"].UID != 7 {
		t.Errorf("have %+v", m["smtpd"])
	}
}

func TestARestartThatWasAskedForComesAtOnce(t *testing.T) {
	t.Parallel()
	s := superviseRoles(t, map[role.Role]string{role.Queue: "exec sleep 60"})
	before := wait(t, s, "it is up", func(m map[string]control.Role) bool { return m["queue"].PID != 0 })
	if err := s.Restart(role.Queue); err != nil {
		t.Fatal(err)
	}
	wait(t, s, "it is up again", func(m map[string]control.Role) bool {
		return m["queue"].PID != 0 && m["queue"].PID != before["queue"].PID && m["queue"].State == "up"
	})
	if err := s.Restart(role.SMTPD); err == nil {
		t.Error("a role that is not run here was restarted")
	}
}

func TestARoleThatDoesNotStopIsKilled(t *testing.T) {
	t.Parallel()
	s := superviseRoles(t, map[role.Role]string{role.Queue: "trap '' TERM; while :; do sleep 1; done"})
	wait(t, s, "it is up", func(m map[string]control.Role) bool { return m["queue"].PID != 0 })
	// The clean-up of supervise waits for its end.
}

func TestBrokenRolesStopFirstAndNobodyWaitsForThem(t *testing.T) {
	t.Parallel()
	var gone []role.Role
	dir := t.TempDir()
	scripts := map[role.Role]string{
		role.Queue: "exit 3", // flaps: is waiting to be started again
		role.Auth:  "exec sleep 60",
		// Ends only when the queue's sockets are closed.
		role.SMTPD: "trap '' TERM; while [ ! -e " + dir + "/closed ]; do sleep 0.01; done",
	}
	s := &Supervisor{
		Command: func(r role.Role) (*exec.Cmd, func(), error) {
			return exec.Command("/bin/sh", "-c", scripts[r]), func() {}, nil
		},
		Identity:    func(role.Role) owners.Identity { return owners.Identity{} },
		StopTimeout: time.Minute,
		Log:         slog.New(slog.DiscardHandler),
	}
	s.Abandon = func(r role.Role) {
		gone = append(gone, r)
		if err := os.WriteFile(dir+"/closed", nil, 0o600); err != nil {
			t.Error(err)
		}
		// smtpd ends for that: it is not broken for it.
		wait(t, s, "smtpd has ended", func(m map[string]control.Role) bool { return m["smtpd"].PID == 0 })
	}
	roles := []role.Role{role.Auth, role.Queue, role.SMTPD}
	s.Prepare(roles)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	wait(t, s, "the queue waits for its next start", func(m map[string]control.Role) bool {
		return m["queue"].State == "flapping" && m["queue"].PID == 0 && m["smtpd"].PID != 0 && m["auth"].PID != 0
	})
	began := time.Now()
	cancel()
	<-done
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if len(gone) != 1 || gone[0] != role.Queue {
		t.Errorf("abandoned %v, want the queue alone", gone)
	}
}
