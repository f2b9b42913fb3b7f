package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postilion/postilion/e2e/e2etest"
)

// later is what a next hop says that wants no mail now.
var later = &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "not now"}

// waiting is a server whose next hop refuses for now until open is set, with a message
// to each of the given local parts in its queue.
func waiting(t *testing.T, to ...string) (s *server, k *e2etest.Sink, open *atomic.Bool) {
	k, open = newSink(t), new(atomic.Bool)
	k.Rcpt = func(string) error {
		if open.Load() {
			return nil
		}
		return later
	}
	s = newServer(t, setup{config: toSink(k)})
	for _, name := range to {
		check(t, s.Send(s.Account, name+"@else.example", letter(name)))
	}
	eventually(t, "all messages wait for their next attempt", func() bool {
		list := s.queue("--state", "waiting", "--domain", "else.example")
		tried := 0
		for _, m := range list {
			tried += min(m.Recipients[0].Attempts, 1)
		}
		return tried == len(to)
	})
	return s, k, open
}

// id returns the queue's id of the message to a local part.
func (s *server) id(to string) string {
	s.T.Helper()
	list := s.queue("--to", to+"@else.example")
	if len(list) != 1 {
		s.T.Fatalf("%d messages to %s wait, want 1", len(list), to)
	}
	return list[0].ID
}

func TestQueueVerbsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	s, k, open := waiting(t, "held", "bounced", "deleted", "edited", "kept")

	s.Must("queue", "hold", s.id("held"))
	if list := s.queue("--state", "held"); len(list) != 1 || !list[0].Held {
		t.Errorf("held: %+v", list)
	}
	s.Must("queue", "bounce", s.id("bounced"))
	bounce := string(s.arrived(s.Account, s.Password, 1)[0])
	if !strings.Contains(bounce, "<bounced@else.example>") {
		t.Errorf("the bounce is\n%s", bounce)
	}
	if _, err := s.Run("queue", "delete", "--to", "deleted@else.example"); err == nil {
		t.Error("a filter deleted without --yes")
	}
	if out := s.Must("queue", "delete", "--to", "deleted@else.example", "--yes"); !strings.Contains(out, "1 of 1") {
		t.Errorf("delete says %q", out)
	}
	s.Must("queue", "edit", s.id("edited"), "new@else.example")
	eventually(t, "the new address is tried at once", func() bool {
		list := s.queue("--state", "waiting", "--to", "new@else.example")
		return len(list) == 1 && list[0].Recipients[0].Attempts == 2
	})
	if content := s.Must("queue", "show", "--content", s.id("kept")); !strings.Contains(content, "Subject: kept\n") {
		t.Errorf("show --content prints %q", content)
	}
	if _, err := s.Run("queue", "delete"); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("delete of nothing in particular: %v", err)
	}

	open.Store(true)
	s.Must("flush")
	arrived := map[string]bool{}
	for _, m := range k.Arrived(t, 2) {
		arrived[m.To[0]] = true
	}
	if !arrived["new@else.example"] || !arrived["kept@else.example"] || len(arrived) != 2 {
		t.Errorf("delivered to %v", arrived)
	}
	eventually(t, "only the held message is left", func() bool { return len(s.queue()) == 1 })
	s.Must("queue", "release", s.id("held"))
	s.Must("queue", "retry", "--all", "--yes")
	k.Arrived(t, 3)
	s.drain()
}

func TestBouncingWhatIsOnItsWayPromisesNoBounce(t *testing.T) {
	t.Parallel()
	k, goOn := newSink(t), make(chan struct{})
	answer := sync.OnceFunc(func() { close(goOn) })
	defer answer()
	k.Rcpt = func(to string) error {
		<-goOn
		if strings.HasPrefix(to, "not") {
			return later
		}
		return nil
	}
	s := newServer(t, setup{config: toSink(k)})
	for _, name := range []string{"taken", "not-taken"} {
		check(t, s.Send(s.Account, name+"@else.example", letter(name)))
	}
	eventually(t, "both deliveries are under way", func() bool { return len(s.queue("--state", "running")) == 2 })
	if said, want := s.Must("queue", "bounce", s.id("taken")), "1 of 1 messages are bounced unless the delivery under way succeeds\n"; said != want {
		t.Errorf("said %q, want %q", said, want)
	}
	var done struct{ Matched, Changed, Running int }
	s.Ask(&done, "queue", "bounce", s.id("not-taken"))
	if done.Matched != 1 || done.Changed != 1 || done.Running != 1 {
		t.Errorf("said %+v", done)
	}
	answer()
	k.Arrived(t, 1)
	if bounce := string(s.arrived(s.Account, s.Password, 1)[0]); !strings.Contains(bounce, "<not-taken@else.example>") {
		t.Errorf("the bounce is\n%s", bounce)
	}
	s.drain()
}

func TestExportedMessagesCanBeImported(t *testing.T) {
	t.Parallel()
	s, _, _ := waiting(t, "one", "two")
	file := filepath.Join(newFolder(t), "queue.tar")
	s.Must("queue", "hold", "--to", "two@else.example", "--yes")
	s.Must("queue", "export", file)
	if info, err := os.Stat(file); err != nil || info.Size() < 1000 {
		t.Fatalf("export wrote %v, %v", info, err)
	}
	var again struct{ Imported int }
	s.Ask(&again, "queue", "import", file)
	if again.Imported != 0 {
		t.Errorf("importing what is there: %+v", again)
	}

	k := newSink(t)
	other := newServer(t, setup{config: toSink(k)})
	sound, err := os.ReadFile(file)
	check(t, err)
	damaged := strings.Replace(string(sound), "Subject: two\n", "Subject: tWo\n", 1)
	check(t, os.WriteFile(file, []byte(damaged), 0o600))
	if said, err := other.Run("queue", "import", file); err == nil || !strings.Contains(err.Error(), "/body: its SHA-256 is not the one that was exported with it: nothing of it was put into the queue") || len(other.queue()) != 0 {
		t.Errorf("a damaged file: %q, %v", said, err)
	}
	check(t, os.WriteFile(file, sound, 0o600))
	other.Ask(&again, "queue", "import", file)
	if again.Imported != 2 {
		t.Errorf("importing: %+v", again)
	}
	other.Must("flush")
	first := k.Arrived(t, 1)
	if first[0].To[0] != "one@else.example" {
		t.Errorf("what was held when it was exported went out at once: %v", first[0].To)
	}
	other.Must("queue", "release", "--all", "--yes")
	other.Must("flush")
	for _, m := range k.Arrived(t, 2) {
		if want := letter(strings.TrimSuffix(m.To[0], "@else.example")); !strings.HasSuffix(string(m.Content), string(want)) {
			t.Errorf("imported and delivered: %q", m.Content)
		}
	}
}

func TestVerbsWorkOnTheQueueOfAServerThatIsDown(t *testing.T) {
	t.Parallel()
	s, k, open := waiting(t, "one", "two", "three")
	s.Stop()
	if n := len(s.queue()); n != 3 {
		t.Errorf("%d messages are listed, want 3", n)
	}
	if _, err := s.Run("queue", "retry", s.id("two")); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "which alone could try messages") {
		t.Errorf("retry: %v", err)
	}
	if said, want := s.Must("queue", "bounce", s.id("three")), "1 of 1 messages are bounced; senders are told when the server runs\n"; said != want {
		t.Errorf("said %q, want %q", said, want)
	}
	s.Must("queue", "delete", s.id("two"))
	open.Store(true)
	s.serve()
	s.Must("flush")
	k.Arrived(t, 1)
	if bounce := string(s.arrived(s.Account, s.Password, 1)[0]); !strings.Contains(bounce, "<three@else.example>") {
		t.Errorf("the bounce is\n%s", bounce)
	}
	s.drain()
	if n := len(k.All()); n != 1 {
		t.Errorf("%d messages were delivered, want 1", n)
	}
}

func TestPauseHoldsDeliveriesBackAndNothingElse(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		s.Must("pause")
		for _, name := range []string{"a", "b", "c"} {
			check(t, s.Send("sender@else.example", s.Account, letter(name)))
		}
		if st := s.Status(); !st.Paused {
			t.Error("status does not say that the server is paused")
		}
		eventually(t, "three messages wait", func() bool { return len(s.queue()) == 3 })
		time.Sleep(200 * time.Millisecond) // for what must not happen
		if n := len(s.read(s.Account, s.Password)); n != 0 {
			t.Errorf("%d messages were delivered while paused", n)
		}
		if n := len(s.queue()); n != 3 {
			t.Errorf("%d messages wait, want 3", n)
		}
		said := s.Must("queue", "retry", "--all", "--yes")
		if want := "3 of 3 messages are tried now; deliveries are paused: that comes after `postilion continue`, unless the server is restarted before\n"; said != want {
			t.Errorf("said %q, want %q", said, want)
		}
		s.Must("continue")
		s.arrived(s.Account, s.Password, 3)
		s.drain()
	})
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		file := filepath.Join(s.Data, "postilion.toml")
		good, err := os.ReadFile(file)
		check(t, err)
		for bad, want := range map[string]string{
			"\n[policy]\nmax_recipient = 5\n":   "max_recipients",
			"\n[policy]\nmax_recipients = [1\n": "postilion.toml",
			"\n[policy]\nmax_size = \"many\"\n": "max_size",
		} {
			check(t, os.WriteFile(file, append(append([]byte(nil), good...), bad...), 0o644))
			if _, err := s.Run("reload"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "exit status 5") {
				t.Errorf("reload of %q: %v, want a word of %q and exit status 5", bad, err, want)
			}
			s.Signal(syscall.SIGHUP)
			check(t, s.Send("sender@else.example", s.Account, letter("x")))
		}
		s.arrived(s.Account, s.Password, 3)
		check(t, os.WriteFile(file, append(good, "\n[policy]\nbad_senders = [\"@bad.example\"]\n"...), 0o644))
		if out := s.Must("reload"); !strings.Contains(out, "policy.bad_senders") {
			t.Errorf("reload says %q", out)
		}
		if got := code(s.Send("joe@bad.example", s.Account, letter("refused"))); got/100 != 5 {
			t.Errorf("a sender that the new configuration refuses got %d", got)
		}
	})
}
