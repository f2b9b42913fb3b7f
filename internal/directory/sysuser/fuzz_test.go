package sysuser

import (
	"strings"
	"testing"
)

// A user is what one line says, and of two lines with one name the first.
func FuzzPasswd(f *testing.F) {
	f.Add([]byte(passwd))
	f.Add([]byte("a:x:0:0::/:\n:x:1:1:::\na:::::::"))
	f.Fuzz(func(t *testing.T, data []byte) {
		users, err := parsePasswd(data)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(data), "\n")
		for name, u := range users {
			if u.Name != name || u.Line < 1 || u.Line > len(lines) || !strings.HasPrefix(lines[u.Line-1], name+":") {
				t.Fatalf("%q: %+v", name, u)
			}
		}
		if _, err := parseNSSwitch(data); err != nil {
			t.Fatal(err)
		}
	})
}
