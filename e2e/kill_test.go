package e2e

import (
	"syscall"
	"testing"
	"time"
)

// between is the time of load between two kills.
const between = 1500 * time.Millisecond

func TestNothingAcknowledgedIsLostToKills(t *testing.T) {
	t.Parallel()
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		killLoop(t, setup{single: true}, []string{"all"}, 4)
	})
	t.Run("apart", func(t *testing.T) {
		t.Parallel()
		needRoot(t)
		killLoop(t, setup{}, []string{"all", "queue", "local", "smtpd", "remote", "supervisor", "directory", "access"}, 10)
	})
}

// killLoop kills what is named in turn, under load, and starts again what does not start by
// itself.
func killLoop(t *testing.T, o setup, victims []string, kills int) {
	k := newSink(t)
	o.config = loadConfig(k)
	s := newServer(t, o)
	l := newLoad(s, k)
	began := time.Now()
	stop := l.start(8)
	for i := range kills * *soak {
		time.Sleep(between)
		victim := victims[i%len(victims)]
		before, killed := l.count(), time.Now()
		l.cut()
		s.kill(victim)
		within(t, patience, "mail is taken again after "+victim+" was killed", func() bool { return l.count() > before+20 })
		t.Logf("%s killed; up and taking mail after %v", victim, time.Since(killed).Round(time.Millisecond))
	}
	stop()
	c, err := l.settle(patience)
	l.verdict(t, "kill -9", c, err, time.Since(began))
	s.drain(patience)
}

// kill kills all, the supervisor or a role, and sees that it is up again.
func (s *server) kill(victim string) {
	s.t.Helper()
	switch victim {
	case "all":
		s.stopNow()
		s.serve()
	case "supervisor":
		s.cmd.Process.Signal(syscall.SIGKILL)
		<-s.gone
		s.serve()
	default:
		s.killRole(victim)
	}
}

// killRole kills a role's process and waits until the supervisor has put up another.
func (s *server) killRole(name string) {
	s.t.Helper()
	find := func() role {
		for _, r := range s.status().Roles {
			if r.Name == name {
				return r
			}
		}
		s.t.Fatalf("status tells of no role %s", name)
		return role{}
	}
	old := find()
	check(s.t, syscall.Kill(old.PID, syscall.SIGKILL))
	within(s.t, patience, name+" is up again", func() bool {
		now := find()
		return now.PID != old.PID && now.PID != 0 && now.Restarts == old.Restarts+1
	})
}
