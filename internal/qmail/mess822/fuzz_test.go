package mess822

import (
	"bufio"
	"strings"
	"testing"
)

// What is read of a header is its own bytes, in order.
func FuzzReadHeader(f *testing.F) {
	f.Add("Subject: x\n y\nTo: a\n\nbody\n")
	f.Add(" continued\nA:b")
	f.Fuzz(func(t *testing.T, in string) {
		fields, end, err := ReadHeader(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			t.Fatal(err)
		}
		rest := in
		for _, x := range fields {
			if rest, _ = strings.CutPrefix(rest, x.Raw); strings.Contains(x.Value, "\n") || x.Name != strings.ToLower(x.Name) {
				t.Fatalf("%+v", x)
			}
		}
		if got := len(in) - len(rest); got > len(in) || len(end) > len(rest)+1 {
			t.Fatalf("%d bytes of %d, then %q", got, len(in), end)
		}
	})
}

// No list and no date crashes, and an address holds no line end that its field has not.
func FuzzAddressesAndDates(f *testing.F) {
	f.Add(`Joe <joe@a.test>, "x y"@b (c), list: a, b;, <>`)
	f.Add("by x; Fri, 29 Aug 1996 14:04:52 CDT")
	f.Fuzz(func(t *testing.T, in string) {
		for _, a := range Addresses(in) {
			if strings.Contains(a.Addr, "\n") && !strings.Contains(in, "\n") || !a.IsAddress && a.Addr != "" {
				t.Fatalf("%+v of %q", a, in)
			}
		}
		ParseDate(in)
	})
}
