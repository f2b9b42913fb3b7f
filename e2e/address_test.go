package e2e

import (
	"bytes"
	"errors"
	"testing"

	"github.com/postilion/postilion/e2e/e2etest"
)

func TestAddressesReachWhoTheyMean(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	joe := "joe@" + domain
	password := s.addAccount(joe)
	s.Must("alias", "add", "sales@"+domain, joe)
	s.Must("alias", "add", "both@"+domain, joe, s.Account)
	s.Must("domain", "add", "other.example")
	s.Must("domain", "set", "other.example", "--catch-all", joe)
	s.Must("domain", "add", "third.example", "--alias-of", domain)

	for i, to := range []string{
		joe, "JOE@" + domain, "joe+lists@" + domain, "sales@" + domain, "both@" + domain,
		"anybody@other.example", "joe@third.example",
	} {
		check(t, s.Send("sender@else.example", to, letter("x"+string(rune('a'+i)))))
	}
	delivered := map[string]bool{}
	for _, m := range s.arrived(joe, password, 7) {
		header, _, _ := bytes.Cut(bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
		delivered[field(header, "Delivered-To")] = true
	}
	if !delivered["joe+lists@"+domain] && !delivered[joe] {
		t.Errorf("Delivered-To names %v", delivered)
	}
	s.arrived(s.Account, s.Password, 1)

	for _, to := range []string{"nobody@" + domain, "nobody@third.example", "joe@unknown.example"} {
		if got := code(s.Send("sender@else.example", to, letter("refused"))); got/100 != 5 {
			t.Errorf("mail to %s got %d, want a permanent refusal", to, got)
		}
	}
	// What is removed is refused, at once.
	s.Must("alias", "remove", "sales@"+domain)
	eventually(t, "the removed alias is refused", func() bool {
		return code(s.Send("sender@else.example", "sales@"+domain, letter("gone")))/100 == 5
	})
}

func TestWrongPasswordsOpenNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	check(t, s.Send("sender@else.example", s.Account, letter("secret")))
	for user, password := range map[string]string{
		s.Account: "wrong", "nobody@" + domain: s.Password, "": s.Password,
	} {
		if _, err := dialPOP(s.Addr["pop3"], user, password); !errors.As(err, new(e2etest.POPError)) {
			t.Errorf("POP3 let %q in with %q: %v", user, password, err)
		}
		c, err := dialSMTP(s.Addr["submission"])
		check(t, err)
		if err := c.Login(user, password); code(err) != 535 {
			t.Errorf("submission answers %v to %q with a wrong password", err, user)
		}
		if err := c.Mail(s.Account, []string{"joe@else.example"}, letter("relay")); code(err) != 530 {
			t.Errorf("submission without a login: %v", err)
		}
		c.Quit()
	}
	s.arrived(s.Account, s.Password, 1)
}

func TestAMailboxHasOneHolder(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		holder, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
		check(t, err)
		inUse := func() bool {
			c, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
			if err == nil {
				c.Close()
				return false
			}
			var e e2etest.POPError
			return errors.As(err, &e) && bytes.HasPrefix([]byte(e), []byte("[IN-USE] "))
		}
		if !inUse() {
			t.Error("a second session was let in")
		}
		s.Must("account", "free", s.Account)
		if _, err := holder.Cmd("NOOP"); err == nil {
			t.Error("the session that was to end goes on")
		}
		second, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
		check(t, err)
		if !inUse() {
			t.Error("a third session was let in")
		}
		second.Close() // dropped, not quit: the mailbox is free at once
		eventually(t, "the mailbox of a dropped connection is free", func() bool { return !inUse() })
		// Who may not log in any more does not go on with what he has.
		for _, verb := range [][]string{{"account", "set", s.Account}, {"domain", "set", domain}} {
			third, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
			if err != nil {
				eventually(t, "the session before is over", func() bool {
					third, err = dialPOP(s.Addr["pop3"], s.Account, s.Password)
					return err == nil
				})
			}
			s.Must(append(verb, "--disabled")...)
			if _, err := third.Cmd("NOOP"); err == nil {
				t.Errorf("%q: the session goes on", verb)
			}
			third.Close()
			s.Must(append(verb, "--disabled=false")...)
		}
	})
}
