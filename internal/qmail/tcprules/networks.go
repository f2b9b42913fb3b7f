package tcprules

import (
	"net/netip"
	"strings"
)

// Networks lists the addresses that an entry is about. ok is false where it is about others: everybody, a name, a user.
func (e Entry) Networks() (list []netip.Prefix, ok bool) {
	if e.net.IsValid() {
		return []netip.Prefix{e.net}, true
	}
	for _, key := range e.keys {
		p, ok := keyNetwork(key)
		if !ok {
			return nil, false
		}
		list = append(list, p)
	}
	return list, list != nil
}

// keyNetwork reads an address, or the front of an IPv4 one up to a dot.
func keyNetwork(key string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(key); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), a.Zone() == ""
	}
	n := strings.Count(key, ".")
	if n < 1 || n > 3 || !strings.HasSuffix(key, ".") {
		return netip.Prefix{}, false
	}
	a, err := netip.ParseAddr(key + strings.Repeat("0.", 3-n) + "0")
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, 8*n), true
}
