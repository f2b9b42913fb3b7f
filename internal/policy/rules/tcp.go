package rules

import (
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/tcprules"
)

// tcpTable is tcprules' rules, in text or compiled (qmail reference 22.2).
type tcpTable struct {
	rules      tcprules.Lookup
	host, info bool
}

func parseTCP(path string, content []byte) (table, error) {
	entries, err := tcprules.Parse(path, content)
	if err != nil {
		return nil, err
	}
	t := &tcpTable{rules: tcprules.NewTable(entries)}
	for _, e := range entries {
		if err := t.entry(e.Address, e.Env); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, e.Line, err)
		}
	}
	return t, nil
}

// parseTCPCDB reads the database through once, so that one that is cut short is found here and not in
// the middle of an answer.
func parseTCPCDB(path string, content []byte) (table, error) {
	db, err := cdb.FromBytes(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t := new(tcpTable)
	for rec, err := range db.All() {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		var env []string
		for s := range strings.SplitSeq(string(rec.Value), "\x00") {
			if v, ok := strings.CutPrefix(s, "+"); ok {
				env = append(env, v)
			}
		}
		if err := t.entry(string(rec.Key), env); err != nil {
			return nil, fmt.Errorf("%s: rule %q: %w", path, rec.Key, err)
		}
	}
	t.rules, err = tcprules.NewDB(path, db)
	return t, err
}

// entry notes what a rule needs and checks what its variables mean here.
func (t *tcpTable) entry(address string, env []string) error {
	t.host = t.host || strings.Contains(address, "=")
	t.info = t.info || strings.Contains(address, "@")
	_, err := variables(env)
	return err
}

func variables(env []string) (d Decision, err error) {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if err := d.variable(name, value); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (t *tcpTable) needs() (host, info bool) { return t.host, t.info }

func (t *tcpTable) decide(c *Client) (Decision, bool) {
	if !c.Addr.IsValid() {
		return Decision{}, false
	}
	r, found, err := t.rules.Lookup(tcprules.Client{IP: c.Addr, Host: c.Host, Info: c.Info})
	switch {
	case err != nil:
		return Decision{Rule: err.Error(), Deny: true}, true // as tcpserver: dropping connection
	case !found:
		return Decision{}, false
	}
	d, _ := variables(r.Env) // checked
	d.Deny = r.Deny
	d.Rule = r.File
	if r.Line > 0 {
		d.Rule += fmt.Sprintf(":%d", r.Line)
	}
	d.Rule += " rule " + r.Key + ":"
	return d, true
}
