package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postilion/postilion/e2e/e2etest"
	"github.com/postilion/postilion/internal/qmail"
)

// awaySink refuses for now until it is told to be there.
func awaySink(t testing.TB) (k *e2etest.Sink, there *atomic.Bool) {
	k, there = newSink(t), new(atomic.Bool)
	k.Rcpt = func(string) error {
		if !there.Load() {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not now"}
		}
		return nil
	}
	return k, there
}

func waits(s *server) func() bool {
	return func() bool { q := s.queue(); return len(q) == 1 && strings.Contains(fmt.Sprint(q[0]), "not now") }
}

// ETRN from a host that may ask brings the mail that waits for its domain at once (RFC 1985).
func TestETRNBringsWhatWaits(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		k, there := awaySink(t)
		o.config = toSink(k)
		s := newServer(t, o)
		check(t, s.Send(s.Account, "joe@dialin.example", letter("waiting")))
		eventually(t, "the first attempt fails", waits(s))
		there.Store(true)
		c, err := dialSMTP(s.Addr["smtp"])
		check(t, err)
		defer c.Quit()
		check(t, c.Cmd(253, "ETRN dialin.example"))
		if m := k.Arrived(t, 1)[0]; m.To[0] != "joe@dialin.example" {
			t.Errorf("arrived for %q", m.To)
		}
		s.drain()
	})
}

// A dial-in host that connects gets what waits for it (AutoTURN, qmail reference 16.2).
func TestADialInHostGetsItsMailByConnecting(t *testing.T) {
	t.Parallel()
	k, there := awaySink(t)
	o := setup{single: true, config: toSink(k)}
	o.config["turn.auto"] = `["127.0.0.1: dialin.example"]`
	delete(o.config, "route.next_hop")
	o.config["route.routes"] = `["dialin.example:` + k.Addr + `"]`
	s := newServer(t, o)
	check(t, s.submit("joe@dialin.example", letter("waiting")))
	eventually(t, "the first attempt fails", waits(s))
	there.Store(true)
	c, err := dialSMTP(s.Addr["smtp"])
	check(t, err)
	c.Quit()
	k.Arrived(t, 1)
	s.drain()
}

func netstring(s string) string { return string(qmail.AppendNetstring(nil, s)) }

// answers sends p and reads n netstrings.
func answers(t testing.TB, addr, p string, n int) (list []string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	check(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(conn, p)
	check(t, err)
	r := bufio.NewReader(conn)
	for range n {
		a, err := qmail.ReadNetstring(r, 1000)
		check(t, err)
		list = append(list, string(a))
	}
	return list
}

// Mail comes in by QMTP and QMQP, and goes out by QMTP to another server.
func TestMailTravelsByQMTPAndQMQP(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		inner := freeAddr(t)
		o.config = map[string]string{"qmtp.listen": fmt.Sprintf("[%q]", inner)}
		receiver := newServer(t, o)
		got := answers(t, inner, netstring("\nSubject: by qmtp\n\nhi\n")+netstring("a@far.example")+
			netstring(netstring(receiver.Account)+netstring("b@far.example")+netstring("nobody@"+domain)), 3)
		if !strings.HasPrefix(got[0], "Kok ") || got[1] != "Dsorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)" || !strings.HasPrefix(got[2], "Dno mailbox here by that name") {
			t.Errorf("%q", got)
		}
		receiver.Must("domain", "add", "inner.example")
		password := receiver.addAccount("ann@inner.example")
		qmqp := freeAddr(t)
		newServer(t, setup{single: o.single, config: map[string]string{
			"qmqp.listen": fmt.Sprintf("[%q]", qmqp), "qmqp.networks": `["127.0.0.1"]`,
			"route.next_hop": strconv.Quote(inner + " qmtp"), "host": `"hub.example"`, "route.default_domain": `"hub.example"`,
		}})
		if got := answers(t, qmqp, netstring(netstring("Subject: by qmqp\n\nho\n")+netstring("a@far.example")+netstring("ann@inner.example")), 1); !strings.HasPrefix(got[0], "Kok ") {
			t.Errorf("%q", got)
		}
		if m := string(receiver.arrived(receiver.Account, receiver.Password, 1)[0]); !strings.Contains(m, "by mail.example.test with QMTP id ") {
			t.Errorf("%s", m)
		}
		m := string(receiver.arrived("ann@inner.example", password, 1)[0])
		for _, want := range []string{"by mail.example.test with QMTP id ", "by hub.example with QMQP id ", "Subject: by qmqp"} {
			if !strings.Contains(m, want) {
				t.Errorf("no %q in\n%s", want, m)
			}
		}
	})
}

// Rules by client hold on SMTP and POP3, and a change of the file needs no restart; a wrong one changes nothing.
func TestAccessRulesAreReadAgain(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		file := filepath.Join(newFolder(t), "tcp.rules")
		write := func(text string) { check(t, os.WriteFile(file, []byte(text), 0o644)) }
		check(t, os.Chmod(filepath.Dir(file), 0o755))
		write(":allow\n")
		o.config = map[string]string{"smtp.access_rules": fmt.Sprintf("[%q]", file), "pop3.access_rules": fmt.Sprintf("[%q]", file)}
		s := newServer(t, o)
		greets := func(name string) bool {
			conn, err := net.Dial("tcp", s.Addr[name])
			check(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			n, _ := conn.Read(make([]byte, 1))
			return n == 1
		}
		if !greets("smtp") || !greets("pop3") {
			t.Error("allowed clients are greeted")
		}
		write("127.:deny\n")
		eventually(t, "the client is closed on", func() bool { return !greets("smtp") && !greets("pop3") })
		write("127.:allow\n:nonsense\n")
		eventually(t, "status names the wrong line", func() bool {
			return strings.Contains(s.Must("status", "--json"), file+":2: unable to parse this line")
		})
		if greets("smtp") {
			t.Error("a wrong file opened the server")
		}
		write("127.:allow\n")
		eventually(t, "the client is greeted again", func() bool { return greets("smtp") && greets("pop3") })
	})
}

// A recording holds the whole dialogue, and no password.
func TestADialogueIsRecordedOnDemand(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		var r struct{ ID string }
		s.Ask(&r, "record", "add", "--account", s.Account, "--for", "10m")
		check(t, s.submit(s.Account, letter("recorded")))
		s.arrived(s.Account, s.Password, 1)
		var text string
		eventually(t, "both dialogues are written", func() bool {
			text = s.Must("record", "show", r.ID)
			return strings.Contains(text, "> +OK") && strings.Contains(text, "< Subject: recorded ")
		})
		if !strings.Contains(text, "< PASS [not recorded] ") || strings.Contains(text, s.Password) {
			t.Errorf("the password is recorded:\n%s", text)
		}
		s.Must("record", "remove", r.ID)
		if list := s.Must("record", "list", "--json"); strings.TrimSpace(list) != "[]" {
			t.Errorf("%s", list)
		}
	})
}
