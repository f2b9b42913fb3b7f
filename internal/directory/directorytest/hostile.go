package directorytest

// What must be refused or bound, and histories checked against a model.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
)

func testHostile(t *testing.T, f *fixture) {
	f.domain("a.test")
	f.account("joe@a.test")
	for _, bad := range []string{
		"", ".", "a..b", ".a.test", "a.test.", "-a.test", "a-.test", "a_b.test", "a b.test", "a\x00.test", "a\n.test", "192.0.2.1", "[192.0.2.1]", "2001:db8::1",
		"xn--\xff.test", "xn--a.test", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "test", strings.Repeat("x", 1<<20), "../etc", "a.test/../b", "'; DROP TABLE domains; --",
	} {
		f.refuses(bad, func() error { return f.store.PutDomain(f.ctx(), directory.NewDomain(bad), true) })
		f.finds("no domain", bad, "joe")
	}
	for _, bad := range []string{"", "a b", "a\x00", "a\r\nb", "a\"b", "a@b", "a\\b", "\xff", "a\ufffd", "a\u200bb\u0085", "a,b", "<a>", strings.Repeat("x", 65), strings.Repeat("é", 40)} {
		f.refuses(bad, func() error {
			return f.store.PutAccount(f.ctx(), &directory.Account{Address: mail.Address{Local: bad, Domain: "a.test"}}, true)
		})
		f.refuses(bad, func() error {
			return f.store.PutAlias(f.ctx(), directory.Alias{Address: mail.Address{Local: bad, Domain: "a.test"}, Targets: []mail.Address{{Local: "x", Domain: "b.test"}}}, true)
		})
	}
	for _, odd := range []string{"x' OR 1=1--", "*)(uid=*))(|(uid=*", "%", "_oe", "j%", "joe\x00", "", strings.Repeat("x", 1<<20), "\xff\xfe"} {
		f.finds("nobody", "a.test", odd)
	}
	for what, a := range map[string]directory.Account{"-1": {QuotaBytes: -1}, "-2": {QuotaMessages: -2}, "-3": {MaxSize: -3}, "-4": {MaxRecipients: -4}, "a\x1b[2J": {Name: "a\x1b[2J"}} {
		a.Address = mail.ParseAddress("x@a.test")
		f.refuses(what, func() error { return f.store.PutAccount(f.ctx(), &a, true) })
	}
	for _, bad := range []string{"a", "@", "++", "+-_=.~!#$", "\x00", " ", `"`} {
		d := directory.Domain{Name: "s.test", Separators: bad}
		f.refuses(bad, func() error { return f.store.PutDomain(f.ctx(), d, true) })
	}
}

// testModel makes random changes and asks after each whether every address is
// found as a plain map of what was put says.
func testModel(t *testing.T, f *fixture) {
	r := rand.New(rand.NewPCG(1, 2))
	f.domain("a.test", "b.test")
	model := map[string]string{}
	pick := func() string {
		return fmt.Sprintf("%c@%c.test", 'p'+r.IntN(4), 'a'+r.IntN(2))
	}
	for range 300 {
		address := pick()
		a := mail.ParseAddress(address)
		kind, have := model[address]
		switch r.IntN(4) {
		case 0:
			err := f.store.PutAccount(f.ctx(), &directory.Account{Address: a}, true)
			if (err == nil) == have || have && !errors.Is(err, directory.ErrExists) {
				t.Fatalf("creating account %s: %v, there is %q", address, err, kind)
			}
			if err == nil {
				model[address] = "account"
			}
		case 1:
			err := f.store.PutAlias(f.ctx(), alias(address, "x@far.example"), true)
			if (err == nil) == have || have && !errors.Is(err, directory.ErrExists) {
				t.Fatalf("creating alias %s: %v, there is %q", address, err, kind)
			}
			if err == nil {
				model[address] = "alias"
			}
		case 2:
			if err := f.store.RemoveAccount(f.ctx(), a); (err == nil) != (kind == "account") {
				t.Fatalf("removing account %s: %v, there is %q", address, err, kind)
			} else if err == nil {
				delete(model, address)
			}
		case 3:
			if err := f.store.RemoveAlias(f.ctx(), a); (err == nil) != (kind == "alias") {
				t.Fatalf("removing alias %s: %v, there is %q", address, err, kind)
			} else if err == nil {
				delete(model, address)
			}
		}
		probe := pick()
		want := "nobody"
		if kind, ok := model[probe]; ok {
			want = kind + " " + probe
		}
		p := mail.ParseAddress(probe)
		f.finds(want, p.Domain, p.Local)
	}
}
