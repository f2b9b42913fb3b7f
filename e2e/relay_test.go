package e2e

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postilion/postilion/e2e/e2etest"
)

// toSink sends mail for every other host to the sink, and takes it from the tests.
func toSink(k *e2etest.Sink) map[string]string {
	return map[string]string{"route.next_hop": `"` + k.Addr + `"`, "policy.relay_networks": `["127.0.0.0/8"]`}
}

func TestMailForOthersGoesToTheNextHop(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		k := newSink(t)
		o.config = toSink(k)
		s := newServer(t, o)
		sent := generated()
		for _, m := range sent {
			check(t, s.Send(s.Account, "joe@else.example", m))
		}
		seen := make([]bool, len(sent))
		for _, m := range k.Arrived(t, len(sent)) {
			for i, want := range sent {
				if bytes.HasSuffix(m.Content, want) && len(m.Content) < len(want)+2000 {
					seen[i] = seen[i] || m.From == s.Account && len(m.To) == 1 && m.To[0] == "joe@else.example"
				}
			}
		}
		for i, ok := range seen {
			if !ok {
				t.Errorf("message %d did not arrive whole: %.300q", i, sent[i])
			}
		}
		s.drain()
	})
}

func TestARefusedMessageComesBack(t *testing.T) {
	t.Parallel()
	k := newSink(t)
	k.Rcpt = func(to string) error {
		if strings.HasPrefix(to, "nobody@") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such person \x1b[31mhere"}
		}
		return nil
	}
	s := newServer(t, setup{config: toSink(k)})
	check(t, s.Send(s.Account, "nobody@else.example", letter("returned")))
	bounce := string(s.arrived(s.Account, s.Password, 1)[0])
	for _, want := range []string{
		"Return-Path: <>\r\n", "\r\nAuto-Submitted: auto-replied\r\n", "multipart/report", "<nobody@else.example>",
		"message/delivery-status", "Action: failed", "Status: 5.1.1", "no such person", "Subject: returned", "Hi. This is the",
	} {
		if !strings.Contains(bounce, want) {
			t.Errorf("the bounce does not say %q:\n%s", want, bounce)
		}
	}
	if strings.Contains(bounce, "\x1b") {
		t.Error("the bounce carries the other host's control characters")
	}
	s.drain()
}

func TestMailThatWaitsIsToldOfAndGivenUp(t *testing.T) {
	t.Parallel()
	k := newSink(t)
	k.Rcpt = func(string) error {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "come back later"}
	}
	config := toSink(k)
	config["dispatch.delay_notice"] = `"4h"`
	s := newServer(t, setup{forTesting: true, config: config})
	check(t, s.Send(s.Account, "joe@else.example", letter("waiting")))
	eventually(t, "the first attempt has failed", func() bool {
		q := s.queue()
		return len(q) == 1 && q[0].Recipients[0].Attempts == 1 && strings.Contains(q[0].Recipients[0].Error, "come back later")
	})
	s.Stop()

	s.offset = "5h"
	s.serve()
	notice := string(s.arrived(s.Account, s.Password, 1)[0])
	for _, want := range []string{"Action: delayed", "Status: 4.7.1", "come back later", "Subject: waiting"} {
		if !strings.Contains(notice, want) {
			t.Errorf("the delay notice does not say %q:\n%s", want, notice)
		}
	}
	if n := len(s.queue()); n != 1 {
		t.Errorf("%d messages wait, want 1", n)
	}
	s.verbsGoByTheServersClock()
	s.Stop()

	s.offset = "8d"
	s.serve()
	both := s.arrived(s.Account, s.Password, 2)
	bounce := string(both[1])
	for _, want := range []string{"Action: failed", "come back later", "Subject: waiting"} {
		if !strings.Contains(bounce, want) {
			t.Errorf("the bounce does not say %q:\n%s", want, bounce)
		}
	}
	s.drain()
}

// verbsGoByTheServersClock holds verbs of a server whose clock is 5 hours fast to that clock, with a message that has waited
// since then.
func (s *server) verbsGoByTheServersClock() {
	s.T.Helper()
	if list := s.Must("queue", "list"); !strings.Contains(list, " 5h ") {
		s.T.Errorf("the message is not 5 hours old:\n%s", list)
	}
	s.Must("block", "add", "192.0.2.9", "--for", "1h")
	var blocked struct {
		Blocks []struct{ Expires time.Time }
	}
	s.Ask(&blocked, "block", "list")
	if len(blocked.Blocks) != 1 || blocked.Blocks[0].Expires.Before(time.Now().Add(5*time.Hour)) {
		s.T.Errorf("for an hour from the server's now: %+v", blocked)
	}
}

func TestTheClockIsMovedOnlyForTesting(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	s.Stop()
	if _, err := s.Run("serve", "--clock-offset", "5d"); err == nil || !strings.Contains(err.Error(), "--for-testing") {
		t.Errorf("serve --clock-offset in a real folder: %v", err)
	}
}
