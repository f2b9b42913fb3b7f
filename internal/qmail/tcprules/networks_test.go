package tcprules

import (
	"fmt"
	"testing"
)

func TestTheNetworksOfAnEntry(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "[192.0.2.1/32]", "192.0.2.": "[192.0.2.0/24]", "10.": "[10.0.0.0/8]", "10.1-2.": "[10.1.0.0/16 10.2.0.0/16]",
		"192.0.2.7-8": "[192.0.2.7/32 192.0.2.8/32]", "192.0.2.0/28": "[192.0.2.0/28]", "[2001:db8::/32]": "[2001:db8::/32]", "[2001:db8::1]": "[2001:db8::1/128]",
		"": "", "=host.example": "", "=": "", "joe@192.0.2.1": "", "192.0.2": "", "1.2.3.4.": "", "300.": "",
	} {
		entries, err := Parse("rules", []byte(address+":allow\n"))
		if err != nil || len(entries) != 1 {
			t.Fatalf("%q: %v, %v", address, entries, err)
		}
		have := ""
		if list, ok := entries[0].Networks(); ok {
			have = fmt.Sprint(list)
		}
		if have != want {
			t.Errorf("%q: %s, want %s", address, have, want)
		}
	}
}
