package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// BenchmarkDecide looks a client up among 10,000 rules.
func BenchmarkDecide(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "10.%d.%d.:allow,RELAYCLIENT=\"\"\n", i/256, i%256)
	}
	s, err := Open([]string{write(b, "tcp.smtp", text.String())}, "smtp", nil)
	if err != nil {
		b.Fatal(err)
	}
	c := Client{Addr: netip.MustParseAddr("10.20.30.40")}
	for b.Loop() {
		if d := s.Decide(c); d.Grant == nil || !d.Grant.Relay {
			b.Fatal("no rule")
		}
	}
}
