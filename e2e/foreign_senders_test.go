package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// foreign runs another's program with a home of its own, so that nobody's settings matter,
// and returns all that it printed.
func foreign(t testing.TB, stdin, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + cmd.Dir, "TMPDIR=" + cmd.Dir, "LC_ALL=C.UTF-8", "TERM=dumb"}
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// mustForeign fails the test when the program fails.
func mustForeign(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	out, err := foreign(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

// cert is the server's self-signed certificate, which its clients are told to trust.
func (s *server) cert() string { return filepath.Join(s.Data, "tls", "cert.pem") }

// host and port of a listener, for programs that want them apart.
func (s *server) port(listener string) string {
	return s.Addr[listener][strings.LastIndexByte(s.Addr[listener], ':')+1:]
}

// A foreignSender brings one message with the given subject from an address elsewhere, or as
// the account where it logs in.
type foreignSender struct {
	name, program string
	send          func(t *testing.T, s *server, subject string)
}

var foreignSenders = []foreignSender{
	{"plain", "swaks", swaks("smtp")},
	{"pipelined", "swaks", swaks("smtp", "--pipeline")},
	{"HELO", "swaks", swaks("smtp", "--protocol", "SMTP")},
	{"STARTTLS", "swaks", swaks("smtp", "--tls")},
	{"LMTP", "swaks", swaks("lmtp", "--protocol", "LMTP")},
	{"STARTTLS and PLAIN", "swaks", swaksLogin("submission", "--tls", "--auth", "PLAIN")},
	{"STARTTLS and LOGIN", "swaks", swaksLogin("submission", "--tls", "--auth", "LOGIN")},
	{"TLS and PLAIN", "swaks", swaksLogin("submissions", "--tls-on-connect", "--auth", "PLAIN")},
	{"plain", "curl", curlSend("smtp", "smtp")},
	{"STARTTLS", "curl", curlSend("smtp", "smtp", "--ssl-reqd")},
	{"STARTTLS and LOGIN", "curl", curlSend("smtp", "submission", "--ssl-reqd", "--login-options", "AUTH=LOGIN")},
	{"TLS and PLAIN", "curl", curlSend("smtps", "submissions", "--login-options", "AUTH=PLAIN")},
	{"STARTTLS and PLAIN", "msmtp", msmtp("submission", "plain", "on")},
	{"TLS and SCRAM", "msmtp", msmtp("submissions", "scram-sha-256", "off")},
	{"STARTTLS and login", "mutt", muttSend},
	{"TLS and login", "s-nail", nailSend},
	{"smtplib", "python3", python(smtplibSend)},
	{"smtplib with 8-bit addresses", "python3", python(smtplibUTF8)},
	{"lmtplib", "python3", python(lmtplibSend)},
}

func TestForeignProgramsSend(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{config: map[string]string{"lmtp.listen": fmt.Sprintf("[%q]", freeAddr(t))}})
	s.Addr["lmtp"] = s.listener("lmtp")
	var sent []string
	t.Run("send", func(t *testing.T) {
		for _, f := range foreignSenders {
			subject := strings.ReplaceAll(f.program+" "+f.name, " ", "-")
			t.Run(subject, func(t *testing.T) {
				needProgram(t, f.program)
				f.send(t, s, subject)
				sent = append(sent, subject)
			})
		}
	})
	counts := map[string]int{}
	for _, m := range s.arrived(s.Account, s.Password, len(sent)) {
		_, rest, _ := strings.Cut(string(m), "\r\nSubject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		counts[subject]++
		if !strings.Contains(string(m), "\r\nthe body of "+subject+"\r\n") {
			t.Errorf("the body of %q is changed:\n%s", subject, m)
		}
		// The second dot is what the client had to double.
		if !strings.Contains(string(m), "\r\n.\r\n..\r\n") {
			t.Errorf("%q has lost its dots:\n%s", subject, m)
		}
	}
	for _, subject := range sent {
		if counts[subject] != 1 {
			t.Errorf("%q came %d times", subject, counts[subject])
		}
	}
}

// listener returns an address that status tells.
func (s *server) listener(name string) string {
	s.T.Helper()
	for _, l := range s.Status().Listeners {
		if l.Name == name {
			return l.Addr
		}
	}
	s.T.Fatalf("status tells no listener %s", name)
	return ""
}

// foreignBody is what every foreign sender is given.
func foreignBody(subject string) string { return "the body of " + subject + "\n.\n..\nend\n" }

func foreignLetter(from, to, subject string) string {
	text := fmt.Sprintf("From: <%s>\nTo: <%s>\nSubject: %s\n\n%s", from, to, subject, foreignBody(subject))
	return strings.ReplaceAll(text, "\n", "\r\n")
}

func swaks(listener string, args ...string) func(*testing.T, *server, string) {
	return func(t *testing.T, s *server, subject string) {
		mustForeign(t, foreignLetter(s.Account, s.Account, subject), "swaks", append([]string{"--server", s.Addr[listener],
			"--helo", "client.example", "--from", "you@else.example", "--to", s.Account, "--data", "-",
			"--tls-verify", "--tls-ca-path", s.cert()}, args...)...)
	}
}

func swaksLogin(listener string, args ...string) func(*testing.T, *server, string) {
	return func(t *testing.T, s *server, subject string) {
		swaks(listener, append([]string{"--from", s.Account, "--auth-user", s.Account, "--auth-password", s.Password}, args...)...)(t, s, subject)
	}
}

func curlSend(scheme, listener string, args ...string) func(*testing.T, *server, string) {
	return func(t *testing.T, s *server, subject string) {
		if strings.HasPrefix(listener, "submission") {
			args = append(args, "--user", s.Account+":"+s.Password)
		}
		mustForeign(t, foreignLetter(s.Account, s.Account, subject), "curl", append([]string{"-sS", "--cacert", s.cert(),
			scheme + "://localhost:" + s.port(listener) + "/client.example", "--resolve", "localhost:" + s.port(listener) + ":127.0.0.1",
			"--mail-from", s.Account, "--mail-rcpt", s.Account, "-T", "-"}, args...)...)
	}
}

func msmtp(listener, auth, starttls string) func(*testing.T, *server, string) {
	return func(t *testing.T, s *server, subject string) {
		mustForeign(t, foreignLetter(s.Account, s.Account, subject), "msmtp", "--file=/dev/null", "--host=localhost", "--port="+s.port(listener),
			"--tls=on", "--tls-starttls="+starttls, "--tls-trust-file="+s.cert(), "--auth="+auth, "--user="+s.Account,
			"--passwordeval=echo "+s.Password, "--from="+s.Account, s.Account)
	}
}

// muttSend names a mechanism: this mutt would take SCRAM-SHA-256-PLUS, for which it does not
// give its library the channel's binding.
func muttSend(t *testing.T, s *server, subject string) {
	set := fmt.Sprintf(`set smtp_url="smtp://%s@localhost:%s" smtp_pass="%s" smtp_authenticators="scram-sha-256" from="%s" ssl_force_tls=yes certificate_file="%s" ssl_ca_certificates_file="" copy=no`,
		strings.Replace(s.Account, "@", "%40", 1), s.port("submission"), s.Password, s.Account, s.cert())
	mustForeign(t, foreignBody(subject), "mutt", "-n", "-F", "/dev/null", "-e", set, "-s", subject, "--", s.Account)
}

func nailSend(t *testing.T, s *server, subject string) {
	url := fmt.Sprintf("mta=smtps://%s:%s@localhost:%s", strings.Replace(s.Account, "@", "%40", 1), s.Password, s.port("submissions"))
	mustForeign(t, foreignBody(subject), "s-nail", "-:/", "-Sv15-compat", "-Snosave", "-Ssmtp-auth=login", "-Stls-ca-file="+s.cert(), "-Stls-ca-no-defaults",
		"-Stls-verify=strict", "-S", url, "-Sfrom="+s.Account, "-s", subject, s.Account)
}

// python runs a script that finds what it needs in its arguments.
func python(script string) func(*testing.T, *server, string) {
	return func(t *testing.T, s *server, subject string) {
		out := mustForeign(t, "", "python3", "-c", pythonWorld+script, s.Account, s.Password, s.cert(), subject, foreignBody(subject),
			s.port("smtp"), s.port("submission"), s.port("submissions"), s.port("pop3"), s.port("pop3s"), s.port("lmtp"))
		if !strings.HasSuffix(out, "done\n") {
			t.Fatalf("the script did not come to its end:\n%s", out)
		}
	}
}

const pythonWorld = `
import sys, ssl, smtplib, poplib
from email.message import EmailMessage
account, password, cert, subject, body = sys.argv[1:6]
smtp, submission, submissions, pop3, pop3s, lmtp = map(lambda p: int(p or 0), sys.argv[6:12])
trust = ssl.create_default_context(cafile=cert)
m = EmailMessage()
m["From"] = m["To"] = account
m["Subject"] = subject
m.set_content(body, cte="8bit")
def refuses(what, wanted, f):
    try:
        f()
    except Exception as e:
        assert wanted in str(e), (what, e)
    else:
        raise AssertionError(what + " was taken")
`

const smtplibSend = `
with smtplib.SMTP("localhost", submission) as c:
    refuses("mail without a login", "530", lambda: c.send_message(m))
    c.ehlo()
    features = dict(c.esmtp_features)
    for word in "pipelining size 8bitmime smtputf8 chunking dsn enhancedstatuscodes starttls".split():
        assert word in features, (word, features)
    c.starttls(context=trust)
    refuses("a wrong password", "535", lambda: c.login(account, "wrong"))
    c.login(account, password)
    refuses("a relay for another's address", "5", lambda: c.sendmail("other@else.example", [account], b"x\r\n"))
    c.rset()
    assert c.verify("hello")[0] == 252
    assert c.send_message(m) == {}
print("done")
`

const smtplibUTF8 = `
from email.policy import SMTPUTF8
with smtplib.SMTP("localhost", smtp) as c:
    c.ehlo()
    text = m.as_bytes(policy=SMTPUTF8)
    assert c.sendmail("g\u00fc\u00e9l@else.example", [account], text, mail_options=["SMTPUTF8", "BODY=8BITMIME"]) == {}
print("done")
`

const lmtplibSend = `
with smtplib.LMTP("localhost", lmtp) as c:
    refused = c.send_message(m, to_addrs=[account, "nobody@" + account.split("@")[1]])
    assert [r[0] for r in refused.values()] == [550], refused
print("done")
`

func TestForeignProgramsAreRefusedWhatIsWeak(t *testing.T) {
	t.Parallel()
	needProgram(t, "swaks")
	s := newServer(t, setup{})
	out, err := foreign(t, "", "swaks", "--server", s.Addr["submission"], "--from", s.Account, "--to", s.Account, "--tls",
		"--auth", "CRAM-MD5", "--auth-user", s.Account, "--auth-password", s.Password)
	if err == nil || !strings.Contains(out, "requested type not available") {
		t.Errorf("CRAM-MD5: %v\n%s", err, out)
	}
	for _, c := range [][]string{
		{"--from", "you@else.example", "--to", "joe@elsewhere.example"},
		{"--from", "you@else.example", "--to", "nobody@" + domain},
		{"--from", "you@else.example", "--to", "joe%elsewhere.example@" + domain},
	} {
		out, err := foreign(t, "", "swaks", append([]string{"--server", s.Addr["smtp"]}, c...)...)
		if err == nil || !strings.Contains(out, "<** 550") {
			t.Errorf("%q: %v\n%s", c, err, out)
		}
	}
}
