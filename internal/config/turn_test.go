package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFetchersAreClientsWithDomains(t *testing.T) {
	t.Parallel()
	list, err := ParseFetchers([]string{"192.0.2.5: Dialin.example, other.example", "2001:db8::/32: *"})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if !list[0].Has(netip.MustParseAddr("::ffff:192.0.2.5")) || list[0].Has(netip.MustParseAddr("192.0.2.6")) || !list[1].Has(netip.MustParseAddr("2001:db8::9")) {
		t.Error("who is meant")
	}
	if diff := cmp.Diff([]string{"dialin.example", "other.example"}, list[0].Domains); diff != "" {
		t.Error(diff)
	}
	for entry, want := range map[string]string{
		"192.0.2.5":           "want ADDRESS_OR_RANGE: DOMAIN",
		"x: a.example":        `"x": want an IP address`,
		"192.0.2.5:  ":        "want a domain behind the colon",
		"192.0.2.5: a..b":     `"192.0.2.5: a..b"`,
		"192.0.2.5:a.example": "want ADDRESS_OR_RANGE: DOMAIN",
	} {
		if _, err := ParseFetchers([]string{entry}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", entry, err, want)
		}
	}
	if err := (&Turn{Auto: []string{"192.0.2.5: *"}}).Validate(); err == nil || !strings.Contains(err.Error(), "want the domains by name") {
		t.Error(err)
	}
}

func TestDialInHostsGetRoutesUnlessTheyHaveOne(t *testing.T) {
	t.Parallel()
	turn := Turn{Auto: []string{"192.0.2.5: dialin.example routed.example", "2001:db8::5: six.example", "192.0.2.0/24: range.example"}}
	if diff := cmp.Diff([]string{"dialin.example:[192.0.2.5]", "six.example:[IPv6:2001:db8::5]"}, turn.routes([]string{"Routed.example:gw.example"})); diff != "" {
		t.Error(diff)
	}
}

func TestQMQPWantsItsNetworksNamed(t *testing.T) {
	t.Parallel()
	_, err := Parse("p.toml", []byte("host = \"a.example\"\n[qmqp]\nlisten = [\"127.0.0.1:628\"]\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "qmqp.networks") || !strings.Contains(err.Error(), "each of their hosts may send to anywhere") {
		t.Error(err)
	}
	if _, err := Parse("p.toml", []byte("host = \"a.example\"\n[qmqp]\nlisten = [\"127.0.0.1:628\"]\nnetworks = [\"127.0.0.1\"]\n"), nil); err != nil {
		t.Error(err)
	}
}
