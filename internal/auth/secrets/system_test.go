package secrets

import (
	"context"
	"errors"
	"testing"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// host is a system with one user, tim, and joe, whom the directory knows too.
type host struct {
	password string
	asked    int
	trouble  error
}

func (h *host) Find(name, domain string) (*directory.Account, bool, error) {
	if name != "tim" && name != "joe" || domain != "" && domain != "host.test" {
		return nil, false, nil
	}
	return &directory.Account{ID: directory.SystemID(507), Address: mail.Address{Local: name, Domain: "host.test"}}, true, nil
}

func (h *host) Check(_ context.Context, name, password string) (bool, error) {
	h.asked++
	return h.trouble == nil && name == "tim" && password == h.password, h.trouble
}

func TestUsersOfTheSystemLogInWithTheirPassword(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{DefaultDomain: "a.test"})
	h := &host{password: "first secret"}
	f.system = h
	for _, user := range []string{"tim", "tim@host.test"} {
		id, err := f.Password(t.Context(), from("192.0.2.1"), user, "first secret")
		if want := (auth.Identity{Account: directory.SystemID(507), Address: "tim@host.test", User: "tim"}); err != nil || id != want {
			t.Errorf("%s: have %+v, %v", user, id, err)
		}
	}
	// A change of it counts at once, though nobody tells us.
	h.password = "second secret"
	f.want("failed", "192.0.2.1", "tim", "first secret")
	f.want("ok", "192.0.2.1", "tim", "second secret")
	f.want("failed", "192.0.2.1", "tim@a.test", "second secret")
	f.want("failed", "192.0.2.1", "nobody", "second secret")

	// An account of the directory goes before the user of its name.
	asked := h.asked
	f.want("ok", "192.0.2.1", "joe", correct)
	f.want("failed", "192.0.2.1", "joe", "second secret")
	if h.asked != asked {
		t.Error("the system was asked for an account of the directory")
	}
	h.trouble = reason.RunasUnavailable.Because(errors.New("away"))
	_, err := f.Password(t.Context(), from("192.0.2.1"), "tim", "second secret")
	if e := reason.As(err); e == nil || e.Reason != reason.RunasUnavailable.Reason {
		t.Errorf("have %v", err)
	}
}

func TestGuessingAUsersPasswordIsSlowedAsAllGuessing(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 3})
	f.system = &host{password: "secret"}
	for _, guess := range []string{"one", "two", "three", "four"} {
		f.want("failed", "192.0.2.1", "tim", guess)
	}
	f.want("blocked", "192.0.2.1", "tim", "secret")
	if before := f.hasher.ran.Load(); f.login("192.0.2.9", "tim", "wrong") != "failed" || f.hasher.ran.Load() != before+1 {
		t.Error("a failure did not cost one hash")
	}
}
