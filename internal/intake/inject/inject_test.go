package inject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/id"
	wire "github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

func TestAMessageIsTakenWithAllThatItsEnvelopeSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	a := w.send(&wire.Envelope{From: "a b@c.example", Ret: "HDRS", EnvID: "x y", To: []wire.Recipient{
		{To: "joe@example.test", Notify: "success,delay", ORcpt: "rfc822;q@r"}, {To: "x@far.example", Notify: "never"}}}, "Subject: x\n\nb\xe4")
	got := w.queue.all()
	if !a.OK() || len(got) != 1 || a.ID != got[0].env.ID.String() {
		t.Fatalf("%+v, %d messages", a, len(got))
	}
	env := got[0].env
	want := []mail.Recipient{
		{To: mail.Address{Local: "joe", Domain: "example.test"}, Notify: mail.NotifySuccess | mail.NotifyDelay, ORcpt: "rfc822;q@r"},
		{To: mail.Address{Local: "x", Domain: "far.example"}, Notify: mail.NotifyNever},
	}
	if d := cmp.Diff(want, env.Recipients); d != "" {
		t.Error(d)
	}
	if env.From != (mail.Address{Local: "a b", Domain: "c.example"}) || env.Ret != mail.RetHeaders || env.EnvID != "x y" {
		t.Errorf("%+v", env)
	}
	head, rest, _ := strings.Cut(got[0].body, "; ")
	if head != fmt.Sprintf("Received: (qmail %d invoked by uid %d)", os.Getpid(), os.Getuid()) || !strings.HasSuffix(rest, "\nSubject: x\n\nb\xe4\n") {
		t.Errorf("%q", got[0].body)
	}
}

func TestTheAliasUserIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, func(d *Deps, _ *policy.Options) { d.Users = fakeUsers{alias: true} })
	w.send(&wire.Envelope{To: to("joe@example.test")}, "x\n")
	if got := w.queue.all()[0].body; !strings.Contains(got, " invoked by alias); ") {
		t.Errorf("%q", got)
	}
}

func TestBadRecipientsAreToldAndBounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	a := w.send(&wire.Envelope{From: "a@b.example", To: to("joe@example.test", "nobody@example.test", "broken@example.test")}, "x\n")
	got := w.queue.all()
	if !a.OK() || len(got) != 1 {
		t.Fatalf("%+v", a)
	}
	if len(a.Refused) != 1 || a.Refused[0].N != 1 || a.Refused[0].Code != 550 || a.Refused[0].Enhanced != "5.1.1" {
		t.Errorf("%+v", a.Refused)
	}
	for i, refused := range []bool{false, true, false} { // what is only in trouble for now is looked at again
		if r := got[0].env.Recipients[i]; (r.Refused != nil) != refused {
			t.Errorf("recipient %d: %+v", i, r)
		}
	}
}

func TestVector37NoRecipientsIsNoError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	if a := w.send(&wire.Envelope{From: "a@b.example"}, strings.Repeat("x\n", 100_000)); !a.OK() || len(w.queue.all()) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		env     wire.Envelope
		content string
		change  func(*Deps, *policy.Options)
		want    wire.Answer
	}{
		{"too large", wire.Envelope{To: to("joe@example.test")}, strings.Repeat("0123456789\n", 50_000), func(_ *Deps, p *policy.Options) { p.MaxSendSize = 100_000 },
			wire.Answer{Code: 552, Enhanced: "5.3.4", Reason: "message-too-big", Text: "Message is too large; 100000 bytes max"}},
		{"a line end in an address", wire.Envelope{To: to("jo\ne@example.test")}, "x\n", nil,
			wire.Answer{Code: 553, Enhanced: "5.1.3", Reason: "bad-address", Text: "this is no mail address: a line end or NUL in an address"}},
		{"too many hops", wire.Envelope{To: to("joe@example.test")}, strings.Repeat("Received: x\n", 101), nil,
			wire.Answer{Code: 554, Enhanced: "5.4.6", Reason: "too-many-hops", Text: "too many hops, this message is looping"}},
		{"a wrong RET", wire.Envelope{Ret: "some", To: to("joe@example.test")}, "x\n", nil,
			wire.Answer{Code: 501, Enhanced: "5.5.4", Reason: "command-syntax", Text: "syntax error: want FULL or HDRS for RET"}},
		{"a wrong NOTIFY", wire.Envelope{To: []wire.Recipient{{To: "joe@example.test", Notify: "NEVER,DELAY"}}}, "x\n", nil,
			wire.Answer{Code: 501, Enhanced: "5.5.4", Reason: "command-syntax", Text: "syntax error: want NEVER, or some of SUCCESS, FAILURE and DELAY for NOTIFY"}},
		{"a sender nobody wants", wire.Envelope{From: "x@spam.example", To: to("joe@example.test")}, "x\n", func(_ *Deps, p *policy.Options) { p.BadSenders = []string{"@spam.example"} },
			wire.Answer{Code: 550, Enhanced: "5.7.1", Reason: "sender-refused", Text: "mail from this sender is refused: x@spam.example"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{}, tt.change)
			if d := cmp.Diff(tt.want, w.send(&tt.env, tt.content)); d != "" {
				t.Error(d)
			}
			if len(w.queue.all()) != 0 {
				t.Error("it was taken all the same")
			}
		})
	}
}

func TestTooManyRecipientsTakeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxRecipients: 3}, nil)
	if a := w.send(&wire.Envelope{To: to("joe@a", "joe@b", "joe@c", "joe@d")}, "x\n"); a.Code != 452 || len(w.queue.all()) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestWhatBreaksOffLeavesNothing(t *testing.T) {
	t.Parallel()
	whole := wire.CallFrame(wire.VerbSend, &wire.Envelope{})
	whole = wire.AppendFrame(whole, wire.FrameFrom, "a@b.example")
	whole = wire.ToFrame(whole, &wire.Recipient{To: "joe@example.test"})
	whole = wire.AppendFrame(whole, wire.FrameData, "Subject: x\n\nbody\n")
	whole = wire.AppendFrame(whole, wire.FrameEnd)
	w := newWorld(t, Options{}, nil)
	for n := range len(whole) {
		c, err := net.Dial("unix", w.socket)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(whole[:n])
		c.(*net.UnixConn).CloseWrite()
		if p, _ := io.ReadAll(c); len(p) > 0 {
			t.Errorf("%d bytes were answered with %q", n, p)
		}
		c.Close()
	}
	if n := len(w.queue.all()); n > 0 {
		t.Errorf("%d messages were taken", n)
	}
}

// brokenReader fails after its content.
type brokenReader struct{ r io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = errors.New("the disk is on fire")
	}
	return n, err
}

func TestContentThatCannotBeReadTakesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	_, err := w.client.Send(context.Background(), &wire.Envelope{To: to("joe@example.test")}, brokenReader{strings.NewReader("x\n")}, nil)
	if e, ok := errors.AsType[*wire.Error](err); !ok || !e.Input || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("%v", err)
	}
	w.stop()
	if len(w.queue.all()) != 0 {
		t.Error("it was taken")
	}
}

func TestACommitThatFailsIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	w.queue.fail = reason.DiskFull
	if a := w.send(&wire.Envelope{To: to("joe@example.test")}, "x\n"); a.Code != 452 || a.Reason != "disk-full" {
		t.Errorf("%+v", a)
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := &wire.Client{Socket: filepath.Join(t.TempDir(), "none")}
	_, err := c.Send(context.Background(), &wire.Envelope{}, strings.NewReader(""), nil)
	if e, ok := errors.AsType[*wire.Error](err); !ok || !e.Refused || err.Error() != "the mail server is not running: nobody listens on "+c.Socket {
		t.Errorf("%v", err)
	}
}

func TestUsersAreBounded(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		// The limits of a user do not hold for root, so they are asked for another.
		s := new(Server)
		set := &setup{o: Options{MaxConnections: 10, MaxPerUser: 2}}
		s.enter(set, 7)
		s.enter(set, 7)
		if e := s.enter(set, 7); e != reason.InjectUserBusy {
			t.Errorf("%v", e)
		}
		if e := s.enter(set, 8); e != nil {
			t.Errorf("%v", e)
		}
		return
	}
	w := newWorld(t, Options{MaxPerUser: 1}, nil)
	c, err := net.Dial("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(wire.CallFrame(wire.VerbSend, &wire.Envelope{}))
	until(t, "the program is served", func() bool { return w.server.conns.Taken() > 0 })
	if a := w.send(&wire.Envelope{To: to("joe@example.test")}, "x\n"); a.Code != 451 || a.Reason != "inject-user-busy" {
		t.Errorf("%+v", a)
	}
}

func TestMemoryForRecipientsIsBounded(t *testing.T) {
	t.Parallel()
	s := new(Server)
	if e := s.hold(7, maxHeldUser); e != nil {
		t.Fatal(e)
	}
	if e := s.hold(7, 1); e != reason.InjectUserBusy {
		t.Errorf("%v", e)
	}
	if e := s.hold(8, 1); e != nil {
		t.Error("another user pays for it")
	}
	if e := s.hold(0, maxHeld); e != reason.InjectBusy {
		t.Errorf("%v", e)
	}
	s.held.Give(7, maxHeldUser)
	s.held.Give(8, 1)
	if n := s.held.Taken(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

func TestManyRecipientsAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	list := make([]wire.Recipient, 20_000)
	for i := range list {
		list[i].To = fmt.Sprintf("user%d@far.example", i)
	}
	if a := w.send(&wire.Envelope{From: "a@b.example", To: list}, "x\n"); !a.OK() || len(w.queue.all()[0].env.Recipients) != len(list) {
		t.Errorf("%+v", a)
	}
	w.stop()
	if w.server.held.Taken() != 0 {
		t.Errorf("%d bytes are left", w.server.held.Taken())
	}
}

func TestARateIsKept(t *testing.T) {
	t.Parallel()
	s := &Server{recent: map[uint32]int{}}
	set := &setup{o: Options{Rate: 2}, d: Deps{Clock: fixed{}}}
	for i, want := range []*reason.Error{nil, nil, reason.InjectRate} {
		if e := s.pace(set, 7); e != want {
			t.Errorf("message %d: %v", i, e)
		}
	}
	if e := s.pace(set, 8); e != nil {
		t.Error("another user pays for it")
	}
}

type fixed struct{}

func (fixed) Now() time.Time { return time.Unix(1000, 0) }

// until waits for what follows from the other side's next steps.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come about that %s", what)
		}
	}
}

func TestSilentProgramsAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{IdleTimeout: 50 * time.Millisecond}, nil)
	c, err := net.Dial("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(wire.CallFrame(wire.VerbSend, &wire.Envelope{}))
	c.SetReadDeadline(time.Now().Add(time.Minute))
	// What the program wrote at the last moment may be left unread, which is a reset.
	if _, err := c.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want the server to hang up", err)
	}
}

func TestTheServerStopsThoughAProgramIsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	c, err := net.Dial("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(wire.CallFrame(wire.VerbSend, &wire.Envelope{}))
	until(t, "the program is served", func() bool { return w.server.conns.Taken() > 0 })
	w.stop()
}

func TestTheQueueIsForThoseWhoMay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		users []string
		wheel bool
		owner bool
		may   bool
	}{
		{}, {users: []string{"other", "@wheel"}}, {users: []string{"*"}, may: true}, {users: []string{"me"}, may: true},
		{users: []string{"@wheel"}, wheel: true, may: true}, {owner: true, may: true},
	} {
		w := newWorld(t, Options{QueueUsers: tt.users}, func(d *Deps, _ *policy.Options) {
			d.Users, d.Owner = fakeUsers{wheel: tt.wheel}, func(uint32) bool { return tt.owner }
		})
		var out bytes.Buffer
		a, err := w.client.Ask(context.Background(), wire.VerbQueue, "", &out)
		if err != nil {
			t.Fatal(err)
		}
		if a.OK() != tt.may || tt.may != (strings.Count(out.String(), "\n") == 2) {
			t.Errorf("%+v: %+v %q", tt, a, out.String())
		}
		a, err = w.client.Ask(context.Background(), wire.VerbFlush, "", io.Discard)
		if err != nil || a.OK() != tt.may || w.view.flushed != map[bool]int{true: 1}[tt.may] || tt.may && a.Text != "3" {
			t.Errorf("%+v: %+v %v", tt, a, err)
		}
		const one, two = "06h01dfynw000016wm4b72tgvc", "06h01dg02m0013gk444fky55s8"
		b, err := w.client.Ask(context.Background(), wire.VerbFlush, one+"\n"+two, io.Discard)
		if err != nil || b.OK() != tt.may || tt.may && b.Text != "2" || w.view.flushed > 1 {
			t.Errorf("%+v: some: %+v %v", tt, b, err)
		}
		by := map[bool]string{true: "owner", false: "uid " + strconv.Itoa(os.Getuid())}[tt.owner]
		if tt.may != slices.Equal(w.view.retried, []string{one + " by " + by, two + " by " + by}) {
			t.Errorf("%+v: %q", tt, w.view.retried)
		}
		if b, err = w.client.Ask(context.Background(), wire.VerbFlush, one+"\n../x", io.Discard); err != nil || b.OK() || len(w.view.retried) > 2 {
			t.Errorf("%+v: an id that is none: %+v %v", tt, b, err)
		}
		if !tt.may && (a.Code != 510 || a.Text != "You are not permitted to see the queue") {
			t.Errorf("%+v", a)
		}
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{MaxPerUser: -1}, "max_per_user: -1: want a number that is not negative"},
		{Options{IdleTimeout: -time.Second}, "idle_timeout: -1s: want a duration that is not negative"},
		{Options{Socket: "inject.sock"}, `socket: "inject.sock": want an absolute path`},
		{Options{DefaultHost: "a b"}, `default_host: "a b": want a domain`},
	} {
		if err := tt.o.Validate(); err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

func TestAddressesAreExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	var out bytes.Buffer
	if a, err := w.client.Ask(context.Background(), wire.VerbRoute, "test\njoe@x\nbob\n", &out); err != nil || !a.OK() {
		t.Fatal(a, err)
	}
	if out.String() != "joe@x... true\nbob... true\n" {
		t.Errorf("%q", out.String())
	}
}

func TestNamesComeFromTheConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{DefaultDomain: "dd.test"}, nil)
	got, err := w.client.Names(context.Background())
	want := wire.Names{Me: "mx.example.test", DefaultDomain: "dd.test", DefaultHost: "mx.example.test", PlusDomain: "mx.example.test", IDHost: "mx.example.test"}
	if err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
}

func TestAWatcherIsToldWhatItMissesAndNotKeptForIt(t *testing.T) {
	t.Parallel()
	events := make(chan trace.Event, 100)
	w := newWorld(t, Options{}, func(d *Deps, _ *policy.Options) {
		d.Watch = func(_ context.Context, m id.ID) (<-chan trace.Event, error) {
			for _, e := range []trace.Event{
				{Kind: trace.Accepted, Message: m, Size: 9, Count: 2},
				{Kind: trace.Gap, Message: m, Count: 1234},
				{Kind: trace.Delivered, Message: m, To: "joe@example.test"},
				{Kind: trace.Finished, Message: m}, // the other verdict was lost
			} {
				events <- e
			}
			return events, nil
		}
	})
	var got []string
	a, err := w.client.Send(context.Background(), &wire.Envelope{Watch: true, From: "c@d", To: to("joe@example.test", "x@far.example")}, strings.NewReader("x\n"),
		func(s wire.Step) { got = append(got, s.Kind+" "+s.To+" "+s.Text) })
	if err != nil || !a.OK() {
		t.Fatal(a, err)
	}
	want := []string{"step  not shown: 1234 steps, which came faster than they were read", "verdict joe@example.test Sent"}
	if d := cmp.Diff(want, got[1:]); d != "" {
		t.Error(d)
	}
}

func TestAWatchedMessageIsFollowedToItsVerdicts(t *testing.T) {
	t.Parallel()
	events := make(chan trace.Event, 100)
	var watched id.ID
	w := newWorld(t, Options{}, func(d *Deps, _ *policy.Options) {
		d.Watch = func(_ context.Context, m id.ID) (<-chan trace.Event, error) {
			watched = m
			child := id.Source{}.New()
			for _, e := range []trace.Event{
				{Kind: trace.Accepted, Message: m, Size: 9, Count: 2},
				{Kind: trace.Routed, Message: m, To: "joe@example.test", Text: "forward to 1 addresses"},
				{Kind: trace.Attempt, Message: m, To: "x@far.example", N: 1, Role: "remote"},
				{Kind: trace.Dialogue, Message: m, Text: ">>> QUIT"},
				{Kind: trace.Accepted, Message: child, Count: 1, To: "a@b", From: "c@d"},
				{Kind: trace.Delivered, Message: m, To: "joe@example.test"},
				{Kind: trace.Deferred, Message: m, N: 1, To: "x@far.example", Code: 450, Text: "busy\nvery\n"},
				{Kind: trace.Finished, Message: m},
				{Kind: trace.Failed, Message: child, To: "a@b", Reason: "mailbox-unknown"},
			} {
				events <- e
			}
			return events, nil
		}
	})
	var got []string
	a, err := w.client.Send(context.Background(), &wire.Envelope{Watch: true, From: "c@d", To: to("joe@example.test", "x@far.example")}, strings.NewReader("x\n"),
		func(s wire.Step) { got = append(got, s.Kind+" "+s.To+" "+strconv.Itoa(s.Code)+" "+s.Text) })
	if err != nil || !a.OK() || a.ID != watched.String() {
		t.Fatal(a, err)
	}
	for i := range got {
		got[i], _, _ = strings.Cut(got[i], " as ")
	}
	want := []string{"step  0 queued", "step joe@example.test 0 routed: forward to 1 addresses", "step x@far.example 0 Connecting via esmtp...",
		"dialogue  0 >>> QUIT", "step  0 sent on", "verdict joe@example.test 250 Sent", "verdict x@far.example 450 Deferred: busy / very", "verdict a@b 554 User unknown"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// FuzzServer: whatever bytes a program sends, the server neither panics nor takes a message
// that was not ended.
func FuzzServer(f *testing.F) {
	whole := wire.CallFrame(wire.VerbSend, &wire.Envelope{Watch: true, EnvID: "x"})
	whole = wire.AppendFrame(whole, wire.FrameFrom, "a@b.example")
	whole = wire.ToFrame(whole, &wire.Recipient{To: "joe@example.test", Notify: "DELAY"})
	f.Add(wire.AppendFrame(wire.AppendFrame(whole, wire.FrameData, "x\n"), wire.FrameEnd))
	f.Add(wire.AppendFrame(wire.CallFrame(wire.VerbRoute, &wire.Envelope{}), wire.FrameEnd))
	f.Add([]byte("P\x00\x00\xff\xff"))
	f.Add(wire.AppendFrame(whole, wire.FrameEnd, "00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := policy.New(policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		q := new(fakeQueue)
		s, err := New(Options{}, Deps{Submit: submit.New(submit.Options{Host: "h"}, submit.Deps{Queue: q, Router: fakeRouter{}, Policy: p})})
		if err != nil {
			t.Fatal(err)
		}
		server, client := net.Pipe()
		go func() {
			client.Write(in)
			client.Close()
		}()
		go io.Copy(io.Discard, client)
		c := &session{s: s, setup: s.current.Load(), nc: server, r: wire.NewReader(server), started: time.Now(), ctx: context.Background(), stopping: context.Background()}
		c.call()
		server.Close()
		if len(q.all()) > 0 && !bytes.Contains(in, []byte("E\x00\x00\x00\x00")) {
			t.Errorf("%q was taken", in)
		}
	})
}
