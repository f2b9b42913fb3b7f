package route

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/qmail"
)

func TestPasswordsForWhoeverAnswersAreFound(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "smtproutes")
	lines := "a.example:relay.example:26|joe|secret\n" +
		"b.example:relay.example:587 joe secret\n" +
		"b.example:relay.example:465 joe secret\n" + // overrules the one before; TLS from the first byte verifies
		"c.example:relay.example\n" +
		"d.example:127.0.0.1:26|joe|secret\n" +
		"e.example:[broken|joe|secret\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{
		NextHop: "smart.example:587 user=me password=secret",
		Routes: []string{
			"a.example:relay.example:587 tls=encrypt user=me password=secret",
			"b.example:relay.example:587 tls=verify user=me password=secret",
			"c.example:relay.example:465 user=me password=secret",
			"d.example:relay.example tls=none user=me password=secret", // is never sent
			"e.example:localhost:587 user=me password=secret",
			"f.example:[IPv6:::1]:587 user=me password=secret",
			"g.example:relay.example:587",
		},
		RoutesFile: file,
	}
	place := qmail.Place{File: file, Line: 1}
	want := []UnverifiedLogin{
		{"smart.example", TLSOpportunistic, "next_hop :smart.example:587 user=me tls=opportunistic", qmail.Place{}},
		{"relay.example", TLSEncrypt, "routes[0] a.example:relay.example:587 user=me tls=encrypt", qmail.Place{}},
		{"relay.example", TLSOpportunistic, place.String() + " a.example:relay.example:26 user=joe tls=opportunistic", place},
	}
	if diff := cmp.Diff(want, o.UnverifiedLogins()); diff != "" {
		t.Error(diff)
	}
	o.TLS = "verify"
	if got := o.UnverifiedLogins(); len(got) != 1 || got[0].TLS != TLSEncrypt {
		t.Errorf("with tls = verify: %+v", got)
	}
	if got := (Options{TLS: "loud"}).UnverifiedLogins(); got != nil {
		t.Errorf("of wrong options: %+v", got)
	}
}
