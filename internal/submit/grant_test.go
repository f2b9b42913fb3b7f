package submit

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// Vector 4 of the qmail reference.
func TestRelayclientsValueGoesBehindTheRecipient(t *testing.T) {
	t.Parallel()
	q := new(memory)
	s, _ := newSubmitter(t, q, policy.Options{})
	src := &Source{Client: netip.MustParseAddr("192.0.2.7"), Grant: &policy.Grant{Relay: true, Append: "@fix.me"}}
	ctx := context.Background()
	tx, err := s.Begin(ctx, src, smtp.Mail{})
	if err == nil {
		err = tx.Rcpt(ctx, smtp.Rcpt{To: mail.ParseAddress("joe@far.test")})
	}
	if err == nil {
		err = tx.Open(ctx)
	}
	if err == nil {
		_, err = tx.Commit(ctx)
	}
	if err != nil || q.env.Recipients[0].To.String() != "joe@far.test@fix.me" {
		t.Errorf("%v, %+v", err, q.env.Recipients)
	}
}

// Vector 7 of the qmail reference: DATABYTES counts what is stored, with LF.
func TestDatabytesCountsLF(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]*reason.Error{"1234567\n": nil, "12345678\n": reason.MessageTooBig, "1234567": nil, "12345678": reason.MessageTooBig} {
		s, _ := newSubmitter(t, new(memory), policy.Options{})
		src := &Source{Client: netip.MustParseAddr("192.0.2.7"), Grant: &policy.Grant{Sized: true, Databytes: 8}}
		_, err := hand(t, s, src, content, 3)
		if got := reason.As(err); (got == nil) != (want == nil) || got != nil && (got.Reason != want.Reason || got.Code != 552) {
			t.Errorf("%q: %v", content, err)
		}
	}
	s, _ := newSubmitter(t, new(memory), policy.Options{})
	src := &Source{Grant: &policy.Grant{Sized: true, Databytes: 8}}
	if _, err := s.Begin(context.Background(), src, smtp.Mail{Size: 18}); reason.As(err) == nil || reason.As(err).Code != 552 {
		t.Errorf("a declared size that cannot fit: %v", err)
	}
	if _, err := s.Begin(context.Background(), src, smtp.Mail{Size: 16}); err != nil {
		t.Errorf("a declared size that may fit: %v", err)
	}
}

// Vector 1 of the qmail reference: MAIL gets 250, each RCPT 553.
func TestARefusedSenderIsToldAtRcptWhereAskedFor(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	bad := smtp.Mail{From: mail.ParseAddress("x@bad.example")}
	s, _ := newSubmitter(t, new(memory), policy.Options{BadSenders: []string{"@bad.example"}})
	if _, err := s.Begin(ctx, &Source{}, bad); reason.As(err) == nil {
		t.Error("at MAIL by default")
	}
	s, _ = newSubmitter(t, new(memory), policy.Options{BadSenders: []string{"@bad.example"}, SendersAt: "rcpt"})
	tx, err := s.Begin(ctx, &Source{Grant: &policy.Grant{Relay: true}}, bad)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	if e := reason.As(tx.Rcpt(ctx, smtp.Rcpt{To: joe.Address})); e == nil || e.Code != 553 || e.Reason != "sender-refused" {
		t.Errorf("at RCPT: %v", e)
	}
}

func TestReceivedInBothForms(t *testing.T) {
	t.Parallel()
	src := Source{Client: netip.MustParseAddr("10.1.1.1"), HELO: "Bar.test", Protocol: "ESMTP", RemoteHost: "client.test", RemoteInfo: "id [x]"}
	same := src
	same.HELO, same.RemoteInfo = "CLIENT.test", ""
	odd := Source{Client: src.Client, HELO: "my_host\n" + strings.Repeat("x", 300), RemoteInfo: strings.Repeat("y", 70)}
	for _, c := range []struct {
		form string
		src  Source
		want string
	}{
		{"", src, "Received: from Bar.test (id?[x]@client.test [10.1.1.1])\n\tby mx.example.test with ESMTP id *\n\tfor <joe@example.test>; Sat, 21 Nov 2026 19:31:43 +0000\n"},
		{"qmail", src, "Received: from client.test (HELO Bar.test) (id?[x]@10.1.1.1)\n  by mx.example.test with ESMTP id *; 21 Nov 2026 19:31:43 -0000\n"},
		{"qmail", same, "Received: from client.test (10.1.1.1)\n  by mx.example.test with ESMTP id *; 21 Nov 2026 19:31:43 -0000\n"},
		{"", odd, "Received: from my_host?" + strings.Repeat("x", 247) + " (" + strings.Repeat("y", 64) + "@[10.1.1.1])\n\tby mx.example.test id *\n\tfor <joe@example.test>; Sat, 21 Nov 2026 19:31:43 +0000\n"},
		{"qmail", odd, "Received: from unknown (HELO my?host?" + strings.Repeat("x", 247) + ") (" + strings.Repeat("y", 64) + "@10.1.1.1)\n  by mx.example.test id *; 21 Nov 2026 19:31:43 -0000\n"},
		{"qmail", Source{Client: src.Client}, "Received: from unknown (10.1.1.1)\n  by mx.example.test id *; 21 Nov 2026 19:31:43 -0000\n"},
	} {
		q := new(memory)
		s, _ := newSubmitter(t, q, policy.Options{})
		s.o.Received = c.form
		if _, err := hand(t, s, &c.src, "\n", 10); err != nil {
			t.Fatal(err)
		}
		before, after, _ := strings.Cut(c.want, "*")
		if got := q.body.String(); !strings.HasPrefix(got, before) || !strings.HasSuffix(strings.TrimSuffix(got, "\n"), after) {
			t.Errorf("%q:\n%s\nwant\n%s", c.form, got, c.want)
		}
	}
	if (&Options{Received: "x"}).Validate() == nil {
		t.Error("received = x: want an error")
	}
}

func TestABodyMayComeBeforeItsEnvelope(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	begin := func(o policy.Options) (*Transaction, *memory) {
		q := new(memory)
		s, _ := newSubmitter(t, q, o)
		tx, err := s.BeginBody(ctx, &Source{Protocol: "QMTP"})
		if err != nil {
			t.Fatal(err)
		}
		tx.Write([]byte("Subject: x\n\nbody\n"))
		return tx, q
	}
	tx, q := begin(policy.Options{})
	if err := tx.Sender(ctx, smtp.Mail{From: mail.ParseAddress("a@far.test")}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rcpt(ctx, smtp.Rcpt{To: mail.ParseAddress("b@far.test")}); reason.As(err) == nil || reason.As(err).Reason != "relay-denied" {
		t.Errorf("relaying: %v", err)
	}
	if err := tx.Rcpt(ctx, smtp.Rcpt{To: joe.Address}); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(ctx); err != nil || !q.committed || q.env.From.String() != "a@far.test" || len(q.env.Recipients) != 1 || body(q.body.String()) != "Subject: x\n\nbody\n" {
		t.Errorf("%v, %+v, %q", err, q.env, q.body.String())
	}

	tx, q = begin(policy.Options{})
	if _, err := tx.Commit(ctx); !errors.Is(err, reason.NoRecipients) || q.committed || q.aborted == 0 {
		t.Errorf("without recipients: %v, committed %v, aborted %d", err, q.committed, q.aborted)
	}
	tx, _ = begin(policy.Options{MaxSize: 3})
	_ = tx.Rcpt(ctx, smtp.Rcpt{To: joe.Address})
	if _, err := tx.Commit(ctx); reason.As(err) == nil || reason.As(err).Reason != "message-too-big" {
		t.Errorf("too big: %v", err)
	}
	tx, _ = begin(policy.Options{BadSenders: []string{"@bad.example"}})
	if err := tx.Sender(ctx, smtp.Mail{From: mail.ParseAddress("a@bad.example")}); reason.As(err) == nil {
		t.Error("a bad sender: want an error")
	}
	tx.Abort()
}
