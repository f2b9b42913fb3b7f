package bounce

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jhillyerd/enmime/v2"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	unknown  = &reason.Error{Class: reason.Permanent, Code: 550, Enhanced: "5.1.1", Reason: "no mailbox here by that name", Remote: "550-5.1.1 <joe@far.test>: unknown\n550 5.1.1 see https://far.test/help"}
	late     = &reason.Error{Class: reason.Temporary, Code: 450, Enhanced: "4.2.2", Reason: "the mailbox is full"}
	accepted = time.Date(2026, 11, 21, 19, 30, 0, 0, time.UTC)
	noticed  = time.Date(2026, 11, 21, 19, 33, 36, 0, time.UTC)
	builder  = &Builder{Name: "mx.here.test"}
)

const original = "Received: from client.test by mx.here.test; 21 Nov 2026 19:30:00 -0000\nMessage-ID: <1@here.test>\nSubject: hello\n\nbody\n.\n"

func notice(k Kind, from string, list ...Outcome) *Notice {
	env := &mail.Envelope{ID: id.ID{1}, Accepted: accepted, From: mail.ParseAddress(from), Size: int64(len(original)), EnvID: "QQ314159"}
	for _, o := range list {
		env.Recipients = append(env.Recipients, mail.Recipient{To: o.To, ORcpt: o.ORcpt})
	}
	return &Notice{Kind: k, Of: env, Recipients: list, Body: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(original)), nil
	}}
}

func failed(to string) Outcome {
	return Outcome{
		To: mail.ParseAddress(to), ORcpt: "rfc822;alias@here.test", Action: Failed, Err: unknown, Host: "mx.far.test [192.0.2.7]",
		Last: noticed, Transcript: ">>> RCPT TO:<joe@far.test>\n<<< 550-5.1.1 <joe@far.test>: unknown\n<<< 550 5.1.1 see https://far.test/help\n",
	}
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

// write returns the notice's envelope and bytes.
func write(t fataler, b *Builder, n *Notice) (*mail.Envelope, []byte) {
	t.Helper()
	env := b.Envelope(n, id.ID{2}, noticed)
	var out bytes.Buffer
	if err := b.Write(context.Background(), &out, env, n); err != nil {
		t.Fatal(err)
	}
	return env, out.Bytes()
}

func TestNoticesAreAsTheGoldenFiles(t *testing.T) {
	t.Parallel()
	small := &Builder{Name: "mx.here.test", Options: Options{MaxReturn: 10, Host: "bounce.here.test", From: "Mailer"}}
	korean := &Builder{Name: "mx.here.test", Options: Options{Language: "ko"}}
	japanese := &Builder{Name: "mx.here.test", Options: Options{Languages: []string{"here.test ja"}}}
	gone := Outcome{To: mail.ParseAddress("nobody@here.test"), Action: Failed, Err: reason.MailboxUnknown.With("nobody@here.test"), Last: noticed}
	refused := failed("joe@far.test")
	refused.Err = &reason.Error{Class: reason.Permanent, Code: 550, Enhanced: "5.1.1", Reason: reason.RemoteRecipient, Args: []string{"192.0.2.7"}, Remote: unknown.Remote}
	tooLate := Outcome{To: mail.ParseAddress("ann@far.test"), Action: Failed, Err: reason.QueueLifetime.With("x", "connect-failed", reason.ConnectFailed.With("mx.far.test").Line()), Last: noticed}
	umlaut := failed("jürgen@bücher.test")
	umlaut.ORcpt = ""
	delay := Outcome{To: mail.ParseAddress("full@far.test"), Action: Delayed, Err: late, Last: noticed, RetryUntil: accepted.Add(7 * 24 * time.Hour)}
	relayed := Outcome{To: mail.ParseAddress("joe@far.test"), Action: Relayed, Host: "mx.far.test [192.0.2.7]", Last: noticed}
	for _, c := range []struct {
		name string
		b    *Builder
		n    *Notice
		to   string
	}{
		{"failure", builder, notice(Failure, "sender@here.test", failed("joe@far.test"), Outcome{To: mail.ParseAddress("a b@here.test"), Action: Failed, Err: reason.LocalError.With()}), "sender@here.test"},
		{"failure-headers", small, notice(Failure, "sender@here.test", failed("joe@far.test")), "sender@here.test"},
		{"failure-utf8", builder, notice(Failure, "sender@here.test", umlaut), "sender@here.test"},
		{"failure-verp", builder, notice(Failure, "list-@here.test-@[]", failed("joe@far.test")), "list-@here.test"},
		{"double", builder, notice(Failure, "", failed("joe@far.test")), "postmaster@mx.here.test"},
		{"delay", builder, notice(Delay, "sender@here.test", delay), "sender@here.test"},
		{"success", builder, notice(Success, "sender@here.test", relayed), "sender@here.test"},
		{"failure-ko", korean, notice(Failure, "sender@here.test", refused, gone, tooLate), "sender@here.test"},
		{"failure-ja", japanese, notice(Failure, "sender@here.test", refused, gone, tooLate), "sender@here.test"},
		{"delay-ko", korean, notice(Delay, "sender@here.test", delay), "sender@here.test"},
		{"success-ja", japanese, notice(Success, "sender@here.test", relayed), "sender@here.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env, got := write(t, c.b, c.n)
			if to := env.Recipients[0].To.String(); to != c.to {
				t.Errorf("goes to %q, want %q", to, c.to)
			}
			if strings.IndexFunc(string(got), func(r rune) bool { return r >= 0x80 }) >= 0 != (env.Body == mail.Body8Bit) || env.UTF8 {
				t.Errorf("body type %d, UTF8 %v", env.Body, env.UTF8)
			}
			golden := filepath.Join("testdata", c.name+".eml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
			parsed, err := enmime.ReadEnvelope(bytes.NewReader(got))
			if err != nil || len(parsed.Errors) > 0 {
				t.Errorf("enmime: %v %v", err, parsed.Errors)
			}
			if n := len(parsed.Root.FirstChild.NextSibling.NextSibling.Content); n == 0 || parsed.Root.FirstChild.NextSibling.NextSibling.NextSibling != nil {
				t.Error("enmime does not see three parts")
			}
		})
	}
}

func TestATripleBounceHasNobodyToGoTo(t *testing.T) {
	t.Parallel()
	if env := builder.Envelope(notice(Failure, "#@[]", failed("joe@far.test")), id.ID{2}, noticed); env != nil {
		t.Errorf("it goes to %v", env.Recipients)
	}
	if env := builder.Envelope(notice(Failure, "", failed("joe@far.test")), id.ID{2}, noticed); env.From != DoubleSender {
		t.Errorf("a double bounce comes from %v", env.From)
	}
}

func TestReturnFollowsSizeAndWish(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ret  mail.Ret
		size int64
		want part
	}{
		{mail.RetDefault, 64 << 10, whole},
		{mail.RetDefault, 64<<10 + 1, header},
		{mail.RetHeaders, 10, header},
		{mail.RetFull, 1 << 20, whole},
		{mail.RetFull, 11 << 20, header},
	} {
		if got := builder.returned(&Notice{Of: &mail.Envelope{Ret: c.ret, Size: c.size}}); got != c.want {
			t.Errorf("RET %d of %d bytes: %d, want %d", c.ret, c.size, got, c.want)
		}
		if got := builder.returned(&Notice{Of: &mail.Envelope{Ret: c.ret, Size: c.size, TLSOnly: true}}); got != header {
			t.Errorf("RET %d of %d bytes that require TLS: %d", c.ret, c.size, got)
		}
		for _, kind := range []Kind{Delay, Success} {
			if got := builder.returned(&Notice{Kind: kind, Of: &mail.Envelope{Ret: c.ret, Size: c.size}}); got != header {
				t.Errorf("RET %d of %d bytes with a %s: %d", c.ret, c.size, kind, got)
			}
		}
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	_, raw := write(t, builder, notice(Failure, "sender@here.test", failed("joe@far.test")))
	got, err := Parse(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Format: "dsn", ReportingMTA: "mx.here.test", EnvelopeID: "QQ314159", Arrival: "Sat, 21 Nov 2026 19:30:00 -0000",
		Recipients: []Recipient{{
			Final: "joe@far.test", Original: "alias@here.test", Action: "failed", Status: "5.1.1", RemoteMTA: "mx.far.test",
			Diagnostic: "550-5.1.1 <joe@far.test>: unknown 550 5.1.1 see https://far.test/help", LastAttempt: "Sat, 21 Nov 2026 19:33:36 -0000",
		}},
		MessageID: "<1@here.test>", Sender: "sender@here.test",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTheTextPartOfAFailureIsQSBMF(t *testing.T) {
	t.Parallel()
	_, raw := write(t, builder, notice(Failure, "sender@here.test", failed("joe@far.test"), failed("jim@far.test")))
	_, text, _ := strings.Cut(string(raw), "\nHi. This is the")
	text, _, _ = strings.Cut("Hi. This is the"+text, "\n--postilion-")
	got, err := Parse(strings.NewReader("Subject: failure notice\n\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	if got.Format != "qsbmf" || len(got.Recipients) != 2 || got.Recipients[1].Final != "jim@far.test" || got.Recipients[0].Status != "5.1.1" {
		t.Errorf("read %+v", got)
	}
}

func TestANoticeOfADelayIsNoBounceToQSBMFReaders(t *testing.T) {
	t.Parallel()
	_, raw := write(t, builder, notice(Delay, "sender@here.test", Outcome{To: mail.ParseAddress("a@far.test"), Action: Delayed, Err: late}))
	if bytes.Contains(raw, []byte("Hi. This is the")) {
		t.Error("it begins like a bounce")
	}
	if !bytes.Contains(raw, []byte("Nothing has failed yet")) {
		t.Error("it does not say that nothing has failed")
	}
}

// TestNoValueBreaksOutOfItsLine puts every kind of bytes into every value.
func TestNoValueBreaksOutOfItsLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		evil := func(label string) string {
			return rapid.StringOf(rapid.RuneFrom([]rune("ab \t\r\n\x00\x1b<>:;-@\"é漢\u2028\u0085"))).Draw(rt, label) +
				rapid.SampledFrom([]string{"", "\r\nBcc: evil@evil.test\r\n\r\n", "\n--postilion-", "\n\n<x@y.test>:\nno", "\xff\xfe", strings.Repeat("x", 2000)}).Draw(rt, label+" tail")
		}
		o := Outcome{
			To:    mail.Address{Local: strings.Map(noLineEnds, evil("local")), Domain: strings.Map(noLineEnds, evil("domain"))},
			ORcpt: evil("orcpt"), Action: Failed, Host: evil("host"), Last: noticed, Text: evil("text"), Transcript: evil("transcript"),
			Err: &reason.Error{Class: reason.Permanent, Code: 550, Enhanced: evil("enhanced"), Reason: reason.ID(evil("reason")), Remote: evil("remote")},
		}
		n := notice(Failure, "sender@here.test", o)
		n.Of.From = mail.Address{Local: strings.Map(noLineEnds, evil("from")), Domain: "here.test"}
		n.Of.EnvID = evil("envid")
		spoken := &Builder{Name: "mx.here.test", Options: Options{Language: rapid.SampledFrom([]string{"en", "ko", "ja"}).Draw(rt, "language"), Subject: evil("subject")}}
		_, raw := write(rt, spoken, n)
		for line := range strings.SplitSeq(string(raw), "\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\x00\x1b") {
				rt.Fatalf("line of %d bytes: %.60q", len(line), line)
			}
		}
		head, _ := splitHeader(string(raw))
		if len(head) < 8 || len(head) > 9 {
			rt.Fatalf("%d header fields", len(head))
		}
		kind, body := secondPart(string(raw))
		if kind != 3 {
			rt.Fatalf("%d parts", kind)
		}
		for _, block := range paragraphs(body) {
			for _, f := range fields(block) {
				if !strings.Contains(statusFields, f[0]+" ") {
					rt.Fatalf("field %q was injected", f[0])
				}
			}
		}
		rep := parseStatus(body)
		if len(rep.Recipients) != 1 || rep.Recipients[0].Action != "failed" {
			rt.Fatalf("read %+v", rep)
		}
	})
}

func TestAnInternationalOriginalRecipientIsToldInEitherKindOfNotice(t *testing.T) {
	t.Parallel()
	for _, utf8 := range []bool{false, true} {
		o := failed("joe@far.test")
		o.ORcpt = "utf-8;jö@here.test"
		n := notice(Failure, "sender@here.test", o)
		n.Of.UTF8 = utf8
		want := "Original-Recipient: utf-8; jö@here.test\n"
		if !utf8 {
			want = "Original-Recipient: utf-8; j\\x{F6}@here.test\n" // RFC 6533 4
		}
		if _, raw := write(t, &Builder{Name: "mx.here.test"}, n); !strings.Contains(string(raw), want) {
			t.Errorf("SMTPUTF8 %v: want %q in\n%s", utf8, want, raw)
		}
	}
}

// statusFields are those that a delivery-status part of ours may have.
const statusFields = "Original-Envelope-Id Reporting-MTA Arrival-Date Original-Recipient Final-Recipient Action Status " +
	"Remote-MTA Diagnostic-Code Last-Attempt-Date Will-Retry-Until "

func noLineEnds(r rune) rune {
	if r == '\r' || r == '\n' || r == 0 {
		return -1
	}
	return r
}

// secondPart returns the number of parts and the second one.
func secondPart(raw string) (int, string) {
	h, body := splitHeader(raw)
	l := leaves(h, body, 0)
	if len(l) < 2 {
		return len(l), ""
	}
	return len(l), l[1].body
}
