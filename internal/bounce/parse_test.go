package bounce

import (
	"errors"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/realmail"
)

const qmailBounce = `Received: (qmail 111 invoked for bounce); 1 Jul 2014 08:30:56 -0000
From: MAILER-DAEMON@mx.test
To: joe@mx.test
Subject: failure notice

Hi. This is the qmail-send program at mx.test.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<nobody@mx.test>:
Sorry, no mailbox here by that name. (#5.1.1)

<late@far.test>:
Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)
I'm not going to try again; this message has been in the queue too long.

--- Below this line is a copy of the message.

Return-Path: <joe@mx.test>
Message-ID: <7@mx.test>

<not@a.test>:
`

func TestQmailsBouncesAreRead(t *testing.T) {
	t.Parallel()
	r, err := Parse(strings.NewReader(strings.ReplaceAll(qmailBounce, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if r.Format != "qsbmf" || r.ReportingMTA != "mx.test" || r.MessageID != "<7@mx.test>" || r.Sender != "joe@mx.test" || len(r.Recipients) != 2 {
		t.Fatalf("read %+v", r)
	}
	if a, b := r.Recipients[0], r.Recipients[1]; a.Final != "nobody@mx.test" || a.Status != "5.1.1" || b.Final != "late@far.test" || b.Status != "4.4.1" {
		t.Errorf("read %+v and %+v", a, b)
	}
}

func TestOrdinaryMailIsNoBounce(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "Subject: hi\n\nHi. This is the life.\n", "Content-Type: multipart/report; boundary=\n\n--\n--\n",
		"Subject: Fwd\n\nLook: Hi. This is the qmail-send program at mx.test.\n\n<joe@mx.test>:\nno.\n",
		"Subject: hi\n\nHi. This is the life.\n\n<joe@mx.test> said so\n"} {
		if r, err := Parse(strings.NewReader(s)); !errors.Is(err, ErrNotABounce) {
			t.Errorf("%q: %+v, %v", s, r, err)
		}
	}
}

// TestRealBouncesAreRead wants a recipient out of every real bounce that has a
// delivery-status part or qmail's text.
func TestRealBouncesAreRead(t *testing.T) {
	t.Parallel()
	total, read := 0, 0
	realmail.Each(t, "bounces-dev-half.tar.zst", func(name string, data []byte) bool {
		if !strings.HasSuffix(name, ".eml") {
			return true
		}
		total++
		r, err := Parse(strings.NewReader(string(data)))
		text := string(data)
		expected := strings.Contains(text, "\nFinal-Recipient:") || strings.Contains(text, "\nHi. This is the") && strings.Contains(text, ">:")
		if err == nil {
			read++
			for _, x := range r.Recipients {
				if x.Final == "" || x.Action == "" {
					t.Logf("%s: incomplete %+v", name, x)
				}
			}
		} else if expected {
			t.Errorf("%s: %v", name, err)
		}
		return true
	})
	t.Logf("%d of %d read as DSN or QSBMF", read, total)
	if read == 0 {
		t.Error("none was read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(qmailBounce)
	_, raw := write(f, builder, notice(Failure, "sender@here.test", failed("joe@far.test")))
	f.Add(string(raw))
	f.Add("Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nAction: failed\n--b--\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(strings.NewReader(s))
		if err == nil && len(r.Recipients) == 0 {
			t.Error("a bounce without recipients")
		}
		for _, x := range r.Recipients {
			if strings.ContainsAny(x.Final+x.Diagnostic+x.Status, "\n") {
				t.Errorf("a line end in %+v", x)
			}
		}
	})
}
