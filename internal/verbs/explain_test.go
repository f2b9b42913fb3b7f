package verbs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/directory/memdir"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// qmailHost is a configuration whose users joe, ann and alias have homes in a folder.
func qmailHost(t *testing.T, files map[string]string) (*config.Config, string) {
	t.Helper()
	root := t.TempDir()
	for d := root; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755) // others' folders stay as they are
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 54321, 54321
	}
	passwd := ""
	for _, name := range []string{"joe", "ann", "alias"} {
		home := filepath.Join(root, name)
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, uid, gid, home)
		if err := errors.Join(os.MkdirAll(home, 0o755), os.Chown(home, uid, gid)); err != nil {
			t.Fatal(err)
		}
	}
	files["passwd"] = passwd
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	c := &config.Config{Host: "mx.example.test"}
	c.RunAs.Enabled = true
	c.Route = route.Options{Host: "mx.example.test", SystemUsers: true, Passwd: filepath.Join(root, "passwd"), VirtualDomains: []string{"virt.example.test:joe-vv", ".uucp.example:ann-uucp"}}
	c.Policy.RelayNetworks = []string{"127.0.0.0/8"}
	return c, root
}

// lines tells an explanation in lines, without the folder's name.
func lines(x *Explanation, address, root string) string {
	var b strings.Builder
	for _, list := range [][]route.Step{x.Policy, x.Route.Steps, x.Deliveries} {
		for _, s := range list {
			fmt.Fprintf(&b, "%s: %s (%s)\n", s.What, s.Result, s.Where)
		}
	}
	b.WriteString(route.Sentence(address, &x.Route, x.Err) + "\n")
	if x.PlanErr != nil {
		b.WriteString("but " + reason.As(x.PlanErr).Enhanced + "\n")
	}
	if x.Refusal != nil {
		b.WriteString("refused " + x.Refusal.Enhanced + "\n")
	}
	return strings.ReplaceAll(b.String(), root+"/", "")
}

// The nine pictures of qmail's documentation, and a gateway through a program: each down to its
// deliveries, with the line that decided, and nothing sent.
func TestTheNinePictures(t *testing.T) {
	t.Parallel()
	c, root := qmailHost(t, map[string]string{
		"alias/.qmail-help": "&joe@mx.example.test\n", "joe/.qmail": "./Maildir/\n", "joe/.qmail-sos": "# copies\n&ann@mx.example.test\n./Maildir/\n",
		"tcp.smtp":              "198.51.100.7:allow,RELAYCLIENT=\"\"\n198.51.100.8:allow,RELAYCLIENT=\"@virt.example.test\"\n198.51.100.9:deny\n",
		"joe/.qmail-vv-default": "&joe@mx.example.test\n", "ann/.qmail-uucp-default": "|uux-gateway \"$DEFAULT\" \"$HOST\"\n",
	})
	c.SMTP.Rules = []string{filepath.Join(root, "tcp.smtp")}
	null := &config.Config{Host: "client.example.test", Route: route.Options{Host: "client.example.test", NullClient: true, NextHop: "hub.example.test"}}
	dir, err := memdir.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &Stores{Directory: dir}
	outside, inside := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("127.0.0.1")
	for _, p := range []struct {
		name     string
		c        *config.Config
		to, from string
		client   netip.Addr
		want     []string // what must be told, in this order
	}{
		{"local2alias", c, "help@mx.example.test", "", netip.Addr{}, []string{"domain mx.example.test: local (host)", "user alias,", "(passwd:3)", "forward joe@mx.example.test", "(alias/.qmail-help:1)", "did 0+1+0"}},
		{"local2ext", c, "joe-sos@mx.example.test", "", netip.Addr{}, []string{"user joe,", "(passwd:1)", "forward ann@mx.example.test", "(joe/.qmail-sos:2)", "maildir ./Maildir/", "(joe/.qmail-sos:3)", "did 1+1+0"}},
		{"local2local", c, "joe@mx.example.test", "", netip.Addr{}, []string{"user joe,", "maildir ./Maildir/", "(joe/.qmail:1)", "did 1+0+0"}},
		{"local2rem", c, "bill@irs.example", "", netip.Addr{}, []string{"not a domain of this host", "bill@irs.example goes to the MX hosts of irs.example"}},
		{"local2virt", c, "Tommy@virt.example.test", "", netip.Addr{}, []string{`virtual: local part "joe-vv-Tommy" (route.virtual_domains:1)`, `DEFAULT is "Tommy"`, "(joe/.qmail-vv-default:1)"}},
		{"nullclient", null, "joe@client.example.test", "", netip.Addr{}, []string{"nothing is delivered here (route.null_client)", "joe@client.example.test goes to hub.example.test"}},
		{"relaybad", c, "bill@irs.example", "ann@elsewhere.example", outside, []string{"client 192.0.2.7: may send to this host's domains only", "refused 5.7.1"}},
		{"relaygood", c, "bill@irs.example", "joe@mx.example.test", inside, []string{"client 127.0.0.1: may send to other hosts", "recipient bill@irs.example: accepted", "goes to the MX hosts of irs.example"}},
		{"relaygood by rule", c, "bill@irs.example", "", netip.MustParseAddr("198.51.100.7"), []string{"let in (", "tcp.smtp", "may send to other hosts", "goes to the MX hosts of irs.example"}},
		{"fixup", c, "Bill@far.example", "", netip.MustParseAddr("198.51.100.8"), []string{"becomes Bill@far.example@virt.example.test", `local part "joe-vv-Bill@far.example"`}},
		{"denied", c, "joe@mx.example.test", "", netip.MustParseAddr("198.51.100.9"), []string{"turned away without a word", "refused"}},
		{"rem2local", c, "joe@mx.example.test", "bill@irs.example", outside, []string{"sender bill@irs.example: accepted", "recipient joe@mx.example.test: accepted", "maildir ./Maildir/"}},
		{"gateway", c, "X.y@host.uucp.example", "", netip.Addr{}, []string{`local part "ann-uucp-X.y" (route.virtual_domains:2)`, `DEFAULT is "X.y"`, `program uux-gateway "$DEFAULT" "$HOST"`}},
		{"nobody", c, "nobody@mx.example.test", "", netip.Addr{}, []string{"user alias,", "but 5.1.1"}},
	} {
		q := Question{To: mail.ParseAddress(p.to), From: mail.ParseAddress(p.from), WithFrom: p.from != "", Client: p.client}
		x, err := s.Explain(context.Background(), p.c, q)
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
			continue
		}
		got := lines(x, p.to, root)
		rest := got
		for _, w := range p.want {
			i := strings.Index(rest, w)
			if i < 0 {
				t.Errorf("%s: %q is not told, or not there:\n%s", p.name, w, got)
				break
			}
			rest = rest[i+len(w):]
		}
	}
}
