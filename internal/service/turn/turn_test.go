package turn

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/nettest"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/submit"
)

// remoteRoutes has everything elsewhere, but example.test; fixed.example goes to a relay.
type remoteRoutes struct{}

func (remoteRoutes) Route(_ context.Context, to mail.Address) (route.Route, error) {
	switch to.Domain {
	case "example.test":
		return route.Route{Kind: route.Mailbox, Local: true}, nil
	case "fixed.example":
		return route.Route{Kind: route.Remote, Next: route.NextHop{Domain: to.Domain, Host: "[192.0.2.8]"}}, nil
	}
	return route.Route{Kind: route.Remote, Next: route.NextHop{Domain: to.Domain}}, nil
}

func TestOnlyThoseMayAskByETRNWhoTakeTheMailOrAreListed(t *testing.T) {
	t.Parallel()
	dns := nettest.NewDNS(t, nettest.Zone{"dialin.example": {"MX 10 mx.dialin.example."}, "mx.dialin.example": {"A 192.0.2.5"}, "plain.example": {"A 192.0.2.6"}})
	resolver, err := netx.NewResolver(netx.Options{Server: dns.Addr})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var started []string
	c := new(config.Config)
	c.Turn.ETRN = []string{"198.51.100.0/24: listed.example", "203.0.113.1: *"}
	c.Turn.Auto = []string{"192.0.2.5: dialin.example other.example"}
	f, err := New(c, Deps{Resolver: resolver, Router: remoteRoutes{}, Now: func() time.Time { return now },
		Start: func(_ context.Context, d string) (int, error) { started = append(started, d); return 2, nil }})
	if err != nil {
		t.Fatal(err)
	}
	from := func(a string) submit.Source { return submit.Source{Client: netip.MustParseAddr(a)} }
	loggedIn, relay := from("192.0.2.99"), from("192.0.2.99")
	loggedIn.AccountID, relay.Grant = 1, &policy.Grant{Relay: true}
	for _, c := range []struct {
		who    submit.Source
		domain string
		may    bool
	}{
		{from("192.0.2.5"), "dialin.example", true}, {from("192.0.2.6"), "dialin.example", false}, {from("192.0.2.6"), "plain.example", true},
		{from("192.0.2.8"), "fixed.example", true}, {from("192.0.2.9"), "fixed.example", false}, {from("192.0.2.5"), "example.test", false},
		{from("198.51.100.7"), "listed.example", true}, {from("198.51.100.7"), "other.example", false}, {from("203.0.113.1"), "any.example", true},
		{loggedIn, "a.example", true}, {relay, "b.example", true}, {from("127.0.0.1"), "c.example", true}, {from("192.0.2.5"), "nowhere.example", false},
	} {
		started = nil
		n, err := f.ETRN(t.Context(), &c.who, c.domain)
		if c.may && (err != nil || n != 2 || len(started) != 1 || started[0] != c.domain) || !c.may && (!isReason(err, reason.EtrnRefused) || started != nil) {
			t.Errorf("%v asks for %s: %d, %v, started %v", c.who.Client, c.domain, n, err, started)
		}
	}
	who := from("127.0.0.1")
	if n, err := f.ETRN(t.Context(), &who, "c.example"); n != -1 || err != nil {
		t.Errorf("asked again at once: %d, %v", n, err)
	}
	now = now.Add(fetchEvery)
	if n, err := f.ETRN(t.Context(), &who, "c.example"); n != 2 || err != nil {
		t.Errorf("asked again later: %d, %v", n, err)
	}
	started = nil
	f.connected(t.Context(), netip.MustParseAddr("192.0.2.6"))
	f.connected(t.Context(), netip.MustParseAddr("192.0.2.5"))
	f.connected(t.Context(), netip.MustParseAddr("192.0.2.5"))
	if len(started) != 2 {
		t.Errorf("a dial-in host's connections started %v", started)
	}
}

func isReason(err error, want *reason.Error) bool {
	e, ok := errors.AsType[*reason.Error](err)
	return ok && e.Reason == want.Reason
}
