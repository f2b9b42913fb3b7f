package netx

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestOwnAddressesOutliveAFailedQuestion(t *testing.T) {
	t.Parallel()
	fail := false
	o := OwnAddrs{Every: 1, List: func() ([]net.Addr, error) {
		if fail {
			return nil, errors.New("no interfaces today")
		}
		return []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}, &net.IPAddr{IP: net.ParseIP("2001:db8::1")}}, nil
	}}
	for range 2 {
		for a, want := range map[string]bool{
			"192.0.2.1": true, "::ffff:192.0.2.1": true, "2001:db8::1": true, "127.8.8.8": true, "::1": true, "0.0.0.0": true, "192.0.2.2": false,
		} {
			if got := o.Contains(netip.MustParseAddr(a)); got != want {
				t.Errorf("Contains(%s) = %v", a, got)
			}
		}
		fail = true
	}
}
