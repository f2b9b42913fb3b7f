package submit

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/trace"
)

// memory is a queue of one message.
type memory struct {
	body      bytes.Buffer
	env       mail.Envelope
	committed bool
	aborted   int
	writes    int
	fail      error // of Write
}

func (m *memory) Begin(_ context.Context, env *mail.Envelope) (queue.Draft, error) {
	m.body.Reset()
	return &draft{m, env}, nil
}

type draft struct {
	*memory
	env *mail.Envelope
}

func (d *draft) Write(p []byte) (int, error) {
	d.writes++
	if d.fail != nil {
		return 0, d.fail
	}
	return d.body.Write(p)
}
func (d *draft) Commit(context.Context) error { d.committed, d.memory.env = true, *d.env; return nil }
func (d *draft) Abort()                       { d.aborted++ }

// router has joe at example.test; everything else is elsewhere.
type router struct{}

var joe = &directory.Account{ID: 1, Address: mail.Address{Local: "joe", Domain: "example.test"}}

func (router) Route(_ context.Context, to mail.Address) (route.Route, error) {
	if to == joe.Address {
		return route.Route{Kind: route.Mailbox, Local: true, Account: joe, Domain: &directory.Domain{Name: "example.test"}}, nil
	}
	if user, _, _ := strings.Cut(to.Local, "-"); to.Domain == "host.test" {
		return route.Route{Kind: route.SystemUser, Local: true, Final: to, User: &route.User{Name: user, UID: uint32(500 + len(user)), Home: "/home/" + user}}, nil
	}
	return route.Route{Kind: route.Remote, Next: route.NextHop{Domain: to.Domain}}, nil
}

type recorder struct{ events []trace.Event }

func (r *recorder) Record(e trace.Event) { r.events = append(r.events, e) }

func newSubmitter(t interface{ Fatal(...any) }, q *memory, o policy.Options) (*Submitter, *recorder) {
	p, err := policy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := new(recorder)
	c := clock.NewFake(time.Date(2026, 11, 21, 19, 31, 43, 0, time.UTC))
	return New(Options{Host: "mx.example.test"}, Deps{Queue: q, Router: router{}, Policy: p, Events: r, Clock: c, IDs: id.Source{Clock: c}}), r
}

// hand hands a message in, in pieces.
func hand(t interface{ Fatal(...any) }, s *Submitter, src *Source, content string, step int) ([]*reason.Error, error) {
	ctx := context.Background()
	tx, err := s.Begin(ctx, src, smtp.Mail{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Rcpt(ctx, smtp.Rcpt{To: joe.Address}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Open(ctx); err != nil {
		t.Fatal(err)
	}
	for content != "" {
		n := min(step, len(content))
		if took, err := tx.Write([]byte(content[:n])); took != n || err != nil {
			t.Fatal("Write took", took, err)
		}
		content = content[n:]
	}
	return tx.Commit(ctx)
}

// body returns what is behind the Received field.
func body(m string) string {
	_, rest, _ := strings.Cut(m, "+0000\n")
	return rest
}

func TestContentIsKeptByteForByte(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		content := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"a", "Subject: x\n", "\n", " y\n", "\xff", "Received: z\n", "date:", "."})).Draw(t, "content"), "")
		q := new(memory)
		s, _ := newSubmitter(t, q, policy.Options{})
		if _, err := hand(t, s, &Source{}, content, rapid.IntRange(1, 9).Draw(t, "step")); err != nil {
			t.Fatal(err)
		}
		if content != "" && !strings.HasSuffix(content, "\n") {
			content += "\n"
		}
		stored := q.body.String()
		if got := body(stored); got != content {
			t.Fatalf("%q is kept as %q", content, got)
		}
		if q.env.Size != int64(len(stored)) || q.env.CRLFSize != int64(len(stored)+strings.Count(stored, "\n")) {
			t.Fatalf("Size %d, CRLFSize %d of %q", q.env.Size, q.env.CRLFSize, stored)
		}
	})
}

func TestHopsAreCountedInTheHeaderAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hops := rapid.IntRange(0, 6).Draw(t, "hops")
		var content strings.Builder
		for range hops {
			content.WriteString(rapid.SampledFrom([]string{"Received: x\n\tby y\n", "RECEIVED: x\n", "Delivered-To: x\n", "DeliveredFoo\n"}).Draw(t, "field"))
			content.WriteString(rapid.SampledFrom([]string{"", "Subject: Received\n", " Received: folded\n", "X-Received: x\n"}).Draw(t, "other"))
		}
		content.WriteString("\nReceived: no\nReceived: no\nReceived: no\nReceived: no\n")
		q := new(memory)
		s, r := newSubmitter(t, q, policy.Options{MaxHops: 3})
		_, err := hand(t, s, &Source{}, content.String(), rapid.IntRange(1, 40).Draw(t, "step"))
		if (hops > 3) != (err != nil) || err != nil && reason.As(err).Reason != reason.TooManyHops.Reason {
			t.Fatalf("%d hops: %v", hops, err)
		}
		if err != nil && (q.committed || q.aborted == 0 || r.events[len(r.events)-1].Reason != "too-many-hops") {
			t.Fatalf("committed %v, aborted %d, events %+v", q.committed, q.aborted, r.events)
		}
	})
}

func TestMissingFieldsAreAdded(t *testing.T) {
	t.Parallel()
	const date, mid = "Date: Sat, 21 Nov 2026 19:31:43 +0000\n", "Message-ID: <ID@mx.example.test>\n"
	for _, c := range []struct{ in, want string }{
		{"Subject: x\n\nbody\n", "Subject: x\n" + date + mid + "\nbody\n"},
		{"Date: x\n\nbody\n", "Date: x\n" + mid + "\nbody\n"},
		{"MESSAGE-ID : x\nSubject: y\n z\n\n", "MESSAGE-ID : x\nSubject: y\n z\n" + date + "\n"},
		{"Date: x\nMessage-ID: y\n\n\nDate: z\n", "Date: x\nMessage-ID: y\n\n\nDate: z\n"},
		{"Subject: x\n", "Subject: x\n" + date + mid},
		{"Subject: x", "Subject: x\n" + date + mid},
		{"\nbody\n", date + mid + "\nbody\n"},
		{"Hello world: x\n", date + mid + "\nHello world: x\n"},
		{"", date + mid},
		{"X-Dated: x\nDates: y\n\n", "X-Dated: x\nDates: y\n" + date + mid + "\n"},
	} {
		for _, step := range []int{1, 2, 7, 1000} {
			if step < 7 && strings.HasPrefix(c.in, "Hello") {
				continue // told from a header by its first piece
			}
			q := new(memory)
			s, _ := newSubmitter(t, q, policy.Options{})
			if _, err := hand(t, s, &Source{Complete: true}, c.in, step); err != nil {
				t.Fatal(err)
			}
			got := strings.Replace(body(q.body.String()), q.env.ID.String(), "ID", 1)
			if got != c.want {
				t.Errorf("%q in steps of %d:\n%q, want\n%q", c.in, step, got, c.want)
			}
		}
	}
}

func TestAuthorsAreTheAccountsOwnHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	src := &Source{AccountID: 1, Account: "joe@example.test"}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"From", "SENDER", "resent-from", "Resent-Sender"}).Draw(t, "name")
		blanks := strings.Repeat(" ", rapid.SampledFrom([]int{0, 1, 3, 50}).Draw(t, "blanks"))
		fold := rapid.SampledFrom([]string{" ", "\n ", "\n\t \n "}).Draw(t, "fold")
		address := rapid.SampledFrom([]string{"joe@example.test", "ann@example.test", "joe@other.test", "joe", ""}).Draw(t, "address")
		before := rapid.SampledFrom([]string{"", "Fro: x\n", "From-x: x\n", "Resent-: x\n", "Subject: a\n From: b@c\n", "From: joe@example.test\n"}).Draw(t, "before")
		after := rapid.SampledFrom([]string{"", "\n", "\nFrom: a@b\n", "To: a@b\n\n"}).Draw(t, "after")
		content := before + name + blanks + ":" + fold + "Joe" + fold + "<" + address + ">" + "\n" + after
		if address == "" {
			content = before + name + blanks + ":\n" + after
		}
		q := new(memory)
		s, _ := newSubmitter(t, q, policy.Options{})
		_, err := hand(t, s, src, content, rapid.IntRange(1, 80).Draw(t, "step"))
		switch {
		case address == "joe@example.test" && err != nil:
			t.Fatalf("%q: %v", content, err)
		case address != "joe@example.test" && (err == nil || q.committed || reason.As(err).Code != 550):
			t.Fatalf("%q is taken: %v", content, err)
		}
		s, _ = newSubmitter(t, q, policy.Options{AnySender: true})
		if _, err := hand(t, s, src, content, 40); err != nil {
			t.Fatalf("with any_sender: %v", err)
		}
		s, _ = newSubmitter(t, q, policy.Options{})
		if _, err := hand(t, s, &Source{}, content, 40); err != nil {
			t.Fatalf("of another host: %v", err)
		}
	})
}

func TestAuthorsAreBounded(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"one long field":  "From: joe@example.test" + strings.Repeat(" ", maxAuthorBytes) + "\n\n",
		"many folds":      "From: joe@example.test,\n" + strings.Repeat(" joe@example.test,\n", 2000) + "\n",
		"many fields":     strings.Repeat("From: joe@example.test\n", 2000) + "\n",
		"many addresses":  "From: " + strings.Repeat("joe@example.test,", maxAuthors) + "joe@example.test\n\n",
		"blanks for ever": "From" + strings.Repeat(" ", maxAuthorBytes) + ": a@b\n\n",
	} {
		q := new(memory)
		s, _ := newSubmitter(t, q, policy.Options{})
		_, err := hand(t, s, &Source{AccountID: 1, Account: "joe@example.test"}, content, 1000)
		if err == nil || reason.As(err).Reason != reason.AuthorUnreadable.Reason || q.committed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReceivedTellsTheWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		src  Source
		want string
	}{
		{Source{}, "Received: (by a program of this host)\n\tby mx.example.test id ID\n\tfor <joe@example.test>; Sat, 21 Nov 2026 19:31:43 +0000\n"},
		{
			Source{Client: netip.MustParseAddr("2001:db8::1"), HELO: "a(b)\r\nX: y", Protocol: "ESMTPS", TLS: "TLS 1.3\r\n)"},
			"Received: from a?b???X:?y ([IPv6:2001:db8::1])\n\t(TLS 1.3??))\n\tby mx.example.test with ESMTPS id ID\n\tfor <joe@example.test>; Sat, 21 Nov 2026 19:31:43 +0000\n",
		},
	} {
		q := new(memory)
		s, _ := newSubmitter(t, q, policy.Options{})
		if _, err := hand(t, s, &c.src, "", 1); err != nil {
			t.Fatal(err)
		}
		got := strings.Replace(q.body.String(), q.env.ID.String(), "ID", 1)
		if got != c.want {
			t.Errorf("%q, want\n%q", got, c.want)
		}
	}
}

func TestAFailedWriteIsToldAtCommit(t *testing.T) {
	t.Parallel()
	q := &memory{fail: reason.DiskFull}
	s, r := newSubmitter(t, q, policy.Options{})
	_, err := hand(t, s, &Source{}, strings.Repeat("Subject: x\n", 100), 10)
	if reason.As(err).Reason != reason.DiskFull.Reason || q.committed || q.aborted == 0 || q.writes != 1 {
		t.Errorf("%v, committed %v, aborted %d, %d writes", err, q.committed, q.aborted, q.writes)
	}
	if len(r.events) != 1 || r.events[0].Kind != trace.Refused {
		t.Errorf("%+v", r.events)
	}
}

func TestWhatIsRefusedIsRecorded(t *testing.T) {
	t.Parallel()
	q := new(memory)
	s, r := newSubmitter(t, q, policy.Options{})
	hand(t, s, &Source{Role: "smtp"}, "x\n", 10)
	if len(r.events) != 0 {
		t.Errorf("an acceptance is dispatch's to tell: %+v", r.events)
	}
	tx, _ := s.Begin(context.Background(), &Source{}, smtp.Mail{})
	err := tx.Rcpt(context.Background(), smtp.Rcpt{To: mail.Address{Local: "x", Domain: "other.test"}})
	if reason.As(err).Reason != reason.RelayDenied.Reason || len(r.events) != 1 || r.events[0].Reason != "relay-denied" || r.events[0].To != "x@other.test" {
		t.Errorf("%v, %+v", err, r.events)
	}
	if err := tx.Open(context.Background()); reason.As(err).Reason != reason.NoRecipients.Reason {
		t.Errorf("Open without recipients: %v", err)
	}
	tx.Abort()
}

func TestSourcesOfThisHostMayRelayAndLMTPMayNot(t *testing.T) {
	t.Parallel()
	q := new(memory)
	s, _ := newSubmitter(t, q, policy.Options{})
	other := smtp.Rcpt{To: mail.Address{Local: "x", Domain: "other.test"}}
	for _, c := range []struct {
		src Source
		ok  bool
	}{{Source{Local: true}, true}, {Source{Local: true, LocalOnly: true}, false}, {Source{AccountID: 1, Account: "joe@example.test"}, true}, {Source{}, false}} {
		tx, err := s.Begin(context.Background(), &c.src, smtp.Mail{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Rcpt(context.Background(), other); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.src, err)
		}
	}
	if _, err := s.Begin(context.Background(), &Source{AccountID: 2, Account: "joe@example.test"}, smtp.Mail{}); err == nil {
		t.Error("an account whose id is another's may send")
	}
	if _, err := s.Begin(context.Background(), &Source{AccountID: 1, Account: "joe@other.test"}, smtp.Mail{}); err == nil {
		t.Error("an account that is not here any more may send")
	}
}

func TestAUserOfTheSystemSendsAsItself(t *testing.T) {
	t.Parallel()
	s, _ := newSubmitter(t, &memory{}, policy.Options{})
	src := &Source{AccountID: directory.SystemID(503), Account: "tim@host.test"}
	for from, want := range map[string]bool{"tim@host.test": true, "tim-list@host.test": true, "anna@host.test": false, "joe@example.test": false, "x@other.test": false} {
		tx, err := s.Begin(context.Background(), src, smtp.Mail{From: mail.ParseAddress(from)})
		if err == nil {
			err = tx.Rcpt(context.Background(), smtp.Rcpt{To: mail.ParseAddress("you@elsewhere.test")})
		}
		if (err == nil) != want {
			t.Errorf("%s: have %v", from, err)
		}
	}
	src.AccountID++
	if _, err := s.Begin(context.Background(), src, smtp.Mail{}); err == nil {
		t.Error("a user whose uid is another's may send")
	}
}
