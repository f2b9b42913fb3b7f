package e2e

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
)

func TestRestartsUnderLoadLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		k := newSink(t)
		o.config = loadConfig(k)
		s := newServer(t, o)
		l := newLoad(s, k)
		parts := []string{"", "queue", "local", "remote", "smtpd", "directory", "auth", "access", "console", ""}
		if o.single {
			parts = []string{"", ""}
		}
		began := time.Now()
		stop := l.start(4)
		for _, part := range parts {
			time.Sleep(300 * time.Millisecond)
			pid, started := s.start(part)
			if part == "" {
				s.Must("restart")
			} else {
				s.Must("restart", part)
			}
			eventually(t, "the start anew of "+part, func() bool {
				newPID, newStart := s.start(part)
				return newPID != 0 && (newPID != pid || newStart != started)
			})
			before := l.count()
			eventually(t, "mail is taken again after a restart of "+part, func() bool { return l.count() > before+20 })
		}
		stop()
		c, err := l.settle(patience)
		if c.duplicates > 0 {
			t.Errorf("%d messages were delivered twice although everything was stopped in order", c.duplicates)
		}
		l.verdict(t, "restarts", c, err, time.Since(began))
	})
}

func TestABackupServesElsewhereAndIsHeld(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s, _, _ := waiting(t, "one", "two")
		joe := s.addAccount("joe@" + domain)
		folder := filepath.Join(newFolder(t), "copy")
		s.Must("backup", folder)
		s.Must("queue", "delete", "--all", "--yes") // the copy is by itself
		s.Stop()

		k := newSink(t)
		o.dir, o.config = folder, toSink(k)
		restored := newServer(t, o)
		if list := restored.queue("--state", "held"); len(list) != 2 {
			t.Errorf("%d messages are held, want 2", len(list))
		}
		restored.Must("flush")
		check(t, restored.Send("sender@else.example", "joe@"+domain, letter("new")))
		restored.arrived("joe@"+domain, joe, 1)
		if n := len(k.All()); n > 0 {
			t.Errorf("%d held messages were delivered", n)
		}
		restored.Must("queue", "release", "--all", "--yes") // each at its own time
		restored.Must("flush")
		k.Arrived(t, 2)
		restored.drain()
	})
}

// start tells which process serves a part, or the whole with "", and when it began; 0 while none can be asked.
func (s *server) start(part string) (pid int, since string) {
	out, err := s.Run("status", "--json")
	var told struct {
		PID     int
		Started string
		Roles   []struct {
			Name, State string
			PID         int
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &told) != nil {
		return 0, ""
	}
	if part == "" {
		return told.PID, told.Started
	}
	for _, r := range told.Roles {
		if r.Name == part && r.State == "up" {
			return r.PID, ""
		}
	}
	return 0, ""
}
