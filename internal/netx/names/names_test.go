package names

import (
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
		got, err := Domain(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("Domain(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzDomain(f *testing.F) {
	for _, s := range []string{"example.test", "bücher.test", "xn--bcher-kva.test", "a..b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Domain(s)
		if err != nil {
			return
		}
		if err := checkName(n); err != nil || strings.ToLower(n) != n {
			t.Fatalf("Domain(%q) = %q: %v", s, n, err)
		}
		if again, err := Domain(n); err != nil || again != n {
			t.Fatalf("Domain(%q) = %q, of which Domain is %q, %v", s, n, again, err)
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
