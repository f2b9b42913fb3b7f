package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Whoever mends a configuration learns of all that is wrong with it at once. These go through the schema, so that
// a new key is held to it as well.

// problemsByKey are those of a text, by key.
func problemsByKey(t *testing.T, text string) map[string][]string {
	t.Helper()
	_, err := Parse("postilion.toml", []byte(text), nil)
	var list Problems
	if err != nil && !errors.As(err, &list) {
		t.Fatalf("%q: %v", text, err)
	}
	told := map[string][]string{}
	for _, p := range list {
		if strings.Contains(p.Text, "\n") {
			t.Errorf("%s: several mistakes in one: %q", p.Key, p.Text)
		}
		told[p.Key] = append(told[p.Key], p.Text)
	}
	return told
}

// wrongLists are lists of which no entry fits a key that looks at its entries.
var wrongLists = [][2]string{{"bad one = : / %", "bad two = : / %"}, {"*!one", "*!two"}, {"o\x01ne", "t\x01wo"}}

func TestEveryWrongEntryOfAListIsTold(t *testing.T) {
	t.Parallel()
	_, keys, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, k := range keys {
		if k.Type != "list of texts" {
			continue
		}
		lists++
		refused := false
		for _, v := range wrongLists[:2] {
			told := strings.Join(problemsByKey(t, fmt.Sprintf("host = \"mail.example.test\"\n%s = [%q, %q]\n", k.Name, v[0], v[1]))[k.Name], "\n")
			one, two := strings.Contains(told, "one"), strings.Contains(told, "two")
			if one != two {
				t.Errorf("%s: of two wrong entries one is told: %s", k.Name, told)
			}
			refused = refused || one
		}
		if !refused && !takesAnyText[k.Name] {
			t.Errorf("%s: no entry is looked at: if any text fits, say so in takesAnyText", k.Name)
		}
	}
	if lists < 40 {
		t.Errorf("%d keys are lists", lists)
	}
}

// takesAnyText are lists whose entries are text, or names that only the files of users can tell from mistakes.
var takesAnyText = map[string]bool{
	"bounce.bouncemessage": true, "bounce.doublebouncemessage": true, "inject.queue_users": true,
	"route.locals": true, "route.percent_hack": true, "route.alias_files": true,
}

func TestAllKeysThatAreWrongAreToldAtOnce(t *testing.T) {
	t.Parallel()
	_, keys, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	values := []string{`"bad one = : / %"`, `"*!one"`, `-5`, `"-5s"`, `"a\u0001b"`, `3000000000`}
	for _, v := range wrongLists {
		values = append(values, fmt.Sprintf("[%q, %q]", v[0], strings.ReplaceAll(v[1], "\x01", "\u0001")))
	}
	values[len(values)-1] = `["o\u0001ne"]`
	wrong := map[string]string{}
	for _, k := range keys {
		switch {
		case k.Repeated, k.Name == "data", k.Name == "qmail", k.Name == "qmail_root": // what the rest is read from
			continue
		case k.Name == "tls.cert": // wrong without tls.key alone
			continue
		}
		for _, v := range values {
			text := fmt.Sprintf("host = \"mail.example.test\"\n%s = %s\n", k.Name, v)
			if k.Name == "host" {
				text = fmt.Sprintf("host = %s\n", v)
			}
			if len(problemsByKey(t, text)[k.Name]) > 0 {
				wrong[k.Name] = v
				break
			}
		}
	}
	if len(wrong) < 250 {
		t.Errorf("wrong values for %d keys of %d", len(wrong), len(keys))
	}
	var all strings.Builder
	for _, k := range keys {
		if v := wrong[k.Name]; v != "" {
			fmt.Fprintf(&all, "%s = %s\n", k.Name, v)
		}
	}
	told := problemsByKey(t, all.String())
	for name, v := range wrong {
		if len(told[name]) == 0 {
			t.Errorf("%s = %s is not told beside other mistakes", name, v)
		}
	}
}

// Routes have two forms, whose mistakes are told together, each with its own line.
func TestEveryWrongRouteIsTold(t *testing.T) {
	t.Parallel()
	_, err := Parse("postilion.toml", []byte(`host = "mail.example.test"
[route]
routes = ["good.example:relay.example", "b!ad:x", "y", "good.example:other"]
next_hop = "r:99999"
[[routes]]
domain = "b!ad"
host = "relay.example.net"
user = "joe"
password = "hidden"
[[routes]]
domain = "x.example"
host = "rel ay"
[[routes]]
domain = "good.example"
host = "b"
[[routes]]
domain = "x.example"
host = "b"
tls = "bogus"
[[routes]]
user = "x"
[[routes]]
domain = "u.example"
host = "b"
user = "x"
`), nil)
	want := `postilion.toml:3: key route.routes: [1]: "b!ad:x": key "b!ad": a domain name holds letters, digits, hyphens and dots
postilion.toml:3: key route.routes: [2]: "y": want KEY:RELAY[:PORT]
postilion.toml:3: key route.routes: [3]: a second route for "good.example"
postilion.toml:4: key route.next_hop: relay "r:99999": port "99999": want 1 to 65535
postilion.toml:5: key routes[0]: "b!ad:relay.example.net:25 tls=opportunistic": key "b!ad": a domain name holds letters, digits, hyphens and dots
postilion.toml:10: key routes[1]: host "rel ay": a domain name holds letters, digits, hyphens and dots
postilion.toml:13: key routes[2]: a second route for "good.example"
postilion.toml:16: key routes[3]: tls policy "bogus": want one of opportunistic, none, encrypt, verify, implicit
postilion.toml:20: key routes[4]: user needs host: the relay to log in to
postilion.toml:22: key routes[5]: key "u.example": want user and password together`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	// A table for all domains is what a null client wants.
	if _, err := Parse("postilion.toml", []byte("host = \"mail.example.test\"\nroute.null_client = true\n[[routes]]\nhost = \"hub.example.test\"\n"), nil); err != nil {
		t.Errorf("a null client with a table for its hub: %v", err)
	}
}
