package remote

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/route"
)

// nameless is a host without a name server; /etc/hosts is never asked in its place.
type nameless struct{ unpublished }

var errNameless = errors.New("no name server")

func (nameless) MX(context.Context, string) (r netx.Result[netx.MX], err error) {
	return r, errNameless
}

func (nameless) Addrs(context.Context, string) (r netx.Result[netip.Addr], err error) {
	return r, errNameless
}

func (n nameless) DialAddrs(ctx context.Context, name string) (netx.Result[netip.Addr], error) {
	return n.Addrs(ctx, name)
}

func TestAnAddressNeedsNoNameServer(t *testing.T) {
	t.Parallel()
	target, err := New(Options{}, Deps{Resolver: nameless{}})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for _, next := range []route.NextHop{{Domain: "far.test", Host: "[192.0.2.1]"}, {Domain: "[192.0.2.1]"}, {Domain: "far.test", Host: "[IPv6:2001:db8::1]", Port: 26}} {
		hosts, e := target.lookup(context.Background(), &next, true)
		if e != nil || len(hosts) != 1 || len(hosts[0].addrs) != 1 {
			t.Errorf("%+v: %+v, %v", next, hosts, e)
		}
	}
	for _, next := range []route.NextHop{{Domain: "localhost"}, {Domain: "far.test", Host: "localhost"}} {
		if hosts, e := target.lookup(context.Background(), &next, true); e == nil || e.Reason != "dns-temporary" {
			t.Errorf("%+v: %+v, %v; want that its name is not found in /etc/hosts", next, hosts, e)
		}
	}
}
