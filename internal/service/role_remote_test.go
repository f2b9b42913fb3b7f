package service

import (
	"net"
	"net/netip"
	"testing"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/netx"
)

// noDNS stands for DNS, where nothing is asked.
type noDNS struct{ remote.Resolver }

func TestAReloadReplacesWhoSendsToOtherHostsOnlyWhenItsKeysChanged(t *testing.T) {
	t.Parallel()
	s, d := new(swapRemote), remote.Deps{Resolver: noDNS{}}
	prepare := func(o remote.Options) *remote.Target {
		t.Helper()
		bring, err := s.prepare(o, d)
		if err != nil {
			t.Fatal(err)
		}
		bring()
		return s.now.Load()
	}
	first := prepare(remote.Options{Host: "a.example", Helo: "a.example"})
	if prepare(remote.Options{Host: "a.example", Helo: "a.example"}) != first {
		t.Error("the same options replaced the target")
	}
	if prepare(remote.Options{Host: "a.example", Helo: "b.example"}) == first {
		t.Error("another name to greet with changed nothing")
	}
	last := s.now.Load()
	if _, err := s.prepare(remote.Options{Host: "a.example", Port: -1}, d); err == nil || s.now.Load() != last {
		t.Error("wrong options were taken")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestMailToAPortOfOursWouldComeBack(t *testing.T) {
	t.Parallel()
	own := &netx.OwnAddrs{List: func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}}, nil
	}}
	for _, c := range []struct {
		listen string
		trial  int
		back   []string
		not    []string
	}{
		{":25", 0, []string{"192.0.2.1:25", "127.0.0.1:25", "[::1]:25"}, []string{"192.0.2.2:25", "192.0.2.1:2525"}},
		{"127.0.0.1:2525", 0, []string{"127.0.0.1:2525", "192.0.2.1:25"}, []string{"127.0.0.2:2525", "192.0.2.1:2525", "127.0.0.1:2526"}},
		{"0.0.0.0:2525", 0, []string{"127.0.0.2:2525", "192.0.2.1:2525"}, []string{"192.0.2.2:2525"}},
		{"[::]:2525", 0, []string{"192.0.2.1:2525", "[::ffff:192.0.2.1]:2525"}, nil},
		{":25", 10000, []string{"192.0.2.1:25", "192.0.2.1:10025"}, []string{"192.0.2.1:10026"}},
		{"127.0.0.1:0", 0, nil, []string{"127.0.0.1:0", "127.0.0.1:2525"}},
	} {
		f := new(config.Config)
		f.SMTP.Listen = []string{c.listen}
		f.Trial.Enabled, f.Trial.PortsOffset = c.trial > 0, c.trial
		back := comesBack(f, own)
		for _, a := range c.back {
			if !back(netip.MustParseAddrPort(a)) {
				t.Errorf("listening on %s, mail to %s is not known to come back", c.listen, a)
			}
		}
		for _, a := range c.not {
			if back(netip.MustParseAddrPort(a)) {
				t.Errorf("listening on %s, mail to %s is taken to come back", c.listen, a)
			}
		}
	}
}
