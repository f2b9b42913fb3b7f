package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/postilion/postilion/e2e/e2etest"
)

// TestOnlySoundTLSIsSpoken asks each listener with openssl: TLS 1.2 and 1.3 with a certificate
// that its clients can verify, nothing older and no weak cipher.
func TestOnlySoundTLSIsSpoken(t *testing.T) {
	t.Parallel()
	needProgram(t, "openssl")
	s := newServer(t, setup{})
	listeners := map[string][]string{
		"smtp": {"-starttls", "smtp"}, "submission": {"-starttls", "smtp"}, "submissions": nil,
		"pop3": {"-starttls", "pop3"}, "pop3s": nil,
	}
	for listener, start := range listeners {
		for _, c := range []struct {
			with string
			ok   bool
		}{
			{"-tls1_3", true},
			{"-tls1_2", true},
			{"-tls1_2 -cipher ECDHE", true},
			{"-tls1_1 -cipher DEFAULT@SECLEVEL=0", false},
			{"-tls1 -cipher DEFAULT@SECLEVEL=0", false},
			{"-tls1_2 -cipher aNULL:eNULL:@SECLEVEL=0", false},
			{"-tls1_2 -cipher kRSA+AES:@SECLEVEL=0", false},
			{"-tls1_2 -cipher PSK", false},
		} {
			args := append([]string{"s_client", "-connect", s.Addr[listener], "-servername", "mail.example.test", "-verify_hostname", "mail.example.test",
				"-verify_return_error", "-CAfile", s.cert()}, start...)
			out, err := foreign(t, "", "openssl", append(args, strings.Fields(c.with)...)...)
			if ok := err == nil && strings.Contains(out, "Verify return code: 0 (ok)"); ok != c.ok {
				t.Errorf("%s with %s: %v, want it to be %v\n%s", listener, c.with, ok, c.ok, out)
			}
		}
	}
}

// TestGSASLLogsIn logs in with a SASL library that is none of Go's, with and without binding
// to the channel.
func TestGSASLLogsIn(t *testing.T) {
	t.Parallel()
	needProgram(t, "gsasl")
	s := newServer(t, setup{})
	for _, c := range []struct {
		args     []string
		password string
		want     string
	}{
		{[]string{"--mechanism=SCRAM-SHA-256-PLUS"}, s.Password, "235 2.7.0"},
		{[]string{"--mechanism=SCRAM-SHA-256", "--no-cb"}, s.Password, "235 2.7.0"},
		{[]string{"--mechanism=PLAIN"}, s.Password, "235 2.7.0"},
		{[]string{"--mechanism=LOGIN"}, s.Password, "235 2.7.0"},
		{[]string{"--mechanism=SCRAM-SHA-256-PLUS"}, "wrong-password", "535 5.7.8"},
		{[]string{"--mechanism=SCRAM-SHA-1"}, s.Password, "504 5.5.4"},
	} {
		out, _ := foreign(t, "", "gsasl", append([]string{"--smtp", "--authentication-id=" + s.Account, "--password=" + c.password, "--x509-ca-file=" + s.cert(),
			"--hostname=mail.example.test", "--service=smtp", "localhost", s.port("submission")}, c.args...)...)
		if !strings.Contains(out, c.want) {
			t.Errorf("%q: want %q in\n%s", c.args, c.want, out)
		}
	}
}

// TestNothingSaidBeforeTLSIsHeard injects commands behind STARTTLS and STLS in the same
// segment: none may be answered, and no state may be kept.
func TestNothingSaidBeforeTLSIsHeard(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	pem, err := os.ReadFile(s.cert())
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for _, c := range []struct {
		listener, start, ready, inject, ask string
		answers                             []string // to ask
	}{
		{"smtp", "EHLO a.example\r\n", "250 ", "STARTTLS\r\nNOOP\r\n", "EHLO b.example\r\n", []string{"250-mail.example.test"}},
		{"smtp", "EHLO a.example\r\n", "250 ", "STARTTLS\r\nMAIL FROM:<injected@else.example>\r\n", "RCPT TO:<" + s.Account + ">\r\n", []string{"503 "}},
		{"smtp", "EHLO a.example\r\n", "250 ", "RSET\r\nSTARTTLS\r\nEHLO c.example\r\n", "MAIL FROM:<you@else.example>\r\n", []string{"503 "}},
		{"submission", "EHLO a.example\r\n", "250 ", "STARTTLS\r\nAUTH PLAIN AGEAYg==\r\n", "EHLO b.example\r\n", []string{"250-mail.example.test"}},
		{"pop3", "CAPA\r\n", ".", "STLS\r\nUSER injected\r\n", "PASS x\r\n", []string{"-ERR"}},
		{"pop3", "CAPA\r\n", ".", "STLS\r\nCAPA\r\n", "STAT\r\n", []string{"-ERR"}},
	} {
		name := fmt.Sprintf("%s %q", c.listener, c.inject)
		w, err := dial(s.Addr[c.listener])
		check(t, err)
		_, err = w.Line()
		check(t, err)
		io.WriteString(w, c.start)
		for line := ""; !strings.HasPrefix(line, c.ready); {
			line, err = w.Line()
			check(t, err)
		}
		io.WriteString(w, c.inject)
		line, err := w.Line()
		if strings.HasPrefix(c.inject, "RSET") && err == nil {
			line, err = w.Line()
		}
		check(t, err)
		if !strings.HasPrefix(line, "2") && !strings.HasPrefix(line, "+OK") {
			w.Close() // refused outright: as good
			continue
		}
		over := tls.Client(w.Conn, &tls.Config{RootCAs: pool, ServerName: "mail.example.test"})
		if err := over.Handshake(); err != nil {
			w.Close() // so is an end
			continue
		}
		secure := e2etest.NewWire(over)
		io.WriteString(secure, c.ask)
		for _, want := range c.answers {
			got, err := secure.Line()
			if err != nil || !strings.HasPrefix(got, want) {
				t.Errorf("%s: the first answer over TLS is %q, %v, want %q", name, got, err, want)
			}
		}
		secure.Close()
	}
}

// goPeer is an SMTP server of another author that keeps what it is given, byte for byte.
type goPeer struct {
	mu   sync.Mutex
	mail []*goMail
}

type goMail struct {
	from     string
	to       []string
	options  gosmtp.MailOptions
	rcpt     gosmtp.RcptOptions
	content  string
	security bool
	conn     *gosmtp.Conn
	peer     *goPeer
}

func (p *goPeer) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	return &goMail{peer: p, conn: c}, nil
}

func (m *goMail) Reset()        { *m = goMail{peer: m.peer, conn: m.conn} }
func (m *goMail) Logout() error { return nil }

func (m *goMail) Mail(from string, o *gosmtp.MailOptions) error {
	m.from, m.options = from, *o
	return nil
}

func (m *goMail) Rcpt(to string, o *gosmtp.RcptOptions) error {
	m.to, m.rcpt = append(m.to, to), *o
	return nil
}

func (m *goMail) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	done := *m
	done.content = string(b)
	_, done.security = m.conn.TLSConnectionState()
	m.peer.mu.Lock()
	defer m.peer.mu.Unlock()
	m.peer.mail = append(m.peer.mail, &done)
	return err
}

func (p *goPeer) got() []*goMail {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*goMail(nil), p.mail...)
}

func (p *goPeer) serve(t *testing.T, tune func(*gosmtp.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	srv := gosmtp.NewServer(p)
	srv.Domain = "peer.example"
	tune(srv)
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// TestGoSMTPIsThePeer relays to emersion/go-smtp with every extension on and with none.
func TestGoSMTPIsThePeer(t *testing.T) {
	t.Parallel()
	all, none := new(goPeer), new(goPeer)
	s := newServer(t, setup{config: map[string]string{"route.routes": hops(map[string]string{
		"all.example": all.serve(t, func(s *gosmtp.Server) {
			s.EnableSMTPUTF8, s.EnableBINARYMIME, s.EnableDSN, s.MaxMessageBytes = true, true, true, 10<<20
		}),
		"none.example": none.serve(t, func(s *gosmtp.Server) {}),
	})}})
	c, err := dialSMTP(s.Addr["submission"])
	check(t, err)
	defer c.Quit()
	check(t, c.Login(s.Account, s.Password))
	text := "Subject: d\u00fcs\r\n\r\n.\r\n..\r\nk\u00f6rper\r\n.end\r\n"
	for _, d := range []string{"all.example", "none.example"} {
		check(t, c.Cmd(250, "MAIL FROM:<%s> BODY=8BITMIME RET=HDRS ENVID=my+2Bid", s.Account),
			c.Cmd(250, "RCPT TO:<Joe@%s> NOTIFY=FAILURE,DELAY ORCPT=rfc822;first+40list.example", d), c.Cmd(354, "DATA"), c.Dotted([]byte(text)), c.Expect(250))
	}
	check(t, c.Cmd(250, "MAIL FROM:<%s> SMTPUTF8", s.Account), c.Cmd(250, "RCPT TO:<j\u00f6e@none.example>"), c.Cmd(354, "DATA"), c.Dotted([]byte(text)), c.Expect(250))
	check(t, c.Cmd(250, "MAIL FROM:<%s> SMTPUTF8", s.Account), c.Cmd(250, "RCPT TO:<j\u00f6e@all.example>"), c.Cmd(354, "DATA"), c.Dotted([]byte(text)), c.Expect(250))

	bounce := string(s.arrived(s.Account, s.Password, 1)[0])
	if !strings.Contains(bounce, "j\u00f6e@none.example") || !strings.Contains(bounce, "5.6.7") {
		t.Errorf("the bounce of what cannot be carried reads\n%s", bounce)
	}
	eventually(t, "both peers have their mail", func() bool { return len(all.got()) == 2 && len(none.got()) >= 1 })
	for _, m := range all.got() {
		if !strings.HasSuffix(m.content, "\r\n\r\n.\r\n..\r\nk\u00f6rper\r\n.end\r\n") {
			t.Errorf("%v was given %q", m.to, m.content)
		}
		if m.to[0] == "Joe@all.example" {
			if m.options.EnvelopeID != "my+id" || m.options.Return != gosmtp.DSNReturnHeaders || m.options.Body != gosmtp.Body8BitMIME || len(m.rcpt.Notify) != 2 || m.rcpt.OriginalRecipient != "first@list.example" {
				t.Errorf("the parameters are %+v %+v", m.options, m.rcpt)
			}
		} else if !m.options.UTF8 || m.to[0] != "j\u00f6e@all.example" {
			t.Errorf("%q came with %+v", m.to, m.options)
		}
	}
}

// TestOnlyWantedMechanismsAreOffered turns a mechanism off that a client of the distribution
// takes and fails with; then it logs in as it comes.
func TestOnlyWantedMechanismsAreOffered(t *testing.T) {
	t.Parallel()
	needProgram(t, "mutt", "gsasl", "openssl")
	s := newServer(t, setup{config: map[string]string{"submission.mechanisms": `["SCRAM-SHA-256"]`, "pop3s.mechanisms": `["SCRAM-SHA-256"]`}})
	set := fmt.Sprintf(`set smtp_url="smtp://%s@localhost:%s" smtp_pass="%s" from="%s" ssl_force_tls=yes certificate_file="%s" ssl_ca_certificates_file="" copy=no`,
		strings.Replace(s.Account, "@", "%40", 1), s.port("submission"), s.Password, s.Account, s.cert())
	mustForeign(t, "text\n", "mutt", "-n", "-F", "/dev/null", "-e", set, "-s", "as it comes", "--", s.Account)
	s.arrived(s.Account, s.Password, 1)
	for _, m := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256-PLUS"} {
		out, _ := foreign(t, "", "gsasl", "--smtp", "--mechanism="+m, "--authentication-id="+s.Account, "--password="+s.Password,
			"--x509-ca-file="+s.cert(), "--hostname=mail.example.test", "--service=smtp", "localhost", s.port("submission"))
		if !strings.Contains(out, "\n504 5.5.4") {
			t.Errorf("%s is not refused:\n%s", m, out)
		}
	}
	out := mustForeign(t, "CAPA\nQUIT\n", "openssl", "s_client", "-quiet", "-connect", s.Addr["pop3s"], "-CAfile", s.cert())
	if !strings.Contains(out, "SASL SCRAM-SHA-256\r\n") {
		t.Errorf("POP3 offers\n%s", out)
	}
}
