package session

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/reason"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestTheTableKeepsItsLimit compares the table with a model in which holds are sets.
func TestTheTableKeepsItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.IntRange(0, 3).Draw(r, "limit")
		var table Table
		type held struct {
			*Hold
			ended *int
		}
		model := map[uint64][]held{}
		r.Repeat(map[string]func(*rapid.T){
			"acquire": func(r *rapid.T) {
				account := rapid.Uint64Range(1, 3).Draw(r, "account")
				ended := new(int)
				h := Holder{Account: account, Session: id.Source{}.New(), Protocol: "pop3", Client: netip.MustParseAddr("192.0.2.1"), Since: noon}
				hold, other := table.Acquire(h, limit, func() { *ended++ })
				room := limit == 0 || len(model[account]) < limit
				switch {
				case room != (hold != nil):
					r.Fatalf("acquired: %v, room: %v", hold != nil, room)
				case hold != nil:
					model[account] = append(model[account], held{hold, ended})
				case other.Session != model[account][0].Session:
					r.Fatalf("told the wrong holder")
				}
			},
			"release": func(r *rapid.T) {
				account := rapid.Uint64Range(1, 3).Draw(r, "account")
				if list := model[account]; len(list) > 0 {
					list[0].Release()
					list[0].Release()
					if list[0].Lost() || *list[0].ended != 0 {
						r.Fatal("a released hold counts as taken away")
					}
					model[account] = list[1:]
				}
			},
			"free": func(r *rapid.T) {
				account := rapid.Uint64Range(1, 3).Draw(r, "account")
				if got := table.Free(account); len(got) != len(model[account]) {
					r.Fatalf("freed %d of %d", len(got), len(model[account]))
				}
				for _, h := range model[account] {
					if !h.Lost() || *h.ended != 1 {
						r.Fatal("a freed hold does not know it")
					}
					h.Release()
				}
				delete(model, account)
			},
			"": func(r *rapid.T) {
				n := 0
				for _, list := range model {
					n += len(list)
				}
				if got := table.Holders(); len(got) != n {
					r.Fatalf("%d holders, want %d", len(got), n)
				}
			},
		})
	})
}

func TestProtocolsDoNotKeepEachOtherOut(t *testing.T) {
	t.Parallel()
	var table Table
	if h, _ := table.Acquire(Holder{Account: 1, Protocol: "imap"}, 0, func() {}); h == nil {
		t.Fatal("no hold")
	}
	if h, _ := table.Acquire(Holder{Account: 1, Protocol: "pop3"}, 1, func() {}); h == nil {
		t.Error("an IMAP session keeps POP3 out")
	}
}

func TestLoginDelayIsBoundedInTimeAndMemory(t *testing.T) {
	t.Parallel()
	var table Table
	if wait := table.TooSoon(1, noon, time.Minute); wait != 0 {
		t.Errorf("first login waits %v", wait)
	}
	if wait := table.TooSoon(1, noon.Add(20*time.Second), time.Minute); wait != 40*time.Second {
		t.Errorf("second login waits %v", wait)
	}
	if wait := table.TooSoon(1, noon.Add(-time.Hour), time.Minute); wait != 0 {
		t.Errorf("after the clock was set back the login waits %v", wait)
	}
	for i := range uint64(maxLogins + 10) {
		table.TooSoon(i, noon, time.Minute)
	}
	if len(table.logins) > maxLogins {
		t.Errorf("%d logins remembered", len(table.logins))
	}
}

// fake is an auth.Service that lets everybody in as account 1 or fails, and a directory.
type fake struct {
	err     error
	account *directory.Account
	dirErr  error
}

func (f fake) Password(context.Context, auth.Attempt, string, string) (auth.Identity, error) {
	return auth.Identity{Account: 1, Address: "joe@example.test", Device: "phone"}, f.err
}

func (f fake) APOP(context.Context, auth.Attempt, string, string, string) (auth.Identity, error) {
	return auth.Identity{Account: 1}, f.err
}

func (f fake) SCRAM(context.Context, auth.Attempt, []auth.ChannelBinding) (auth.Conversation, error) {
	return nil, f.err
}
func (f fake) Allowed(context.Context, netip.Addr) error { return nil }
func (f fake) Find(context.Context, string, []string) (directory.Found, error) {
	return directory.Found{}, directory.ErrNotFound
}

func (f fake) Account(context.Context, uint64) (*directory.Account, error) {
	return f.account, f.dirErr
}

func TestALoginNeedsAnAccountThatMayLogIn(t *testing.T) {
	t.Parallel()
	good := &directory.Account{ID: 1, Mailbox: "joe", Tenant: 3}
	for name, c := range map[string]struct {
		fake fake
		want reason.ID // "" is success
	}{
		"good":           {fake{account: good}, ""},
		"wrong password": {fake{err: auth.Failed, account: good}, "auth-failed"},
		"disabled":       {fake{account: &directory.Account{ID: 1, Mailbox: "joe", Disabled: true}}, "auth-failed"},
		"removed":        {fake{dirErr: directory.ErrNotFound}, "auth-failed"},
		"directory down": {fake{dirErr: errors.New("down")}, "directory-unavailable"},
		"auth down":      {fake{err: errors.New("down")}, "local-error"},
	} {
		l := &Logins{Auth: c.fake, Directory: c.fake}
		login, err := l.Password(context.Background(), auth.Attempt{Protocol: "pop3"}, "joe@example.test", "x")
		var got reason.ID
		if err != nil {
			got = reason.As(err).Reason
		}
		if got != c.want || (login == nil) != (c.want != "") {
			t.Errorf("%s: %v, %v", name, login, err)
		}
	}
}

// FuzzResponse: whatever a client sends, there is one answer: a challenge, a login or a refusal.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{"", "\x00a\x00b", "a\x00a\x00b", "a\x00b\x00c", "\x00\x00", "\x00a\x00", "\x00a\x00b\x00c"} {
		f.Add([]byte(s))
	}
	l := &Logins{Auth: fake{}, Directory: fake{account: &directory.Account{Mailbox: "m"}}}
	f.Fuzz(func(t *testing.T, response []byte) {
		for _, mechanism := range []string{"PLAIN", "LOGIN"} {
			x, ok := l.Begin(auth.Attempt{}, mechanism, Mechanisms(true, nil), nil)
			if !ok {
				t.Fatal("not offered")
			}
			challenge, login, err := x.Next(context.Background(), response)
			outcomes := 0
			for _, is := range []bool{challenge != nil, login != nil, err != nil} {
				if is {
					outcomes++
				}
			}
			if outcomes != 1 || mechanism == "LOGIN" && login != nil {
				t.Errorf("%s %q: challenge %q, login %v, error %v", mechanism, response, challenge, login, err)
			}
			x.Close()
		}
	})
}
