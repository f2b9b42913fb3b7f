package e2e

import (
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
			before := l.count()
			if part == "" {
				s.must("restart")
			} else {
				s.must("restart", part)
			}
			within(t, patience, "mail is taken again after a restart of "+part, func() bool { return l.count() > before+20 })
		}
		stop()
		c, err := l.settle(30 * time.Second)
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
		s.must("backup", folder)
		s.must("queue", "delete", "--all", "--yes") // the copy is by itself
		s.stop()

		k := newSink(t)
		o.dir, o.config = folder, toSink(k)
		restored := newServer(t, o)
		if list := restored.queue("--state", "held"); len(list) != 2 {
			t.Errorf("%d messages are held, want 2", len(list))
		}
		restored.must("flush")
		check(t, restored.send("sender@else.example", "joe@"+domain, letter("new")))
		restored.arrived("joe@"+domain, joe, 1)
		if n := len(k.all()); n > 0 {
			t.Errorf("%d held messages were delivered", n)
		}
		restored.must("queue", "release", "--all", "--yes") // each at its own time
		restored.must("flush")
		k.arrived(t, 2)
		restored.drain(patience)
	})
}
