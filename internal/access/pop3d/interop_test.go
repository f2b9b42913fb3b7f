package pop3d

import (
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// foreign runs a client of the distribution, where there is one, and returns what it printed.
func foreign(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s on this machine", name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

const interopMessage = "Return-Path: <a@example.test>\nFrom: a@example.test\nSubject: dots\n\n.\n..x\nlast\n"

func interopWorld(t *testing.T, o Options) (w *world, host, port string) {
	t.Helper()
	o.Plaintext = true
	w = newWorld(t, o)
	config := certificate(t)
	w.TLS = func() *tls.Config { return config }
	w.put(t, map[string]string{"joe/new/1.a": interopMessage, "joe/new/2.b": interopMessage})
	host, port, err := net.SplitHostPort(w.tcp(t))
	if err != nil {
		t.Fatal(err)
	}
	return w, host, port
}

func TestPythonPoplibReadsAndDeletes(t *testing.T) {
	t.Parallel()
	w, host, port := interopWorld(t, Options{})
	const script = `
import poplib, ssl, sys
p = poplib.POP3(sys.argv[1], int(sys.argv[2]), timeout=20)
assert 'STLS' in p.capa(), p.capa()
ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
p.stls(ctx)
p.utf8()
p.user('joe@example.test'); p.pass_('open sesame')
n, size = p.stat()
assert n == 2, n
_, lines, octets = p.retr(1)
assert octets == size // 2, (octets, size)
assert lines[-3:] == [b'.', b'..x', b'last'], lines
assert [l.split()[1] for l in p.uidl()[1]] == [b'1.a', b'2.b']
assert p.top(2, 1)[1][-1] == b'.'
p.dele(2)
print(p.quit().decode())
`
	if out := foreign(t, script, "python3", "-", host, port); !strings.Contains(out, "1 message deleted") {
		t.Errorf("poplib: %s", out)
	}
	if got := strings.Join(w.names(t), " "); got != "cur/1.a:2,S" {
		t.Errorf("left: %s", got)
	}
}

func TestCurlReadsWithEachMechanism(t *testing.T) {
	t.Parallel()
	_, host, port := interopWorld(t, Options{APOP: true, Sessions: -1})
	want := strings.ReplaceAll(interopMessage, "\n", "\r\n")
	for _, options := range []string{"", "--ssl-reqd -k", "--login-options AUTH=PLAIN", "--login-options AUTH=LOGIN", "--login-options AUTH=+APOP"} {
		args := append(strings.Fields(options), "-sS", "-u", "joe@example.test:open sesame", "pop3://"+net.JoinHostPort(host, port)+"/2")
		if got := foreign(t, "", "curl", args...); got != want {
			t.Errorf("curl %s: %q", options, got)
		}
	}
}

func TestFetchmailTakesEverything(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("fetchmail"); err != nil {
		t.Skip("no fetchmail on this machine")
	}
	w, host, port := interopWorld(t, Options{})
	dir := t.TempDir()
	box, rc := filepath.Join(dir, "box"), filepath.Join(dir, "rc")
	config := "poll " + host + " service " + port + " protocol POP3 no dns uidl user \"joe@example.test\" password \"open sesame\" sslproto '' mda \"cat >>" + box + "\"\n"
	if err := os.WriteFile(rc, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign(t, "", "fetchmail", "-f", rc, "--nosyslog", "-d0", "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids"), "--nokeep")
	got, err := os.ReadFile(box)
	if err != nil || strings.Count(string(got), "Subject: dots\n\n.\n..x\nlast\n") != 2 {
		t.Errorf("fetched %q, %v", got, err)
	}
	if left := w.names(t); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
