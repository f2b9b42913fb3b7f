package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

func compile(t *testing.T, o Options) *Policy {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func client(addr string) Client { return Client{Addr: netip.MustParseAddr(addr)} }

func id(e *reason.Error) reason.ID {
	if e == nil {
		return ""
	}
	return e.Reason
}

func TestWhoMayRelay(t *testing.T) {
	t.Parallel()
	nets := Options{RelayNetworks: []string{"192.0.2.0/24", "2001:db8::/32", "198.51.100.7"}}
	joe := &directory.Account{ID: 1}
	for _, c := range []struct {
		o    Options
		c    Client
		want bool
	}{
		{Options{}, client("127.0.0.1"), false},
		{Options{}, client("192.0.2.1"), false},
		{Options{}, Client{}, false},
		{Options{}, Client{Local: true}, true},
		{Options{}, Client{Account: joe}, true},
		{nets, client("192.0.2.255"), true},
		{nets, client("::ffff:192.0.2.1"), true},
		{nets, client("192.0.3.1"), false},
		{nets, client("2001:db8:1::1%eth0"), true},
		{nets, client("198.51.100.7"), true},
		{nets, client("198.51.100.8"), false},
		{nets, Client{}, false},
		{Options{ReceiveOnly: true, RelayNetworks: nets.RelayNetworks}, client("192.0.2.1"), false},
		{Options{ReceiveOnly: true}, Client{Account: joe}, false},
		{Options{ReceiveOnly: true}, Client{Local: true}, false},
	} {
		if got := compile(t, c.o).MayRelay(c.c); got != c.want {
			t.Errorf("%+v, %+v: %v", c.o, c.c, got)
		}
	}
}

func TestListsAreOfAddressesAndHosts(t *testing.T) {
	t.Parallel()
	p := compile(t, Options{BadSenders: []string{"Joe@Bad.example", "@spam.example", "@exämple.test"}, BadRecipients: []string{"former@example.test"}})
	for from, want := range map[string]reason.ID{
		"joe@bad.example": "sender-refused", "JOE@BAD.EXAMPLE": "sender-refused", "ann@bad.example": "", "x@spam.example": "sender-refused", "x@y@spam.example": "sender-refused", "x@sub.spam.example": "", "spam.example": "",
		"x@xn--exmple-cua.test": "sender-refused", "": "", "postmaster": "",
	} {
		if got := id(p.Sender(Client{}, mail.ParseAddress(from))); got != want {
			t.Errorf("%q: %q", from, got)
		}
	}
	local := &route.Route{Kind: route.Mailbox, Local: true, Account: &directory.Account{}}
	if got := id(p.Recipient(Client{}, mail.ParseAddress("FORMER@example.test"), local, 0)); got != "recipient-refused" {
		t.Errorf("%q", got)
	}
}

func TestLimitsGoFromTheNearest(t *testing.T) {
	t.Parallel()
	p := compile(t, Options{MaxSize: 10, MaxSendSize: 20, MaxRecipients: 5, RelayNetworks: []string{"192.0.2.1"}})
	account := &directory.Account{ID: 1}
	limited := &directory.Account{ID: 1, MaxSize: 40, MaxRecipients: 7}
	domain := &directory.Domain{MaxSize: 30}
	for _, c := range []struct {
		c          Client
		size       int64
		recipients int
	}{
		{client("192.0.2.9"), 10, 5},
		{client("192.0.2.1"), 20, 5},
		{Client{Account: account}, 20, 5},
		{Client{Account: account, Domain: domain}, 30, 5},
		{Client{Account: limited, Domain: domain}, 40, 7},
	} {
		if s, r := p.MaxSize(c.c), p.MaxRecipients(c.c); s != c.size || r != c.recipients {
			t.Errorf("%+v: %d, %d", c.c, s, r)
		}
	}
	r := &route.Route{Kind: route.Mailbox, Local: true, Account: account, Domain: domain}
	if got := id(p.Recipient(Client{}, account.Address, r, 31)); got != "message-too-big" {
		t.Errorf("%q", got)
	}
	if d := compile(t, Options{}); d.MaxSize(Client{}) != 50<<20 || d.MaxRecipients(Client{}) != 1000 || d.MaxHops() != 99 {
		t.Error("the defaults are not those of the tags")
	}
}

func TestOutsideMailMayNotBorrowOurNames(t *testing.T) {
	t.Parallel()
	from := mail.Address{Local: "joe", Domain: "example.test"}
	here := &route.Route{Kind: route.Mailbox, Local: true}
	nobody := &route.Route{Local: true, Err: reason.MailboxUnknown}
	disabled := &route.Route{Local: true, Err: reason.MailboxDisabled}
	elsewhere := &route.Route{Kind: route.Remote}
	for _, c := range []struct {
		o    Options
		r    *route.Route
		want reason.ID
	}{
		{Options{}, here, ""}, {Options{}, nobody, "sender-unknown"}, {Options{}, disabled, ""}, {Options{}, elsewhere, ""},
		{Options{OwnSenders: "refuse"}, here, "sender-is-ours"}, {Options{OwnSenders: "refuse"}, nobody, "sender-is-ours"},
		{Options{OwnSenders: "refuse"}, elsewhere, ""},
		{Options{UnknownSenders: "accept"}, nobody, ""}, {Options{OwnSenders: "accept", UnknownSenders: "refuse"}, nobody, "sender-unknown"},
	} {
		if got := id(compile(t, c.o).Outside(from, c.r)); got != c.want {
			t.Errorf("%+v, %+v: %q, want %q", c.o, c.r, got, c.want)
		}
	}
	for _, c := range []struct {
		o    Options
		c    Client
		want bool
	}{
		{Options{}, Client{}, true}, {Options{}, Client{Local: true}, false}, {Options{}, Client{Account: &directory.Account{}}, false},
		{Options{RelayNetworks: []string{"192.0.2.0/24"}, ReceiveOnly: true}, Client{Addr: netip.MustParseAddr("192.0.2.7")}, false},
		{Options{UnknownSenders: "accept"}, Client{}, false}, {Options{UnknownSenders: "accept", OwnSenders: "refuse"}, Client{}, true},
	} {
		if got := compile(t, c.o).ChecksOutside(c.c); got != c.want {
			t.Errorf("%+v, %+v: %v", c.o, c.c, got)
		}
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"relay_networks: \"192.0.2.0/99\"": {RelayNetworks: []string{"192.0.2.0/99"}},
		"would let everyone relay":         {RelayNetworks: []string{"0.0.0.0/0"}},
		"bad_senders: \"joe\"":             {BadSenders: []string{"joe"}},
		"bad_recipients: \"a@b c\"":        {BadRecipients: []string{"a@b c"}},
		"max_size: -1":                     {MaxSize: -1},
		"own_senders: \"no\"":              {OwnSenders: "no"},
		"unknown_senders: \"yes\"":         {UnknownSenders: "yes"},
		"max_hops: -2":                     {MaxHops: -2},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestFloors(t *testing.T) {
	t.Parallel()
	space := func(bytes, inodes, total uint64) func() (fs.Space, error) {
		return func() (fs.Space, error) {
			return fs.Space{FreeBytes: bytes, FreeInodes: inodes, TotalInodes: total}, nil
		}
	}
	load := func(l float64) func() (float64, error) { return func() (float64, error) { return l, nil } }
	for _, c := range []struct {
		name       string
		f          *Floors
		busy, full reason.ID
	}{
		{"not asked", &Floors{}, "", ""},
		{"in order", &Floors{LoadAverage: load(12), Space: space(1<<30, 5000, 9000)}, "", ""},
		{"load", &Floors{LoadAverage: load(12.1)}, "load-too-high", ""},
		{"load off", &Floors{LoadAverage: load(99), Options: FloorOptions{RefuseLoad: -1}}, "", ""},
		{"space", &Floors{Space: space(1<<20, 5000, 9000)}, "", "disk-full"},
		{"inodes", &Floors{Space: space(1<<30, 999, 9000)}, "", "disk-full"},
		{"inodes not counted", &Floors{Space: space(1<<30, 0, 0)}, "", ""},
		{"off", &Floors{Space: space(0, 0, 9000), Options: FloorOptions{FreeBytes: -1, FreeInodes: -1}}, "", ""},
		{"not known", &Floors{LoadAverage: func() (float64, error) { return 0, errors.New("x") }, Space: func() (fs.Space, error) { return fs.Space{}, errors.New("x") }}, "", ""},
	} {
		if b, f := id(reason.As(c.f.Busy())), id(reason.As(c.f.Full())); b != c.busy || f != c.full {
			t.Errorf("%s: %q, %q", c.name, b, f)
		}
	}
	asked := 0
	f := &Floors{Space: func() (fs.Space, error) { asked++; return fs.Space{FreeBytes: 1 << 40}, nil }}
	for range 1000 {
		f.Full()
	}
	if asked > 2 {
		t.Errorf("asked %d times", asked)
	}
}
