package netx

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestNamesHaveOneForm(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Example.TEST": "example.test", "Bücher.test": "xn--bcher-kva.test", "XN--BCHER-KVA.test": "xn--bcher-kva.test",
		"faß.test": "xn--fa-hia.test", "_dmarc.example.test": "_dmarc.example.test", "a": "a",
		"한국.test": "xn--3e0b707e.test", "例え。test": "xn--r8jz45g.test",
		"": "", ".": "", "a.": "", ".a": "", "a..b": "", "a b": "", "a\x00b": "", "a@b": "", "a/b": "", "xn--\xff.test": "", "xn--zzzzzz999999.test": "",
		strings.Repeat("a", 63): strings.Repeat("a", 63), strings.Repeat("a", 64): "",
		strings.Repeat("a.", 126) + "b": strings.Repeat("a.", 126) + "b", strings.Repeat("a.", 127) + "b": "",
		"[192.0.2.1]": "", "a\r\nb": "",
	} {
		got, err := Name(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("Name(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"example.test", "bücher.test", "xn--bcher-kva.test", "a..b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Name(s)
		if err != nil {
			return
		}
		if err := checkName(n); err != nil || strings.ToLower(n) != n {
			t.Fatalf("Name(%q) = %q: %v", s, n, err)
		}
		if again, err := Name(n); err != nil || again != n {
			t.Fatalf("Name(%q) = %q, of which Name is %q, %v", s, n, again, err)
		}
	})
}

func TestLiterals(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"[192.0.2.1]": "[192.0.2.1]", "[IPv6:2001:DB8::1]": "[IPv6:2001:db8::1]", "[ipv6:::1]": "[IPv6:::1]", "[IPv6:::ffff:192.0.2.1]": "[192.0.2.1]",
		"[1.2.3]": "", "[]": "", "[IPv6:]": "", "192.0.2.1": "", "[::1]": "", "[IPv6:192.0.2.1]": "", "[IPv6:fe80::1%eth0]": "", "[192.0.2.1": "", "[01.2.3.4]": "",
	} {
		a, ok := Literal(in)
		if ok != (want != "") || ok && FormatLiteral(a) != want {
			t.Errorf("Literal(%q) = %v, %v; want %q", in, a, ok, want)
		}
	}
}

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
