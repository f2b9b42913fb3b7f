package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fill puts three messages into the server's account and returns their ids.
func (s *server) fill() []string {
	s.T.Helper()
	for i := range 3 {
		check(s.T, s.Send("you@else.example", s.Account, letter(fmt.Sprintf("read-%d", i))))
	}
	s.arrived(s.Account, s.Password, 3)
	c, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
	check(s.T, err)
	defer c.Quit()
	list, err := c.UIDLs()
	check(s.T, err)
	var ids []string
	for line := range strings.Lines(list) {
		_, uid, _ := strings.Cut(strings.TrimSpace(line), " ")
		ids = append(ids, uid)
	}
	return ids
}

func TestCurlReads(t *testing.T) {
	t.Parallel()
	needProgram(t, "curl")
	s := newServer(t, setup{})
	ids := s.fill()
	curl := func(url string, args ...string) string {
		t.Helper()
		return mustForeign(t, "", "curl", append([]string{"-sS", "--cacert", s.cert(), "--user", s.Account + ":" + s.Password, url}, args...)...)
	}
	plain, secure := "pop3://localhost:"+s.port("pop3")+"/", "pop3s://localhost:"+s.port("pop3s")+"/"
	want := curl(plain + "1")
	if !strings.HasSuffix(want, "\r\n\r\nHello.\r\n.\r\n..\r\n") {
		t.Errorf("message 1 reads\n%q", want)
	}
	for name, got := range map[string]string{
		"STLS":            curl(plain+"1", "--ssl-reqd"),
		"TLS":             curl(secure + "1"),
		"STLS and LOGIN":  curl(plain+"1", "--ssl-reqd", "--login-options", "AUTH=LOGIN"),
		"TLS and PLAIN":   curl(secure+"1", "--login-options", "AUTH=PLAIN"),
		"USER and PASS":   curl(plain+"1", "--login-options", "AUTH=*"),
		"TLS 1.2 at most": curl(secure+"1", "--tls-max", "1.2"),
	} {
		if got != want {
			t.Errorf("%s: message 1 reads\n%q\nwant\n%q", name, got, want)
		}
	}
	if got := strings.Count(curl(plain), "\r\n"); got != 3 {
		t.Errorf("LIST tells %d messages, want 3", got)
	}
	if got := curl(secure, "--request", "UIDL"); !strings.Contains(got, ids[2]) {
		t.Errorf("UIDL tells %q, want %q in it", got, ids)
	}
	if got := curl(plain, "--request", "TOP 1 0"); strings.Contains(got, "Hello.") || !strings.Contains(got, "Subject: read-") {
		t.Errorf("TOP 1 0: %q", got)
	}
	for name, args := range map[string][]string{
		"APOP":             {plain + "1", "--login-options", "AUTH=+APOP"},
		"a wrong password": {plain + "1", "--user", s.Account + ":wrong"},
		"a wrong number":   {plain + "9"},
		"TLS 1.1":          {secure + "1", "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"},
	} {
		all := append([]string{"-sS", "--cacert", s.cert(), "--user", s.Account + ":" + s.Password}, args...)
		if out, err := foreign(t, "", "curl", all...); err == nil {
			t.Errorf("%s was taken:\n%s", name, out)
		}
	}
	curl(plain+"1", "--request", "DELE", "--head")
	if got := len(s.read(s.Account, s.Password)); got != 2 {
		t.Errorf("after DELE %d messages are there, want 2", got)
	}
}

const poplibRead = `
def login(c):
    c.user(account)
    c.pass_(password)
    return c
c = poplib.POP3("localhost", pop3)
refuses("APOP", "-ERR", lambda: c.apop(account, password))
assert "STLS" in c.capa() and "UIDL" in c.capa() and "UTF8" in c.capa(), c.capa()
c.stls(context=trust)
assert "STLS" not in c.capa(), c.capa()
login(c)
n, size = c.stat()
assert n == 3 and size == sum(int(l.split()[1]) for l in c.list()[1]), (n, size)
ids = [l.split()[1] for l in c.uidl()[1]]
assert len(set(ids)) == 3
assert c.top(1, 0)[1][-1] == b"" and c.top(1, 1)[1][-1] == b"Hello.", c.top(1, 1)
lines = c.retr(2)[1]
assert lines[-3:] == [b"Hello.", b".", b".."], lines
assert sum(len(l) + 2 for l in lines) == int(c.list(2).split()[2])
refuses("a number too large", "-ERR", lambda: c.retr(2**70))
refuses("a second login", "-ERR", lambda: c.user(account))
c.dele(1)
c.rset()
c.dele(3)
refuses("a deleted message", "-ERR", lambda: c.retr(3))
c.quit()
c = login(poplib.POP3_SSL("localhost", pop3s, context=trust))
assert [l.split()[1] for l in c.uidl()[1]] == ids[:2]
c.quit()
print("done")
`

func TestPoplibReads(t *testing.T) {
	t.Parallel()
	needProgram(t, "python3")
	s := newServer(t, setup{})
	s.fill()
	python(poplibRead)(t, s, "none")
}

// TestFetchmailKeepsAndDeliversBack lets fetchmail copy the mail of one account to another
// by SMTP, first over STLS, then over TLS, and look again: it takes what is new.
func TestFetchmailKeepsAndDeliversBack(t *testing.T) {
	t.Parallel()
	needProgram(t, "fetchmail")
	s := newServer(t, setup{})
	second := "second@" + domain
	password := s.addAccount(second)
	s.fill()
	rc := filepath.Join(t.TempDir(), "fetchmailrc")
	ids := filepath.Join(filepath.Dir(rc), "ids")
	fetch := func(listener, tls string) (string, error) {
		t.Helper()
		text := fmt.Sprintf(`set no syslog
set idfile %q
poll localhost protocol pop3 port %s uidl
  user %q password %q is %q here
  keep %s sslcertck sslcertfile %q smtphost "127.0.0.1/%s" smtpaddress "%s"
`, ids, s.port(listener), s.Account, s.Password, "second", tls, s.cert(), s.port("smtp"), domain)
		check(t, os.WriteFile(rc, []byte(text), 0o600))
		return foreign(t, "", "fetchmail", "-f", rc, "--pidfile", rc+".pid", "-v")
	}
	if out, err := fetch("pop3", `sslproto "TLS1.2+"`); err != nil {
		t.Fatalf("over STLS: %v\n%s", err, out)
	}
	copies := s.arrived(second, password, 3)
	originals := s.read(s.Account, s.Password)
	if len(originals) != 3 {
		t.Errorf("%d of 3 messages were kept", len(originals))
	}
	for _, m := range originals {
		_, body, _ := strings.Cut(string(m), "\r\n\r\n")
		if !slices.ContainsFunc(copies, func(c []byte) bool { return strings.HasSuffix(string(c), "\r\n\r\n"+body) }) {
			t.Errorf("no copy has the body %q", body)
		}
	}
	check(t, s.Send("you@else.example", s.Account, letter("fourth")))
	s.arrived(s.Account, s.Password, 4)
	if out, err := fetch("pop3s", "ssl"); err != nil {
		t.Fatalf("over TLS: %v\n%s", err, out)
	}
	s.arrived(second, password, 4)
	// fetchmail(1): 1 is no mail.
	if out, err := fetch("pop3s", "ssl"); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("with nothing new: %v\n%s", err, out)
	}
}

func TestNailReads(t *testing.T) {
	t.Parallel()
	needProgram(t, "s-nail")
	s := newServer(t, setup{})
	s.fill()
	user := strings.Replace(s.Account, "@", "%40", 1) + ":" + s.Password
	for _, url := range []string{
		"pop3://" + user + "@localhost:" + s.port("pop3"),
		"pop3s://" + user + "@localhost:" + s.port("pop3s"),
	} {
		out := mustForeign(t, "headers\ntype 2\nexit\n", "s-nail", "-:/", "-Sv15-compat", "-Spop3-use-starttls", "-Stls-ca-file="+s.cert(),
			"-Stls-ca-no-defaults", "-Stls-verify=strict", "-#", "-f", url)
		if strings.Count(out, "read-") < 4 || !strings.Contains(out, "Hello.\n.\n..\n") {
			t.Errorf("%s:\n%s", url, out)
		}
	}
}
