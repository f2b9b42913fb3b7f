package route

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// fake is a directory in memory.
type fake struct {
	domains  map[string]directory.Domain
	accounts map[string]*directory.Account // by address
	aliases  map[string][]string
	err      error
}

func (f *fake) Account(context.Context, uint64) (*directory.Account, error) {
	return nil, directory.ErrNotFound
}

func (f *fake) Find(_ context.Context, domain string, locals []string) (directory.Found, error) {
	if f.err != nil {
		return directory.Found{}, f.err
	}
	d, ok := f.domains[domain]
	if ok && d.AliasOf != "" {
		d, ok = f.domains[d.AliasOf]
	}
	if !ok {
		return directory.Found{}, directory.ErrNotFound
	}
	found := directory.Found{Domain: d}
	for _, l := range locals {
		if f.entry(&found, l+"@"+d.Name) {
			found.Local = l
			return found, nil
		}
	}
	if d.CatchAll != "" {
		found.CatchAll = f.entry(&found, d.CatchAll)
		if to := mail.ParseAddress(d.CatchAll); !found.CatchAll && f.domains[to.Domain].Name == "" {
			found.CatchAll, found.Alias = true, &directory.Alias{Address: to, Targets: []mail.Address{to}}
		}
	}
	return found, nil
}

func (f *fake) entry(found *directory.Found, address string) bool {
	if a, ok := f.accounts[address]; ok {
		found.Account = a
		return true
	}
	if targets, ok := f.aliases[address]; ok {
		found.Alias = &directory.Alias{Address: mail.ParseAddress(address)}
		for _, t := range targets {
			found.Alias.Targets = append(found.Alias.Targets, mail.ParseAddress(t))
		}
		return true
	}
	return false
}

func newFake() *fake {
	f := &fake{domains: map[string]directory.Domain{}, accounts: map[string]*directory.Account{}, aliases: map[string][]string{}}
	for _, d := range []directory.Domain{
		{Name: "example.test", Separators: "+"},
		{Name: "alias.test", AliasOf: "example.test", Separators: "+"},
		{Name: "catch.test", CatchAll: "all@catch.test", Separators: "+"},
		{Name: "out.test", CatchAll: "joe@elsewhere.example", Separators: "+"},
		{Name: "dangling.test", CatchAll: "gone@dangling.test", Separators: "+"},
		{Name: "dash.test", Separators: "-="},
		{Name: "case.test", CaseSensitive: true, Separators: "+"},
		{Name: "plain.test"},
		{Name: "off.test", Disabled: true, Separators: "+"},
		{Name: "xn--bcher-kva.test", Separators: "+"},
	} {
		f.domains[d.Name] = d
	}
	for i, a := range []string{
		"joe@example.test", "joe+own@example.test", "chief@example.test", "all@catch.test", "joe@dash.test", "joe-list@dash.test",
		"Joe@case.test", "a+b@plain.test", "joe@off.test", "käse@xn--bcher-kva.test", "gone@example.test",
	} {
		f.accounts[a] = &directory.Account{ID: uint64(i + 1), Address: mail.ParseAddress(a), Disabled: strings.HasPrefix(a, "gone")}
	}
	f.aliases["sales@example.test"] = []string{"joe@example.test", "ann@elsewhere.example", "Joe@EXAMPLE.test"}
	f.aliases["self@example.test"] = []string{"self@example.test"}
	f.aliases["both@example.test"] = []string{"both@example.test", "joe@example.test"}
	f.aliases["abuse@catch.test"] = []string{"joe@example.test"}
	return f
}

func options() Options {
	return Options{
		Host: "mx.example.test", Names: []string{"mail.example.test"}, DefaultDomain: "example.test", Postmaster: "chief@example.test",
		Routes: []string{
			"inside.example:gw.example:26", ".example.org:", "deep.example.org:deep-gw.example mx tls=verify",
			"[203.0.113.9]:gw.example", "six.example:[2001:db8::1]:2525", "four.example:192.0.2.7",
			"auth.example:smart.example:587 user=me%40x password=a%20b", "tls.example:smart.example:465",
		},
	}
}

// summary is what a table tells of a Route.
func summary(r Route) string {
	var b strings.Builder
	switch r.Kind {
	case Refused:
		b.WriteString("refused " + r.Err.Enhanced + " " + string(r.Err.Reason))
	case Mailbox:
		b.WriteString("mailbox " + r.Account.Address.String() + " final " + r.Final.String())
		if r.Folder != "" {
			b.WriteString(" folder " + r.Folder)
		}
	case Forward:
		b.WriteString("forward")
		for _, t := range r.Targets {
			b.WriteString(" " + t.String())
		}
	case Remote:
		b.WriteString("remote " + r.Next.Domain + " via " + describe("", r.Next))
	}
	if r.Local {
		b.WriteString(" (local)")
	}
	return b.String()
}

func TestWhatAnAddressIs(t *testing.T) {
	t.Parallel()
	r, err := New(options(), newFake(), func(a netip.Addr) bool {
		return a.IsLoopback() || a == netip.MustParseAddr("192.0.2.1")
	})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"joe@example.test":               "mailbox joe@example.test final joe@example.test (local)",
		"JOE@Example.TEST":               "mailbox joe@example.test final JOE@example.test (local)",
		"joe+lists@example.test":         "mailbox joe@example.test final joe+lists@example.test folder lists (local)",
		"joe+a+b@example.test":           "mailbox joe@example.test final joe+a+b@example.test folder a+b (local)",
		"joe+own@example.test":           "mailbox joe+own@example.test final joe+own@example.test (local)",
		"joe+own+x@example.test":         "mailbox joe+own@example.test final joe+own+x@example.test folder x (local)",
		"+x@example.test":                "refused 5.1.1 mailbox-unknown (local)",
		"joe-x@example.test":             "refused 5.1.1 mailbox-unknown (local)",
		"nobody@example.test":            "refused 5.1.1 mailbox-unknown (local)",
		"gone@example.test":              "refused 5.2.1 mailbox-disabled (local)",
		"joe@alias.test":                 "mailbox joe@example.test final joe@example.test (local)",
		"joe+x@alias.test":               "mailbox joe@example.test final joe+x@example.test folder x (local)",
		"any.body@catch.test":            "mailbox all@catch.test final all@catch.test (local)",
		"postmaster@catch.test":          "mailbox all@catch.test final all@catch.test (local)",
		"abuse@catch.test":               "forward joe@example.test (local)",
		"any@out.test":                   "forward joe@elsewhere.example (local)",
		"any@dangling.test":              "refused 5.1.1 mailbox-unknown (local)",
		"postmaster@dangling.test":       "mailbox chief@example.test final chief@example.test (local)",
		"joe-x@dash.test":                "mailbox joe@dash.test final joe-x@dash.test folder x (local)",
		"joe-list-x@dash.test":           "mailbox joe-list@dash.test final joe-list-x@dash.test folder x (local)",
		"joe=x-y@dash.test":              "mailbox joe@dash.test final joe=x-y@dash.test folder x-y (local)",
		"joe+x@dash.test":                "refused 5.1.1 mailbox-unknown (local)",
		"Joe@case.test":                  "mailbox Joe@case.test final Joe@case.test (local)",
		"Joe+X@case.test":                "mailbox Joe@case.test final Joe+X@case.test folder X (local)",
		"joe@case.test":                  "refused 5.1.1 mailbox-unknown (local)",
		"a+b@plain.test":                 "mailbox a+b@plain.test final a+b@plain.test (local)",
		"a+b+c@plain.test":               "refused 5.1.1 mailbox-unknown (local)",
		"joe@off.test":                   "refused 4.2.1 domain-disabled (local)",
		"Ka\u0308se@Bücher.test":         "mailbox käse@xn--bcher-kva.test final Ka\u0308se@xn--bcher-kva.test (local)",
		"käse@xn--bcher-kva.test":        "mailbox käse@xn--bcher-kva.test final käse@xn--bcher-kva.test (local)",
		"sales@example.test":             "forward joe@example.test ann@elsewhere.example (local)",
		"sales+x@example.test":           "forward joe@example.test ann@elsewhere.example (local)",
		"self@example.test":              "refused 5.4.6 alias-loop (local)",
		"both@example.test":              "forward joe@example.test (local)",
		"postmaster":                     "mailbox chief@example.test final chief@example.test (local)",
		"Postmaster@example.test":        "mailbox chief@example.test final chief@example.test (local)",
		"MAILER-DAEMON@plain.test":       "mailbox chief@example.test final chief@example.test (local)",
		"root@case.test":                 "mailbox chief@example.test final chief@example.test (local)",
		"abuse@mx.example.test":          "mailbox chief@example.test final chief@example.test (local)",
		"postmaster@[127.0.0.1]":         "mailbox chief@example.test final chief@example.test (local)",
		"postmaster@[IPv6:::1]":          "mailbox chief@example.test final chief@example.test (local)",
		"joe@[192.0.2.1]":                "mailbox joe@example.test final joe@example.test (local)",
		"joe@localhost":                  "mailbox joe@example.test final joe@example.test (local)",
		"joe@mail.example.test":          "mailbox joe@example.test final joe@example.test (local)",
		"joe":                            "mailbox joe@example.test final joe@example.test (local)",
		"nobody@localhost":               "refused 5.1.1 mailbox-unknown (local)",
		"joe@sub.example.test":           "remote sub.example.test via : tls=opportunistic",
		"joe@elsewhere.example":          "remote elsewhere.example via : tls=opportunistic",
		"joe@Inside.Example":             "remote inside.example via :gw.example:26 tls=opportunistic",
		"joe@a.inside.example":           "remote a.inside.example via : tls=opportunistic",
		"joe@a.example.org":              "remote a.example.org via : tls=opportunistic",
		"joe@deep.example.org":           "remote deep.example.org via :deep-gw.example mx tls=verify",
		"joe@[203.0.113.9]":              "remote [203.0.113.9] via :gw.example tls=opportunistic",
		"joe@[203.0.113.10]":             "remote [203.0.113.10] via : tls=opportunistic",
		"joe@six.example":                "remote six.example via :[IPv6:2001:db8::1]:2525 tls=opportunistic",
		"joe@four.example":               "remote four.example via :[192.0.2.7] tls=opportunistic",
		"joe@auth.example":               "remote auth.example via :smart.example:587 user=me@x tls=opportunistic",
		"joe@tls.example":                "remote tls.example via :smart.example:465 tls=implicit",
		"@example.test":                  "refused 5.1.3 bad-address",
		"joe@":                           "mailbox joe@example.test final joe@example.test (local)",
		"joe@example.test.":              "refused 5.1.3 bad-address",
		"joe@a..b":                       "refused 5.1.3 bad-address",
		"joe@a b":                        "refused 5.1.3 bad-address",
		"joe@[1.2.3]":                    "refused 5.1.3 bad-address",
		"joe@[IPv6:fe80::1%lo]":          "refused 5.1.3 bad-address",
		"joe@xn--\xff.test":              "refused 5.1.3 bad-address",
		"joe@" + strings.Repeat("a", 64): "refused 5.1.3 bad-address",
		"a%b@example.test":               "refused 5.1.1 mailbox-unknown (local)",
		"far!joe@example.test":           "refused 5.1.1 mailbox-unknown (local)",
		"joe@far.test@example.test":      "refused 5.1.1 mailbox-unknown (local)",
	} {
		got, err := r.Route(context.Background(), mail.ParseAddress(address))
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if diff := cmp.Diff(want, summary(got)); diff != "" {
			t.Errorf("%s: %s\nsteps %q", address, diff, got.Steps)
		}
		if got.Kind != Refused && len(got.Steps) == 0 {
			t.Errorf("%s: no steps tell how the answer was found", address)
		}
	}
}

func TestPostmasterIsNeverRefused(t *testing.T) {
	t.Parallel()
	for postmaster, want := range map[string]string{
		"":                      "refused 4.3.5 postmaster-unset (local)", // postmaster@example.test does not exist
		"nobody@example.test":   "refused 4.3.5 postmaster-unset (local)",
		"gone@example.test":     "refused 4.3.5 postmaster-unset (local)",
		"self@example.test":     "refused 4.3.5 postmaster-unset (local)",
		"joe@off.test":          "refused 4.2.1 domain-disabled (local)",
		"sales@example.test":    "forward joe@example.test ann@elsewhere.example (local)",
		"ann@elsewhere.example": "forward ann@elsewhere.example (local)",
		"joe":                   "mailbox joe@example.test final joe@example.test (local)",
		"joe+pm@alias.test":     "mailbox joe@example.test final joe+pm@example.test folder pm (local)",
	} {
		o := options()
		o.Postmaster = postmaster
		r, err := New(o, newFake(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"postmaster", "abuse@example.test", "Root@localhost"} {
			got, err := r.Route(context.Background(), mail.ParseAddress(address))
			if err != nil || summary(got) != want {
				t.Errorf("postmaster %q, %s: %s, %v; want %s", postmaster, address, summary(got), err, want)
			}
		}
	}
}

func TestADirectoryInTroubleIsTemporary(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.err = errors.New("disk on fire")
	r, err := New(options(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"joe@example.test", "postmaster", "joe@elsewhere.example"} {
		_, err := r.Route(context.Background(), mail.ParseAddress(a))
		if e := reason.As(err); e == nil || e.Class != reason.Temporary || !errors.Is(err, f.err) {
			t.Errorf("%s: want a temporary error because of the directory, have %v", a, err)
		}
	}
}

func TestADefaultNextHopTakesTheRest(t *testing.T) {
	t.Parallel()
	o := options()
	o.NextHop, o.TLS = "smarthost.example.net:587 user=u password=p", "verify"
	r, err := New(o, newFake(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"a@b.example":        "remote b.example via :smarthost.example.net:587 user=u tls=verify",
		"a@x.example.org":    "remote x.example.org via : tls=verify",
		"a@[203.0.113.10]":   "remote [203.0.113.10] via :smarthost.example.net:587 user=u tls=verify",
		"a@deep.example.org": "remote deep.example.org via :deep-gw.example mx tls=verify",
	} {
		got, err := r.Route(context.Background(), mail.ParseAddress(address))
		if err != nil || summary(got) != want {
			t.Errorf("%s: %s, %v; want %s", address, summary(got), err, want)
		}
		for _, s := range got.Steps {
			if strings.Contains(s.Where+s.Result, "password") {
				t.Errorf("a step shows the password: %q", s)
			}
		}
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, want string }{
		{"no-colon", "KEY:RELAY"}, {"a b:gw", "letters"}, {"x:gw:0", "1 to 65535"}, {"x:gw:99999", "1 to 65535"}, {"x:gw:", "1 to 65535"},
		{"x:gw tls=maybe", "want one of"}, {"x:gw user=a", "together"}, {"x:gw colour=red", "want mx"}, {"x::25", "need a relay"},
		{"x: mx", "need a relay"}, {"x:[1.2.3.4", "not closed"}, {"x:[1.2.3.4]25", "colon"}, {"x:1.2.3", "IPv4"}, {"x:[1.2.3.4] mx", "no MX"},
		{"x:gw user=u password=%zz", "percent"}, {"[1.2.3]:gw", "address literal"}, {"[::1:gw", "[ADDRESS]"}, {"inside.example:x", "second route"},
		{"a b:gw user=me password=hidden", `"a b:gw": key`}, {"no-colon password=hidden user=me", `"no-colon": want`},
	} {
		o := options()
		o.Routes = append(o.Routes, c.line)
		if _, err := New(o, newFake(), nil); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "routes[8]") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v; want routes[8] and %q named", c.line, err, c.want)
		}
	}
	_, err := New(Options{Host: "a..b", Names: []string{""}, DefaultDomain: "c d", Postmaster: "@x", TLS: "x"}, newFake(), nil)
	for _, want := range []string{"host ", "names ", "default_domain ", "postmaster ", "tls"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("all errors at once: %v; want %q", err, want)
		}
	}
}

// Any address at all has an answer that is safe to act on: a mailbox only of the
// directory's, a remote domain only in key form.
func TestEveryAddressHasAnAnswer(t *testing.T) {
	t.Parallel()
	r, err := New(options(), newFake(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		a := mail.Address{
			Local:  rapid.OneOf(rapid.String(), rapid.StringMatching(`(joe|sales|root|\+|-)*`)).Draw(t, "local"),
			Domain: rapid.OneOf(rapid.String(), rapid.StringMatching(`(example|test|xn--|\.|\[|\]|1|:)*`), rapid.Just("example.test")).Draw(t, "domain"),
		}
		got, err := r.Route(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case got.Kind == Refused && got.Err == nil, got.Kind == Mailbox && (got.Account == nil || !got.Local),
			got.Kind == Forward && (len(got.Targets) == 0 || !got.Local), got.Kind == Remote && (got.Local || got.Next.Domain == ""):
			t.Fatalf("%+v", got)
		}
	})
}
