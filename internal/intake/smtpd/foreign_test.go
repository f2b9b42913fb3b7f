package smtpd

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/postilion/postilion/internal/serve"
)

// listen serves s on loopback until the test ends and returns its port's address.
func (w *world) listen(t *testing.T, s *Server) (host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&serve.Server{Name: "smtp", Handler: s}).Serve(ctx, l)
	}()
	t.Cleanup(func() { cancel(); <-done })
	host, port, _ = net.SplitHostPort(l.Addr().String())
	return host, port
}

// submissionWorld is a submission server with TLS that joe may use.
func submissionWorld() *world {
	w := newWorld()
	w.options.Mode = Submission
	w.options.PlainLoopback = true
	w.deps.Auth, w.deps.TLS = fakeAuth{}, serverTLS
	return w
}

// joesMessage checks that exactly one message of joe's is in the queue, with its text.
func joesMessage(t *testing.T, w *world, text string) {
	t.Helper()
	m := w.queue.Take()
	if len(m) != 1 {
		t.Fatalf("%d messages", len(m))
	}
	if m[0].Envelope.From.String() != "joe@example.test" || m[0].Envelope.Account != "joe@example.test" || !strings.Contains(m[0].Body, text) {
		t.Errorf("%+v\n%s", m[0].Envelope, m[0].Body)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func TestSwaksSends(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		w := submissionWorld()
		host, port := w.listen(t, w.server(t))
		run(t, "swaks", "--server", host, "--port", port, "--from", "joe@example.test", "--to", "ann@client.test", "--tls",
			"--auth", mechanism, "--auth-user", "joe@example.test", "--auth-password", "secret", "--body", ".swaks\n..dots\n.")
		joesMessage(t, w, "\n.swaks\n..dots\n.\n")
	}
}

func TestSwaksPipelines(t *testing.T) {
	t.Parallel()
	w := newWorld()
	host, port := w.listen(t, w.server(t))
	run(t, "swaks", "--server", host, "--port", port, "--from", "ann@client.test", "--to", "joe@example.test,postmaster@example.test", "--pipeline")
	if m := w.queue.Take(); len(m) != 1 || len(m[0].Envelope.Recipients) != 2 {
		t.Errorf("%+v", m)
	}
}

func TestCurlSends(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "message")
	os.WriteFile(file, []byte("Subject: curl\r\n\r\n.curl\r\n"), 0o600)
	w := submissionWorld()
	host, port := w.listen(t, w.server(t))
	run(t, "curl", "-sS", "--ssl-reqd", "-k", "--url", "smtp://"+net.JoinHostPort(host, port)+"/laptop.test", "--user", "joe@example.test:secret",
		"--mail-from", "joe@example.test", "--mail-rcpt", "ann@client.test", "-T", file)
	joesMessage(t, w, "Subject: curl\nDate: ")
}

func TestPythonSends(t *testing.T) {
	t.Parallel()
	w := submissionWorld()
	host, port := w.listen(t, w.server(t))
	run(t, "python3", "-c", `
import smtplib, ssl, sys
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "joe@example.test", "ann@client.test", "python"
m.set_content("grüße\n.\n")
c = ssl.create_default_context()
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP(sys.argv[1], int(sys.argv[2])) as s:
    s.starttls(context=c)
    s.login("joe@example.test", "secret")
    s.send_message(m)
`, host, port)
	joesMessage(t, w, "Subject: python\n")
}

func TestGoSMTPSends(t *testing.T) {
	t.Parallel()
	w := submissionWorld()
	host, port := w.listen(t, w.server(t))
	c, err := gosmtp.Dial(net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", "joe@example.test", "secret")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("joe@example.test", []string{"ann@client.test"}, strings.NewReader("Subject: go\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	joesMessage(t, w, "Subject: go\n")
}

func TestGoSMTPDelivers(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.options.Mode = LMTP
	host, port := w.listen(t, w.server(t))
	conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	c := gosmtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.Mail("ann@client.test", nil); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"joe@example.test", "tiny@example.test"} {
		if err := c.Rcpt(to, nil); err != nil {
			t.Fatal(err)
		}
	}
	d, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	d.Write([]byte(strings.Repeat("123456789\r\n", 30)))
	taken, err := d.CloseWithLMTPResponse()
	refused, _ := errors.AsType[gosmtp.LMTPDataError](err)
	if taken["joe@example.test"] == nil || refused["tiny@example.test"] == nil || refused["tiny@example.test"].Code != 552 {
		t.Errorf("%v, %v", taken, err)
	}
}
