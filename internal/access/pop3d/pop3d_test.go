package pop3d

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/trace"
)

func TestAPOPProvesThePasswordWithoutShowingIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{APOP: true})
	w.put(t, nil)
	c := w.dial(t, context.Background(), "192.0.2.1:1")
	greeting := c.line()
	stamp := greeting[strings.IndexByte(greeting, '<'):]
	sum := md5.Sum([]byte(stamp + "open sesame"))
	c.want("APOP joe@example.test "+strings.Repeat("0", 32), "-ERR [AUTH]")
	c.want("APOP joe@example.test "+hex.EncodeToString(sum[:]), "+OK")
}

func TestNoBodyIsReadAtLoginWhenNamesTellSizes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	// The first name lies, so that whoever believes the file instead is found out.
	w.put(t, map[string]string{"joe/new/1.a,S=100,W=110": "x\n", "joe/cur/2.b,S=4:2,S": "a\nb\n"})
	c := w.local(t)
	c.login()
	c.want("LIST 1", "+OK 1 110")
	c.want("LIST 2", "+OK 2 6")
	c.want("QUIT", "+OK")
	<-c.done
	cache, err := os.ReadFile(w.root + "/joe/postilion-sizes")
	if err != nil || string(cache) != "1\n4 6 2.b,S=4\n" {
		t.Errorf("cache %q, %v", cache, err)
	}
	if err := os.WriteFile(w.root+"/joe/postilion-sizes", []byte("1\n4 66 2.b,S=4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = w.local(t)
	c.login()
	c.want("LIST 2", "+OK 2 66")
}

func TestADroppedConnectionFreesTheMailboxAndDeletesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, map[string]string{"joe/new/1.a": "x\n"})
	first := w.local(t)
	first.login()
	first.want("DELE 1", "+OK")

	second := w.local(t)
	second.line()
	second.want("USER joe@example.test", "+OK")
	got := second.want("PASS open sesame", "-ERR [IN-USE] ")
	if !strings.Contains(got, "127.0.0.1 since 2026-03-01T12:00:00Z (session ") {
		t.Errorf("held by whom, since when? %q", got)
	}
	first.Close()
	<-first.done
	second.want("USER joe@example.test", "+OK")
	second.want("PASS open sesame", "+OK")
	second.want("STAT", "+OK 1 3")
	if n := len(w.events.Of(trace.Expunged)); n > 0 {
		t.Errorf("%d messages expunged", n)
	}
}

func TestAResetConnectionFreesTheMailboxAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, nil)
	addr := w.tcp(t)
	for range 20 {
		c := dialTCP(t, addr)
		c.login()
		if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.Close()
		for len(w.Holders.Holders()) > 0 { // the next login below would fail otherwise
			runtime.Gosched()
		}
	}
}

func TestAMailboxLockedByAnotherProcessIsInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, nil)
	lock, err := w.Mailboxes.Lock("joe")
	if err != nil {
		t.Fatal(err)
	}
	c := w.local(t)
	c.line()
	c.want("USER joe@example.test", "+OK")
	c.want("PASS open sesame", "-ERR [IN-USE] mailbox held by another program")
	lock.Close()
	c.want("USER joe@example.test", "+OK")
	c.want("PASS open sesame", "+OK")
}

func TestTheOperatorFreesAMailboxAndItsSessionChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, map[string]string{"joe/new/1.a": "x\n"})
	c := w.local(t)
	c.login()
	c.want("DELE 1", "+OK")
	if freed := w.Holders.Free(1); len(freed) != 1 || freed[0].Address != joe.Address {
		t.Errorf("freed %v", freed)
	}
	if got := c.line(); !strings.Contains(got, "operator has freed") {
		t.Errorf("the client is told %q", got)
	}
	<-c.done
	if diff := cmp.Diff([]string{"new/1.a"}, w.names(t)); diff != "" {
		t.Error(diff)
	}
	w.local(t).login()
}

func TestSeveralSessionsByChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true, Sessions: 2})
	w.put(t, nil)
	w.local(t).login()
	w.local(t).login()
	c := w.local(t)
	c.line()
	c.want("USER joe@example.test", "+OK")
	c.want("PASS open sesame", "-ERR [IN-USE]")
}

func TestAMailboxThatNothingWasDeliveredToIsEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	c := w.local(t)
	c.login()
	c.want("STAT", "+OK 0 0")
	c.want("QUIT", "+OK")
}

func TestLoginDelayIsToldAndKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true, LoginDelay: 60e9})
	w.put(t, nil)
	c := w.local(t)
	c.login()
	c.want("QUIT", "+OK")
	<-c.done
	w.clock.Advance(20e9)
	c = w.local(t)
	c.line()
	c.want("USER joe@example.test", "+OK")
	c.want("PASS open sesame", "-ERR [LOGIN-DELAY] log in again in 40 seconds")
	w.clock.Advance(40e9)
	c.want("USER joe@example.test", "+OK")
	c.want("PASS open sesame", "+OK")
}

func TestAStoppingServerSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, nil)
	ctx, stop := context.WithCancel(context.Background())
	c := w.dial(t, ctx, loopbackClient)
	c.login()
	stop()
	if got := c.line(); !strings.HasPrefix(got, "-ERR [SYS/TEMP] server is stopping") {
		t.Errorf("told %q", got)
	}
	<-c.done
}

func TestABlockedClientIsTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.dial(t, context.Background(), "192.0.2.66:1")
	if got := c.line(); !strings.HasPrefix(got, "-ERR [SYS/TEMP]") {
		t.Errorf("told %q", got)
	}
	<-c.done
}

func TestPipelinedRepliesLeaveTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, map[string]string{"joe/new/1.a": "x\n"})
	c := w.local(t)
	c.line()
	c.raw("user joe@example.test\npass open sesame\nstat\nretr 1\ndele 1\nquit\n")
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	want := "+OK name taken, send PASS\r\n+OK joe@example.test has 1 message (3 octets)\r\n+OK 1 3\r\n+OK 3 octets\r\nx\r\n.\r\n" +
		"+OK message 1 deleted, QUIT makes it final\r\n+OK bye, 1 message deleted, 0 left\r\n"
	if got := string(buf[:n]); got != want {
		t.Errorf("one read gives %q", got)
	}
}

func TestFlagsSetByAnotherProgramDoNotHideAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, map[string]string{"joe/new/1.a": "x\n", "joe/new/2.b": "y\n", "joe/new/3.c": "z\n"})
	c := w.local(t)
	c.login()
	for _, move := range [][2]string{{"new/1.a", "cur/1.a:2,F"}, {"new/2.b", "cur/2.b:2,"}} {
		if err := os.Rename(w.root+"/joe/"+move[0], w.root+"/joe/"+move[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(w.root + "/joe/new/3.c"); err != nil {
		t.Fatal(err)
	}
	c.want("RETR 1", "+OK 3")
	c.rest()
	c.want("DELE 2", "+OK")
	c.want("RETR 3", "-ERR message 3 was removed by another program")
	c.want("DELE 3", "+OK")
	c.want("QUIT", "+OK bye, 2 messages deleted, 1 left")
	<-c.done
	if diff := cmp.Diff([]string{"cur/1.a:2,FS"}, w.names(t)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatHappenedIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, nil)
	m := w.ids.New()
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("Subject: x\n\n")), nil }
	if out := w.Mailboxes.Deliver(context.Background(), open, []maildir.Delivery{{Mailbox: "joe", Message: m}}); out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	c := w.local(t)
	c.line()
	c.want("USER joe@example.test", "+OK")
	c.want("PASS wrong", "-ERR [AUTH]")
	c.want("USER joe@example.test", "+OK")
	c.want("PASS open sesame", "+OK")
	c.want("UIDL 1", fmt.Sprintf("+OK 1 %d.%sR0", noon.Unix(), m))
	c.want("RETR 1", "+OK 14")
	c.rest()
	c.want("DELE 1", "+OK")
	c.want("QUIT", "+OK")
	<-c.done
	if e := w.events.Of(trace.Login); len(e) != 0 {
		t.Errorf("logins are recorded by auth, once: %+v", e)
	}
	for _, kind := range []trace.Kind{trace.Retrieved, trace.Expunged} {
		if e := w.events.Of(kind); len(e) != 1 || e[0].Message != m || e[0].Size != 14 || e[0].Account != joe.Address {
			t.Errorf("%s: %+v", kind, e)
		}
	}
	if e := w.events.Of(trace.SessionEnd); len(e) != 1 || !strings.HasPrefix(e[0].Text, "quit: ") || e[0].Count != 1 {
		t.Errorf("session: %+v", e)
	}
}
