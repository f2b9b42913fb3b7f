package serve

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"strings"
)

// ParsePrefixes reads addresses and CIDR ranges. The error joins one for each wrong one.
func ParsePrefixes(list []string) (prefixes []netip.Prefix, _ error) {
	var errs []error
	for _, s := range list {
		p, err := ParsePrefix(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, errors.Join(errs...)
}

// ParsePrefix reads an address, or a range as address/bits. The error quotes what is neither.
func ParsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		if p, err := netip.ParsePrefix(s); err == nil {
			return p.Masked(), nil
		}
	} else if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.Prefix{}, fmt.Errorf("%q: want an IP address such as 192.0.2.1 or a range such as 192.0.2.0/24", s)
}

func contains(nets []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func stack() string { return string(debug.Stack()) }
