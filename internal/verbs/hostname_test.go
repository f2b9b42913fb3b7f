package verbs

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/netx"
)

// zone is a DNS: reverse names by address, addresses by name.
type zone map[string][]string

func (z zone) PTR(_ context.Context, a netip.Addr) (netx.Result[string], error) {
	if names, ok := z[a.String()]; ok {
		return netx.Result[string]{Records: names}, nil
	}
	return netx.Result[string]{}, netx.ErrNoName
}

func (z zone) Addrs(_ context.Context, name string) (r netx.Result[netip.Addr], err error) {
	for _, a := range z[name] {
		r.Records = append(r.Records, netip.MustParseAddr(a))
	}
	if r.Records == nil {
		err = netx.ErrNoName
	}
	return r, err
}

func TestTheHostsNameIsFoundInDNS(t *testing.T) {
	t.Parallel()
	z := zone{
		"192.0.2.1": {"forged.example", "Mail.Example.test."}, "mail.example.test": {"192.0.2.1"}, "forged.example": {"203.0.113.1"},
		"10.0.0.1": {"inside.test"}, "inside.test": {"10.0.0.1"}, "box.lan.test": {"10.0.0.2"}, "full.example.test": {"10.0.0.2"},
	}
	for _, c := range []struct {
		facts hostFacts
		want  string
	}{
		{hostFacts{addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")}, hostname: "x"}, "mail.example.test"},
		{hostFacts{addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, "inside.test"},
		{hostFacts{addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, hostname: "box", search: []string{"other.test", "lan.test."}}, "box.lan.test"},
		{hostFacts{addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, hostname: "full.example.test"}, "full.example.test"},
		{hostFacts{addrs: []netip.Addr{netip.MustParseAddr("10.0.0.9")}, hostname: "full.example.test"}, "error: full.example.test: none of its addresses is this host's"},
		{hostFacts{addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, hostname: "box"}, "error: no address but loopback, and the name box is not complete"},
	} {
		got, err := findHost(context.Background(), z, c.facts)
		if want, trouble := strings.CutPrefix(c.want, "error: "); trouble && (err == nil || !strings.Contains(err.Error(), want)) || !trouble && got != want {
			t.Errorf("%+v: %q, %v; want %s", c.facts, got, err, c.want)
		}
	}
	for host, want := range map[string]string{"mail.example.test": "example.test", "example.test": "example.test", "a.b.c.test": "b.c.test"} {
		if got := domainOf(host); got != want {
			t.Errorf("the domain of %s is %s, want %s", host, got, want)
		}
	}
}
