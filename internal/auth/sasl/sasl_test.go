package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/auth"
)

// service lets joe in with the password secret. Its SCRAM wants "n,,joe" or "p=,,joe" and then "proof"; its last
// message is "signature", or nothing with quiet.
type service struct {
	asked    []string
	bindings []auth.ChannelBinding
	quiet    bool
	down     error
	closed   int
}

func (s *service) Password(_ context.Context, _ auth.Attempt, user, password string) (auth.Identity, error) {
	s.asked = append(s.asked, user+"|"+password)
	if user != "joe" || password != "secret" {
		return auth.Identity{}, auth.Failed
	}
	return auth.Identity{Account: 7}, nil
}

func (s *service) APOP(context.Context, auth.Attempt, string, string, string) (auth.Identity, error) {
	return auth.Identity{}, auth.Failed
}
func (s *service) Allowed(context.Context, netip.Addr) error { return nil }
func (s *service) SCRAM(_ context.Context, _ auth.Attempt, bindings []auth.ChannelBinding) (auth.Conversation, error) {
	s.bindings = bindings
	return &conversation{s: s}, s.down
}

type conversation struct {
	s    *service
	step int
}

func (c *conversation) Step(_ context.Context, response []byte) ([]byte, bool, error) {
	c.step++
	switch r := string(response); {
	case c.step == 1 && strings.HasSuffix(r, ",,joe"):
		return []byte("nonce"), false, nil
	case c.step == 2 && r == "proof" && c.s.quiet:
		return nil, true, nil
	case c.step == 2 && r == "proof":
		return []byte("signature"), true, nil
	}
	return []byte("e=other-error"), false, auth.Failed
}

func (c *conversation) Identity() auth.Identity {
	if c.step < 2 {
		return auth.Identity{}
	}
	return auth.Identity{Account: 7}
}

func (c *conversation) Close() error { c.s.closed++; return nil }

func TestEachMechanismIsCarriedToItsEnd(t *testing.T) {
	t.Parallel()
	const noInitial = "\x00none"
	for _, c := range []struct {
		mechanism, responses string // one a blank
		want                 string // the challenges and how it ended
	}{
		{"PLAIN", "\x00joe\x00secret", "ok"},
		{"PLAIN", "joe\x00joe\x00secret", "ok"},
		{"PLAIN", "ann\x00joe\x00secret", "failed"},
		{"PLAIN", "\x00joe\x00wrong", "failed"},
		{"PLAIN", "\x00\x00secret", "failed"},
		{"PLAIN", "\x00\xff\x00secret", "failed"},
		{"PLAIN", "\x00joe", "malformed"},
		{"PLAIN", "\x00joe\x00secret\x00", "malformed"},
		{"PLAIN", "", "malformed"},
		{"LOGIN", noInitial + " joe secret", "Username: Password: ok"},
		{"LOGIN", "joe secret", "Password: ok"},
		{"LOGIN", "joe wrong", "Password: failed"},
		{"LOGIN", "joe secret\x00", "Password: failed"},
		{"LOGIN", "joe\n secret", "Password: failed"},
		{"LOGIN", " secret", "Password: failed"},
		{"SCRAM-SHA-256", "n,,joe proof ", "nonce signature ok"},
		{"SCRAM-SHA-256", "y,,joe proof ", "nonce signature ok"},
		{"SCRAM-SHA-256", "n,,joe wrong", "nonce failed"},
		{"SCRAM-SHA-256", "n,,ann", "failed"},
		{"SCRAM-SHA-256", "p=,,joe", "malformed"},
		{"SCRAM-SHA-256-PLUS", "p=,,joe proof ", "nonce signature ok"},
		{"SCRAM-SHA-256-PLUS", "n,,joe", "malformed"},
	} {
		s := new(service)
		x := Begin(s, auth.Attempt{}, c.mechanism, nil)
		var got []string
		for r := range strings.SplitSeq(c.responses, " ") {
			response := []byte(r)
			if r == noInitial {
				response = nil
			}
			challenge, done, err := x.Step(t.Context(), response)
			switch {
			case errors.Is(err, ErrMalformed):
				got = append(got, "malformed")
			case errors.Is(err, auth.Failed):
				got = append(got, "failed")
			case err != nil:
				t.Fatal(err)
			case done:
				got = append(got, "ok")
			default:
				got = append(got, string(challenge))
			}
		}
		if strings.Join(got, " ") != c.want || (x.Identity().Account == 7) != strings.HasSuffix(c.want, "ok") {
			t.Errorf("%s %q: %q as %+v, want %q", c.mechanism, c.responses, got, x.Identity(), c.want)
		}
		x.Close()
		for _, asked := range s.asked {
			if user, password, _ := strings.Cut(asked, "|"); user == "" || !utf8.ValidString(user) || strings.ContainsAny(user+password, "\x00\r\n") {
				t.Errorf("%s %q: %q came to the service", c.mechanism, c.responses, asked)
			}
		}
	}
}

func TestSCRAMMayEndWithoutALastMessage(t *testing.T) {
	t.Parallel()
	s := &service{quiet: true}
	bindings := []auth.ChannelBinding{{Type: "tls-exporter", Data: []byte("x")}}
	x := Begin(s, auth.Attempt{}, Plus, bindings)
	if _, done, err := x.Step(t.Context(), []byte("p=,,joe")); done || err != nil {
		t.Fatal(done, err)
	}
	if challenge, done, err := x.Step(t.Context(), []byte("proof")); len(challenge) > 0 || !done || err != nil || x.Identity().Account != 7 {
		t.Errorf("%q, %v, %v", challenge, done, err)
	}
	if x.Close(); s.closed != 1 || len(s.bindings) != 1 {
		t.Errorf("closed %d times, bound to %v", s.closed, s.bindings)
	}
	s = &service{down: errors.New("down")}
	if _, _, err := Begin(s, auth.Attempt{}, Plus, bindings).Step(t.Context(), []byte("p=,,joe")); err != s.down {
		t.Error(err)
	}
}

func TestWhoBeginsAndWhatIsBoundTo(t *testing.T) {
	t.Parallel()
	for mechanism, first := range map[string]bool{"PLAIN": true, "LOGIN": false, "SCRAM-SHA-256": true, Plus: true} {
		if Begin(nil, auth.Attempt{}, mechanism, nil).ClientFirst() != first {
			t.Errorf("%s: the client begins: %v, want %v", mechanism, !first, first)
		}
	}
	for _, state := range []*tls.ConnectionState{nil, {Version: tls.VersionTLS12}} {
		if b := Bindings(state); b != nil {
			t.Errorf("%v: %v", state, b)
		}
	}
}

// FuzzResponse: whatever a client sends, there is one answer: a challenge, a login or a refusal.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{"", "\x00a\x00b", "a\x00a\x00b", "a\x00b\x00c", "\x00\x00", "\x00a\x00", "\x00a\x00b\x00c", "n,,joe", "p=,,joe"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, response []byte) {
		for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", Plus} {
			x := Begin(new(service), auth.Attempt{}, mechanism, nil)
			challenge, done, err := x.Step(t.Context(), response)
			if done && (err != nil || x.Identity().Account == 0 || len(challenge) > 0) || !done && err == nil && len(challenge) == 0 {
				t.Errorf("%s %q: challenge %q, done %v, error %v", mechanism, response, challenge, done, err)
			}
			x.Close()
		}
	})
}
