package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// Vectors 2 and 3 of the qmail reference, and what rcpthosts opens besides our own domains.
func TestRcptHostsOpenWhatTheyName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, db := filepath.Join(dir, "rcpthosts"), filepath.Join(dir, "morercpthosts.cdb")
	if err := os.WriteFile(file, []byte("# comment\nFile.example \t\njoe@odd.example\n leading.example\n.below.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := new(cdbFile)
	w.write(t, db, "more.example", ".more.below.example")
	listed := Options{RcptHosts: []string{"key.example", ".inside.example", file, db}}
	only := listed
	only.RcptHostsOnly = true
	ours := &route.Route{Kind: route.Mailbox, Local: true}
	other := &route.Route{Kind: route.Remote}
	byAddress := &route.Route{Kind: route.SystemUser, Local: true, Final: mail.ParseAddress("joe@file.example")}
	for _, c := range []struct {
		name string
		o    Options
		c    Client
		to   string
		r    *route.Route
		want reason.ID
	}{
		{"own domains alone, without a list", Options{}, client("192.0.2.1"), "joe@far.test", other, "relay-denied"},
		{"our own", Options{}, client("192.0.2.1"), "joe@own.test", ours, ""},
		{"vector 2: as qmail without control/rcpthosts", Options{AnyRecipient: true}, client("192.0.2.1"), "joe@far.test", other, ""},
		{"vector 3: no domain", only, client("192.0.2.1"), "joe", ours, ""},
		{"a key", listed, client("192.0.2.1"), "joe@Key.Example", other, ""},
		{"not below a plain key", listed, client("192.0.2.1"), "joe@a.key.example", other, "relay-denied"},
		{"below a suffix", listed, client("192.0.2.1"), "joe@a.b.inside.example", other, ""},
		{"not the suffix itself", listed, client("192.0.2.1"), "joe@inside.example", other, "relay-denied"},
		{"a file", listed, client("192.0.2.1"), "joe@file.example", other, ""},
		{"a line that is no domain matches none", listed, client("192.0.2.1"), "joe@leading.example", other, "relay-denied"},
		{"a file's suffix", listed, client("192.0.2.1"), "joe@x.below.example", other, ""},
		{"a database", listed, client("192.0.2.1"), "joe@MORE.example", other, ""},
		{"a database's suffix", listed, client("192.0.2.1"), "joe@x.more.below.example", other, ""},
		{"neither", listed, client("192.0.2.1"), "joe@far.test", other, "relay-denied"},
		{"our own, listed alone counts", only, client("192.0.2.1"), "joe@own.test", ours, "relay-denied"},
		{"this host's address, for which control/localiphost stands", only, client("192.0.2.1"), "joe@[127.0.0.1]", byAddress, ""},
		{"another's address", only, client("192.0.2.1"), "joe@[192.0.2.9]", other, "relay-denied"},
		{"RELAYCLIENT", only, Client{Grant: &Grant{Relay: true}}, "joe@far.test", other, ""},
		{"receive only beats all", Options{ReceiveOnly: true, RcptHosts: []string{"key.example"}}, client("192.0.2.1"), "joe@key.example", other, "receive-only"},
	} {
		if got := id(compile(t, c.o).Recipient(c.c, mail.ParseAddress(c.to), c.r, 0)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

type cdbFile struct{}

func (cdbFile) write(t *testing.T, path string, keys ...string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := cdb.NewWriter(f)
	for _, k := range keys {
		if err := w.Put([]byte(k), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenListsAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := filepath.Join(dir, "hosts.cdb")
	if err := os.WriteFile(db, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for entry, want := range map[string]string{
		"a b":                         `rcpthosts: "a b": want a domain, .suffix, or the path of a file of them`,
		db:                            `rcpthosts: ` + db + `: not a constant database: 5 bytes, want at least 2048`,
		filepath.Join(dir, "missing"): "there is no such file",
	} {
		if _, err := New(Options{RcptHosts: []string{entry}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", entry, err, want)
		}
	}
	if _, err := New(Options{SendersAt: "data"}); err == nil || !strings.Contains(err.Error(), "want mail or rcpt") {
		t.Errorf("refuse_senders_at: %v", err)
	}
}

// Vectors 4 and 7: what RELAYCLIENT and DATABYTES mean.
func TestVariablesGrant(t *testing.T) {
	t.Parallel()
	var g Grant
	for _, v := range [][2]string{{"RELAYCLIENT", "@fix.me"}, {"DATABYTES", "8"}, {"QMAILQUEUE", "bin/scan"}, {"OTHER", "x"}} {
		if err := g.Set(v[0], v[1]); err != nil {
			t.Error(err)
		}
	}
	if to := g.Recipient(mail.ParseAddress("joe@far.test")); to != (mail.Address{Local: "joe@far.test", Domain: "fix.me"}) {
		t.Errorf("vector 4: %+v", to)
	}
	p := compile(t, Options{MaxSize: 100, Databytes: 0})
	c := Client{Grant: &g}
	if p.MaxSize(c) != 8 || !p.CountsLF(c) || !p.MayRelay(c) || g.Filter != "bin/scan" {
		t.Errorf("granted: size %d, by LF %v, relay %v, filter %q", p.MaxSize(c), p.CountsLF(c), p.MayRelay(c), g.Filter)
	}
	if p.MaxSize(Client{Grant: &Grant{Sized: true}}) != NoLimit || p.MaxSize(Client{Grant: &Grant{}}) != 100 || p.CountsLF(Client{Grant: &Grant{}}) {
		t.Error("DATABYTES=0 is no limit, and without it the key counts")
	}
	if q := compile(t, Options{Databytes: 50}); q.MaxSize(Client{}) != 50 || !q.CountsLF(Client{}) {
		t.Error("policy.databytes counts where the client has none")
	}
	if q := compile(t, Options{Databytes: 50, MaxSendSize: 70}); q.MaxSize(Client{Local: true}) != 70 || q.CountsLF(Client{Local: true}) {
		t.Error("policy.databytes is no limit of programs of this host, as with qmail-queue")
	}
	for _, v := range [][2]string{{"RELAYCLIENT", "fix me"}, {"RELAYCLIENT", "@"}, {"RELAYCLIENT", "@a..b"}, {"RELAYCLIENT", "x"},
		{"DATABYTES", ""}, {"DATABYTES", "many"}, {"DATABYTES", "-1"}, {"QMAILQUEUE", "a\x00b"}} {
		if err := new(Grant).Set(v[0], v[1]); err == nil {
			t.Errorf("%s=%q: want an error", v[0], v[1])
		}
	}
}

func TestListsOfAddressesMayBeFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "badmailfrom")
	if err := os.WriteFile(file, []byte("# comment\n@Spam.example \njoe@bad.example\nnonsense\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := compile(t, Options{BadSenders: []string{"@key.example", file}, BadRecipients: []string{file}})
	for from, want := range map[string]reason.ID{
		"a@spam.EXAMPLE": "sender-refused", "Joe@bad.example": "sender-refused", "ann@bad.example": "", "a@key.example": "sender-refused",
		"a@sub.spam.example": "", "nonsense": "", "": "",
	} {
		if got := id(p.Sender(Client{}, mail.ParseAddress(from))); got != want {
			t.Errorf("%q: %q, want %q", from, got, want)
		}
	}
	if got := id(p.Recipient(Client{}, mail.ParseAddress("joe@bad.example"), &route.Route{Kind: route.Mailbox, Local: true}, 0)); got != "recipient-refused" {
		t.Errorf("recipient: %q", got)
	}
	if _, err := New(Options{BadSenders: []string{file + "x"}}); err == nil || !strings.Contains(err.Error(), "bad_senders: "+file+"x: there is no such file") {
		t.Errorf("missing: %v", err)
	}
}
