package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
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
		eventually(t, "mail is taken again after "+victim+" was killed", func() bool { return l.count() > before+20 })
		t.Logf("%s killed; up and taking mail after %v", victim, time.Since(killed).Round(time.Millisecond))
	}
	stop()
	c, err := l.settle(patience)
	l.verdict(t, "kill -9", c, err, time.Since(began))
	s.drain()
}

// kill kills all, the supervisor or a role, and sees that it is up again.
func (s *server) kill(victim string) {
	s.T.Helper()
	switch victim {
	case "all":
		s.Kill()
		s.serve()
	case "supervisor":
		s.Signal(syscall.SIGKILL)
		<-s.Gone()
		s.serve()
	default:
		s.killRole(victim)
	}
}

// killRole kills a role's process and waits until the supervisor has put up another.
func (s *server) killRole(name string) {
	s.T.Helper()
	find := func() e2etest.Role {
		for _, r := range s.Status().Roles {
			if r.Name == name {
				return r
			}
		}
		s.T.Fatalf("status tells of no role %s", name)
		return e2etest.Role{}
	}
	old := find()
	check(s.T, syscall.Kill(old.PID, syscall.SIGKILL))
	eventually(s.T, name+" is up again", func() bool {
		now := find()
		return now.PID != old.PID && now.PID != 0 && now.Restarts == old.Restarts+1
	})
}
