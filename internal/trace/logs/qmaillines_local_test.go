package logs

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// qmail-send logs who ran qmail-queue, which the reports by user count (zsuids).
func TestQmailLinesNameWhoHandedTheMessageIn(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	q := newQmailLines(&b)
	q.record(&trace.Event{Kind: trace.Accepted, Role: "local", Helo: "uid 1001 pid 77", Message: id.Source{}.New(), From: "joe@mx.test", Size: 5})
	if !strings.HasSuffix(b.String(), " from <joe@mx.test> qp 77 uid 1001\n") {
		t.Errorf("%q", b.String())
	}
}

// The lines of a report are qmail-remote's, whatever form the texts have elsewhere.
func TestQmailLinesHaveTheRemoteReportInLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.1 accepted message. Remote host said: 250 ok 7":                          "success: 192.0.2.1_accepted_message./Remote_host_said:_250_ok_7/",
		"192.0.2.1 does not like recipient. Remote host said: 451-wait / 451 a / b":       "deferral: 192.0.2.1_does_not_like_recipient./Remote_host_said:_451-wait/451_a/b/Giving_up_on_192.0.2.1./",
		"192.0.2.1 does not like recipient. Remote host said: 451 no\nI'm not going":      "failure: 192.0.2.1_does_not_like_recipient./Remote_host_said:_451_no/Giving_up_on_192.0.2.1./I'm_not_going/",
		"Connected to 192.0.2.1 but sender was rejected. Remote host said: 550 no":        "failure: Connected_to_192.0.2.1_but_sender_was_rejected./Remote_host_said:_550_no/",
		"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1) Tried 192.0.2.1.": "deferral: Sorry,_I_wasn't_able_to_establish_an_SMTP_connection._(#4.4.1)_Tried_192.0.2.1./",
	} {
		var b bytes.Buffer
		kind := map[string]trace.Kind{"success": trace.Delivered, "deferral": trace.Deferred, "failure": trace.Failed}[want[:strings.Index(want, ":")]]
		newQmailLines(&b).record(&trace.Event{Kind: kind, Role: "remote", Message: id.Source{}.New(), To: "joe@far.test", Text: text})
		if !strings.Contains(b.String(), "\ndelivery 1: "+want+"\n") {
			t.Errorf("%s: %q", text, b.String())
		}
	}
}

// multilog t stamps each line, so one that it reads must have none, as qmail-send's have none.
func TestQmailLinesHaveNoStampForAProgramThatReadsThem(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l, err := Open(Options{Format: "qmail"}, "queue", "", w)
	if err != nil {
		t.Fatal(err)
	}
	l.Events.Record(trace.Event{Kind: trace.Finished, Message: id.Source{}.New()})
	l.Logger.Info("ready")
	l.Close()
	w.Close()
	if got, err := io.ReadAll(r); err != nil || !strings.HasPrefix(string(got), "end msg ") || !strings.Contains(string(got), "\nlevel=INFO msg=ready ") {
		t.Errorf("%q, %v", got, err)
	}
}
