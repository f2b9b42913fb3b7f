package rules

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// accessTable is the part of sendmail's access map that speaks of clients: keys with Connect: or without
// a tag (qmail reference 25.8).
type accessTable struct {
	path string
	keys map[string]Decision // "connect:192.0.2" and "192.0.2", in lower case
	host bool                // some key is a name
}

// Tags of the access map that do not speak of who connects.
var otherTags = map[string]bool{
	"from": true, "to": true, "spam": true, "clientrate": true, "clientconn": true, "greetpause": true, "auth": true,
	"srv_features": true, "try_tls": true, "tls_srv": true, "tls_clt": true, "tls_rcpt": true, "quarantine": true,
	"authinfo": true, "certissuer": true, "certsubject": true,
}

func parseAccess(path string, content []byte) (table, error) {
	t := &accessTable{path: path, keys: map[string]Decision{}}
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.IndexAny(line, " \t")
		if i <= 0 {
			return nil, fmt.Errorf("%s:%d: %q: want a key, blanks, and a value such as REJECT", path, n, smtp.Text(line, 100))
		}
		key, value := strings.ToLower(line[:i]), strings.TrimSpace(line[i:])
		tag, rest, tagged := strings.Cut(key, ":")
		if tagged && (otherTags[tag] || strings.HasPrefix(tag, "try_") || strings.HasPrefix(tag, "tls_")) {
			continue
		}
		bare := key
		if tagged && tag == "connect" {
			bare = rest
		}
		if strings.ContainsRune(bare, '@') {
			continue // a sender's or recipient's address
		}
		d, skip, err := accessValue(value)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: key %s: %w", path, n, smtp.Text(key, 100), err)
		}
		d.Rule = fmt.Sprintf("%s:%d rule %s", path, n, smtp.Text(key, 100))
		if skip {
			d = Decision{}
		}
		key = canonicalKey(key)
		t.keys[key] = d
		if bare = strings.TrimPrefix(key, "connect:"); !strings.HasPrefix(bare, "ipv6:") && strings.Trim(bare, "0123456789.") != "" {
			t.host = true
		}
	}
	return t, nil
}

// canonicalKey writes IPv6 addresses in one form.
func canonicalKey(key string) string {
	bare, tagged := strings.CutPrefix(key, "connect:")
	six, ok := strings.CutPrefix(bare, "ipv6:")
	if !ok {
		return key
	}
	if a, err := netip.ParseAddr(six); err == nil {
		six = a.String()
	}
	if tagged {
		return "connect:ipv6:" + six
	}
	return "ipv6:" + six
}

// accessValue reads a value. skip ends the search without a decision.
func accessValue(value string) (d Decision, skip bool, err error) {
	none := ""
	word, text, _ := strings.Cut(value, ":")
	switch strings.ToUpper(word) {
	case "OK":
		d.Lists = &none // accepted despite other checks
		return d, false, nil
	case "RELAY":
		d.Lists, d.Grant = &none, &policy.Grant{Relay: true, Env: []string{"RELAYCLIENT="}}
		return d, false, nil
	case "SKIP":
		return d, true, nil
	case "REJECT", "DISCARD":
		// A client whose mail is to vanish is refused: nothing is acknowledged and then dropped.
		d.Refusal = reason.ClientRefused.With("Access denied")
		return d, false, nil
	case "ERROR":
		d.Refusal, err = accessError(text)
		return d, false, err
	case "QUARANTINE":
		return d, true, nil
	}
	d.Refusal, err = accessError(value)
	return d, false, err
}

// accessError reads "550 text", "5.7.1:550 text" and quoted forms of both.
func accessError(s string) (*reason.Error, error) {
	wrong := fmt.Errorf("value %q: want OK, RELAY, REJECT, SKIP, 550 TEXT or ERROR:5.7.1:550 TEXT", smtp.Text(s, 100))
	s = strings.Trim(s, `"`)
	enhanced := ""
	if before, after, ok := strings.Cut(s, ":"); ok && smtp.IsEnhanced(before) {
		enhanced, s = before, strings.Trim(after, `"`)
	}
	number, text, _ := strings.Cut(s, " ")
	code, err := strconv.Atoi(number)
	if err != nil || code < 400 || code > 599 {
		return nil, wrong
	}
	if first, rest, ok := strings.Cut(strings.TrimSpace(text), " "); ok && enhanced == "" && smtp.IsEnhanced(first) {
		enhanced, text = first, rest
	}
	if enhanced == "" {
		enhanced = number[:1] + ".7.1"
	}
	if enhanced[0] != number[0] {
		return nil, fmt.Errorf("value %q: %s and %d are of different classes: want 4.X.X with 4xx, or 5.X.X with 5xx", smtp.Text(s, 100), enhanced, code)
	}
	if text = smtp.Text(strings.TrimSpace(text), 200); text == "" {
		text = "Access denied"
	}
	e := reason.ClientRefused.With(text)
	e.Code, e.Enhanced = code, enhanced
	if code < 500 {
		e.Class = reason.Temporary
	}
	return e, nil
}

// decide looks the most specific key up: the name and its parents, then the address and its leading
// octets; with the tag before without.
func (t *accessTable) decide(c *Client) (Decision, bool) {
	try := func(key string) (Decision, bool) {
		if d, ok := t.keys["connect:"+key]; ok {
			return d, true
		}
		d, ok := t.keys[key]
		return d, ok
	}
	for host := c.Host; host != ""; {
		if d, ok := try(host); ok {
			return d, d.Rule != ""
		}
		_, host, _ = strings.Cut(host, ".")
	}
	if !c.Addr.IsValid() {
		return Decision{}, false
	}
	key, sep := c.Addr.String(), "."
	if c.Addr.Is6() {
		key, sep = "ipv6:"+key, ":"
	}
	for {
		if d, ok := try(key); ok {
			return d, d.Rule != ""
		}
		i := strings.LastIndex(key, sep)
		if i < 0 || key[:i] == "ipv6" {
			return Decision{}, false
		}
		key = key[:i]
	}
}

func (t *accessTable) needs() (host, info bool) { return t.host, false }
