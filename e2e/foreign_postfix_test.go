package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/e2e/debian"
)

func TestSMTPSourceFillsAMailbox(t *testing.T) {
	t.Parallel()
	needProgram(t, "smtp-source")
	s := newServer(t, setup{config: map[string]string{"smtp.max_per_client": "100"}})
	for _, more := range [][]string{
		{},                     // one message a connection
		{"-d"},                 // many
		{"-d", "-l", "100000"}, // larger than what the queue keeps beside its rows
		{"-d", "-l", "1"},
	} {
		args := append([]string{"-s", "30", "-m", "200", "-f", "you@else.example", "-M", "client.example", "-t", s.Account}, more...)
		mustForeign(t, "", "smtp-source", append(args, s.Addr["smtp"])...)
	}
	s.drain()
	c, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
	check(t, err)
	defer c.Quit()
	if got, err := c.Cmd("STAT"); err != nil || !strings.HasPrefix(got, "800 ") {
		t.Errorf("STAT tells %q, %v, want 800 messages", got, err)
	}
}

// sinkProgram starts Postfix's smtp-sink, which fails as its options say, and returns its
// address and the folder of what it took.
func sinkProgram(t *testing.T, options ...string) (addr, took string) {
	t.Helper()
	addr, took = freeAddr(t), newFolder(t)
	check(t, os.Chmod(took, 0o777))
	args := append([]string{"-c", "-h", "sink.example", "-d", took + "/%S."}, options...)
	if os.Getuid() == 0 {
		args = append(args, "-u", "nobody")
	}
	cmd := exec.Command("smtp-sink", append(args, addr, "100")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "smtp-sink listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr, took
}

// taken counts the messages that a sink took whole.
func taken(took string) int {
	names, _ := filepath.Glob(filepath.Join(took, "*"))
	n := 0
	for _, name := range names {
		if text, _ := os.ReadFile(name); strings.Contains(string(text), "Hello.") {
			n++
		}
	}
	return n
}

// hops writes the next hops of domains as the key route.routes.
func hops(of map[string]string) string {
	var b strings.Builder
	for domain, addr := range of {
		fmt.Fprintf(&b, "%q, ", domain+":"+addr)
	}
	return "[" + b.String() + "]"
}

// TestANextHopThatFails sends through smtp-sinks of which each fails in its own way: what is
// refused for now stays, what is refused for good is bounced to its sender, what a host
// took leaves, and nothing goes to the wrong place.
func TestANextHopThatFails(t *testing.T) {
	t.Parallel()
	needProgram(t, "smtp-sink")
	type want struct {
		options []string
		state   string // waiting, bounced or taken
		told    string // in the queue's error or in the bounce
	}
	wants := map[string]want{
		"good.example":            {nil, "taken", ""},
		"helo-only.example":       {[]string{"-e"}, "taken", ""},
		"no-pipelining.example":   {[]string{"-p"}, "taken", ""},
		"pix.example":             {[]string{"-P"}, "taken", ""},
		"no-8bit.example":         {[]string{"-8"}, "taken", ""},
		"hard-mail.example":       {[]string{"-f", "MAIL"}, "bounced", "500 5.3.0"},
		"hard-rcpt.example":       {[]string{"-f", "RCPT"}, "bounced", "500 5.3.0"},
		"hard-data.example":       {[]string{"-f", "DATA"}, "bounced", "500 5.3.0"},
		"hard-dot.example":        {[]string{"-f", "."}, "bounced", "500 5.3.0"},
		"hard-ehlo.example":       {[]string{"-f", "EHLO"}, "taken", ""},
		"hard-connect.example":    {[]string{"-f", "CONNECT"}, "waiting", "500 5.3.0"},
		"soft-connect.example":    {[]string{"-r", "CONNECT"}, "waiting", "450 4.3.0"},
		"soft-mail.example":       {[]string{"-r", "MAIL"}, "waiting", "450 4.3.0"},
		"soft-rcpt.example":       {[]string{"-r", "RCPT"}, "waiting", "450 4.3.0"},
		"soft-data.example":       {[]string{"-r", "DATA"}, "waiting", "450 4.3.0"},
		"soft-dot.example":        {[]string{"-r", "."}, "waiting", "450 4.3.0"},
		"drops-connect.example":   {[]string{"-q", "CONNECT"}, "waiting", ""},
		"drops-mail.example":      {[]string{"-q", "MAIL"}, "waiting", ""},
		"drops-rcpt.example":      {[]string{"-q", "RCPT"}, "waiting", ""},
		"drops-data.example":      {[]string{"-q", "DATA"}, "waiting", ""},
		"drops-dot.example":       {[]string{"-q", "."}, "waiting", ""},
		"drops-quit.example":      {[]string{"-q", "QUIT"}, "taken", ""},
		"shuts-down-dot.example":  {[]string{"-Q", "."}, "waiting", "421"},
		"shuts-down-mail.example": {[]string{"-Q", "MAIL"}, "waiting", "421"},
		"refuses-rset.example":    {[]string{"-f", "RSET"}, "taken", ""},
	}
	of, took := map[string]string{}, map[string]string{}
	for name, w := range wants {
		of[name], took[name] = sinkProgram(t, w.options...)
	}
	s := newServer(t, setup{config: map[string]string{"route.routes": hops(of)}})
	bounces := 0
	for name, w := range wants {
		check(t, s.submit("joe@"+name, letter(name)))
		if w.state == "bounced" {
			bounces++
		}
	}
	all := s.arrived(s.Account, s.Password, bounces)
	eventually(t, "each message was tried", func() bool {
		for _, m := range s.queue() {
			for _, r := range m.Recipients {
				if r.Attempts == 0 || r.State == "running" {
					return false
				}
			}
		}
		return true
	})
	waiting := map[string]string{}
	for _, m := range s.queue() {
		for _, r := range m.Recipients {
			waiting[strings.TrimPrefix(r.To, "joe@")] = r.Error
		}
	}
	for name, w := range wants {
		told, waits := waiting[name]
		if waits != (w.state == "waiting") {
			t.Errorf("%s: waits is %v (%q), want it to be %s", name, waits, told, w.state)
		}
		if got := taken(took[name]); got != 1 && w.state == "taken" || got != 0 && w.state == "bounced" && name != "hard-dot.example" {
			t.Errorf("%s took %d messages, want it to be %s", name, got, w.state)
		}
		if w.state == "bounced" {
			told = ""
			for _, m := range all {
				if strings.Contains(string(m), "joe@"+name) {
					told = string(m)
				}
			}
		}
		if !strings.Contains(told, w.told) {
			t.Errorf("%s: want %q in\n%s", name, w.told, told)
		}
	}
}

// A postfix is Debian's Postfix as an instance of its own in a folder.
type postfix struct{ debian.Postfix }

// startPostfix starts an instance that keeps mail for users of peer.example and sends mail for
// the tests' domain to next.
func startPostfix(t *testing.T, addr, next string) *postfix {
	t.Helper()
	host, port, _ := net.SplitHostPort(next)
	p := &postfix{debian.Postfix{Dir: newFolder(t), Addr: addr, Host: "mx.peer.example", Domain: "peer.example",
		Main: `virtual_mailbox_maps = inline:{{joe@peer.example=joe/}}
transport_maps = inline:{{example.test=smtp:[` + host + `]:` + port + `}}
smtputf8_enable = yes
smtp_tls_security_level = encrypt
smtpd_tls_security_level = may
smtpd_tls_cert_file = %[1]s/etc/cert.pem
smtpd_tls_key_file = %[1]s/etc/key.pem
smtpd_forbid_bare_newline = yes
`}}
	check(t, p.Configure())
	mustForeign(t, "", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.peer.example",
		"-keyout", p.Etc()+"/key.pem", "-out", p.Etc()+"/cert.pem")
	check(t, p.Start(t.Context()))
	t.Cleanup(func() {
		exec.Command("postfix", "-c", p.Etc(), "stop").Run()
		if t.Failed() {
			text, _ := os.ReadFile(p.Dir + "/log")
			t.Logf("Postfix's log:\n%s", text)
		}
	})
	eventually(t, "Postfix greets", func() bool {
		c, err := dialSMTP(addr)
		if err == nil {
			c.Quit()
		}
		return err == nil
	})
	return p
}

func (p *postfix) mailbox(t *testing.T, n int) []string {
	t.Helper()
	var names, mail []string
	eventually(t, strconv.Itoa(n)+" messages are in Postfix's Maildir", func() bool {
		names, _ = filepath.Glob(p.Maildirs() + "/joe/new/*")
		return len(names) >= n
	})
	for _, name := range names {
		text, err := os.ReadFile(name)
		check(t, err)
		mail = append(mail, string(text))
	}
	return mail
}

// TestPostfixIsThePeer exchanges mail with Postfix both ways over TLS.
func TestPostfixIsThePeer(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needProgram(t, "postfix", "openssl")
	addr := freeAddr(t)
	s := newServer(t, setup{config: map[string]string{"route.routes": hops(map[string]string{"peer.example": addr})}})
	p := startPostfix(t, addr, s.Addr["smtp"])

	// To Postfix: what goes in comes out, whatever its bytes.
	messages := generated()
	for _, m := range messages {
		check(t, s.submit("joe@peer.example", m))
	}
	check(t, s.submit("nobody@peer.example", letter("unknown")))
	got := p.mailbox(t, len(messages))
	for i, m := range messages {
		// Submission completes headers, Postfix keeps LF lines.
		_, want, _ := strings.Cut(strings.ReplaceAll("\r\n"+string(m), "\r\n", "\n"), "\n\n")
		found := 0
		for _, g := range got {
			if strings.HasSuffix(g, want) {
				found++
			}
		}
		if found == 0 {
			t.Errorf("message %d did not come to Postfix as it was: %.300q", i, want)
		}
	}
	for _, g := range got {
		if !strings.Contains(g, "with ESMTPS id") {
			t.Errorf("a message came without TLS:\n%.1000s", g)
			break
		}
	}
	bounce := string(s.arrived(s.Account, s.Password, 1)[0])
	if !strings.Contains(bounce, "nobody@peer.example") || !strings.Contains(bounce, "5.1.1") {
		t.Errorf("the bounce of an unknown user reads\n%s", bounce)
	}

	// From Postfix: the same letters, and one for a mailbox that is not here.
	second := "second@" + domain
	password := s.addAccount(second)
	from, err := dialSMTP(p.Addr)
	check(t, err)
	defer from.Quit()
	plain := 0
	for _, m := range messages {
		if strings.HasPrefix(string(m), "Subject: ") {
			check(t, from.Mail("joe@peer.example", []string{second}, m))
			plain++
		}
	}
	check(t, from.Mail("joe@peer.example", []string{"nobody@" + domain}, letter("not-here")))
	for _, m := range s.arrived(second, password, plain) {
		if !strings.Contains(string(m), "ESMTPS") {
			t.Errorf("a message came without TLS:\n%.1000s", m)
		}
	}
	told := p.mailbox(t, len(messages)+1)
	if last := strings.Join(told, "\n"); !strings.Contains(last, "5.1.1") || !strings.Contains(last, "nobody@"+domain) {
		t.Errorf("Postfix tells nothing of the mailbox that is not here")
	}
}
