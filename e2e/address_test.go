package e2e

import (
	"bytes"
	"errors"
	"testing"
)

func TestAddressesReachWhoTheyMean(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	joe := "joe@" + domain
	password := s.addAccount(joe)
	s.must("alias", "add", "sales@"+domain, joe)
	s.must("alias", "add", "both@"+domain, joe, s.account)
	s.must("domain", "add", "other.example")
	s.must("domain", "set", "other.example", "--catch-all", joe)
	s.must("domain", "add", "third.example", "--alias-of", domain)

	for i, to := range []string{
		joe, "JOE@" + domain, "joe+lists@" + domain, "sales@" + domain, "both@" + domain,
		"anybody@other.example", "joe@third.example",
	} {
		check(t, s.send("sender@else.example", to, letter("x"+string(rune('a'+i)))))
	}
	delivered := map[string]bool{}
	for _, m := range s.arrived(joe, password, 7) {
		header, _, _ := bytes.Cut(bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
		delivered[field(header, "Delivered-To")] = true
	}
	if !delivered["joe+lists@"+domain] && !delivered[joe] {
		t.Errorf("Delivered-To names %v", delivered)
	}
	s.arrived(s.account, s.password, 1)

	for _, to := range []string{"nobody@" + domain, "nobody@third.example", "joe@unknown.example"} {
		if got := code(s.send("sender@else.example", to, letter("refused"))); got/100 != 5 {
			t.Errorf("mail to %s got %d, want a permanent refusal", to, got)
		}
	}
	// What is removed is refused, at once.
	s.must("alias", "remove", "sales@"+domain)
	within(t, patience, "the removed alias is refused", func() bool {
		return code(s.send("sender@else.example", "sales@"+domain, letter("gone")))/100 == 5
	})
}

func TestWrongPasswordsOpenNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	check(t, s.send("sender@else.example", s.account, letter("secret")))
	for user, password := range map[string]string{
		s.account: "wrong", "nobody@" + domain: s.password, "": s.password,
	} {
		if _, err := dialPOP(s.addr["pop3"], user, password); !errors.As(err, new(popError)) {
			t.Errorf("POP3 let %q in with %q: %v", user, password, err)
		}
		c, err := dialSMTP(s.addr["submission"])
		check(t, err)
		if err := c.login(user, password); code(err) != 535 {
			t.Errorf("submission answers %v to %q with a wrong password", err, user)
		}
		if err := c.mail(s.account, []string{"joe@else.example"}, letter("relay")); code(err) != 530 {
			t.Errorf("submission without a login: %v", err)
		}
		c.quit()
	}
	s.arrived(s.account, s.password, 1)
}

func TestAMailboxHasOneHolder(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		holder, err := dialPOP(s.addr["pop3"], s.account, s.password)
		check(t, err)
		inUse := func() bool {
			_, err := dialPOP(s.addr["pop3"], s.account, s.password)
			var e popError
			return errors.As(err, &e) && bytes.HasPrefix([]byte(e), []byte("[IN-USE] "))
		}
		if !inUse() {
			t.Error("a second session was let in")
		}
		s.must("account", "free", s.account)
		if _, err := holder.cmd("NOOP"); err == nil {
			t.Error("the session that was to end goes on")
		}
		second, err := dialPOP(s.addr["pop3"], s.account, s.password)
		check(t, err)
		if !inUse() {
			t.Error("a third session was let in")
		}
		second.Close() // dropped, not quit: the mailbox is free at once
		within(t, patience, "the mailbox of a dropped connection is free", func() bool { return !inUse() })
	})
}
