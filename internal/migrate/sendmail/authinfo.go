package sendmail

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
)

// This file takes the names and passwords that sendmail logs in to other hosts with: lines
// `AuthInfo:HOST "U:NAME" "P:PASSWORD"` of a table of their own or of the access map. A host of the
// configuration's routes gets those that are for it; the lines themselves are never told.

// credentials are one line.
type credentials struct {
	host           string // "" is for all hosts
	user, password string
	file           string
	line           int
}

// authInfo takes the lines of a table of their own.
func (r *reader) authInfo(path string) {
	if !r.once(path) {
		return
	}
	if text, ok := r.read(path); ok {
		lines(text, func(n int, line string) { r.credential(path, n, line) })
	}
}

// credential keeps one line.
func (r *reader) credential(path string, n int, line string) {
	key, value, _ := pair(line)
	tag, host, ok := strings.Cut(key, ":")
	c := credentials{host: strings.ToLower(strings.Trim(host, "[]")), file: path, line: n}
	name := ""
	for i, field := range strings.Split(value, `"`) {
		if i%2 == 0 || len(field) < 2 {
			continue // what stands between the quotes
		}
		text := field[2:]
		if field[1] == '=' {
			plain, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				continue
			}
			text = string(plain)
		}
		switch field[0] {
		case 'U':
			name = text
		case 'I':
			c.user = text
		case 'P':
			c.password = text
		}
	}
	if c.user == "" {
		c.user = name
	}
	if !ok || !strings.EqualFold(tag, "AuthInfo") || c.user == "" || c.password == "" {
		r.r.Note(migrate.At(path, n, "AuthInfo:"+host), migrate.NotCarried, keyNextHop, `want AuthInfo:HOST "U:NAME" "P:PASSWORD"`)
		return
	}
	r.auth = append(r.auth, c)
}

const keyNextHop = "route.next_hop"

// authenticate gives the next hop its name and password.
func (r *reader) authenticate() {
	hop, _ := r.r.Get(keyNextHop)
	relay, _, _ := strings.Cut(hop.Value, " ")
	relay, _ = firstHost(relay)
	done := false
	for _, all := range []bool{false, true} { // what names the host goes before what is for all
		for _, c := range r.auth {
			if (c.host == "") != all {
				continue
			}
			where := migrate.At(c.file, c.line, "AuthInfo:"+c.host+" (with a user and a password)")
			if done || relay == "" || c.host != "" && c.host != strings.Trim(relay, "[]") {
				r.r.Note(where, migrate.NotCarried, keyNextHop, "it is not for the next hop: routes take the words user= and password= too")
				continue
			}
			r.r.Set(keyNextHop, hop.Value+" user="+url.PathEscape(c.user)+" password="+url.PathEscape(c.password), hop.File, hop.Line)
			r.r.Taken(where, keyNextHop)
			done = true
		}
	}
}
