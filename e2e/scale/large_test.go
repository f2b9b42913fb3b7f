package scale

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"mime/quotedprintable"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// sink is a next hop that keeps of each message only hashes: of all from firstLine on, and of
// the body with its quoted-printable undone.
type sink struct {
	addr     string
	eight    bool // it offers 8BITMIME
	messages chan sunk
}

type sunk struct{ sum, body []byte }

func newSink(t testing.TB, eight bool) *sink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	k := &sink{addr: l.Addr().String(), eight: eight, messages: make(chan sunk, 16)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go k.session(c)
		}
	}()
	return k
}

func (k *sink) session(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	fmt.Fprint(c, "220 sink.example ESMTP\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); {
		case verb == "EHLO" && k.eight:
			fmt.Fprint(c, "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
		case verb == "DATA":
			fmt.Fprint(c, "354 go ahead\r\n")
			m, err := hashes(r)
			if err != nil {
				return
			}
			k.messages <- m
			fmt.Fprint(c, "250 ok\r\n")
		case verb == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

// hashes reads a message to its final dot.
func hashes(r *bufio.Reader) (sunk, error) {
	sum, body := sha256.New(), sha256.New()
	decoder, encoded := io.Pipe()
	decoded := make(chan error, 1)
	go func() {
		_, err := io.Copy(body, quotedprintable.NewReader(decoder))
		io.Copy(io.Discard, decoder) // after an error
		decoded <- err
	}()
	begun, inBody := false, false
	w := bufio.NewWriterSize(encoded, 64<<10)
	err := e2etest.EachLine(r, func(line []byte) {
		if begun = begun || bytes.HasPrefix(line, []byte(firstLine)); begun {
			sum.Write(line)
		}
		if inBody {
			w.Write(line)
		}
		inBody = inBody || string(line) == "\r\n"
	})
	w.Flush()
	encoded.Close()
	if derr := <-decoded; err == nil && derr != nil {
		body.Reset()
	}
	return sunk{sum.Sum(nil), body.Sum(nil)}, err
}

func (k *sink) next(t testing.TB) sunk {
	t.Helper()
	select {
	case m := <-k.messages:
		return m
	case <-time.After(5 * patience):
		t.Fatal("the next hop got no message")
		return sunk{}
	}
}

// heapLimit is what every process keeps its heap to while large messages pass.
const heapLimit = "64MiB"

// mostResident bounds what a process has in memory, the program's own pages included.
const mostResident = 120 * mib

// watched fails the test when a process has ever had more than that.
func (s *server) watched() {
	s.T.Helper()
	most, by := int64(0), ""
	for name, pid := range s.pids() {
		if m := memory(pid, "VmHWM"); m > most {
			most, by = m, name
		}
	}
	bound(s.T, "most memory that a process has had ("+by+")", most, mostResident)
}

func TestALargeMessagePassesThroughASmallHeap(t *testing.T) {
	large := full[int64](200*mib, 40*mib)
	eachLayout(t, func(t *testing.T, single bool) {
		for _, c := range []struct {
			name  string
			relay bool
			eight bool
		}{{"into a mailbox", false, false}, {"relayed", true, true}, {"relayed as quoted-printable", true, false}} {
			t.Run(c.name, func(t *testing.T) {
				k := newSink(t, c.eight)
				s := newServer(t, single, "process.memory_limit="+heapLimit, // the roles'
					"policy.max_size=256MiB", "policy.max_send_size=256MiB",
					"policy.relay_networks=127.0.0.0/8", "route.next_hop="+k.addr)
				s.Env = []string{"GOMEMLIMIT=" + heapLimit}
				s.start().ready()
				l := newLetter(large)
				to := s.Account
				if c.relay {
					to = "far@else.example"
				}
				began := time.Now()
				sendLetter(t, s, to, l)
				accepted := time.Since(began)
				switch {
				case !c.relay:
					s.readBack(l)
				default:
					m := k.next(t)
					if c.eight {
						same(t, "the relayed message", m.sum, l.sum)
					} else {
						same(t, "the decoded body", m.body, l.body)
					}
				}
				t.Logf("%d MiB: accepted in %v, arrived after %v", large/mib, accepted.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
				s.watched()
			})
		}
	})
}

func sendLetter(t testing.TB, s *server, to string, l *letter) {
	t.Helper()
	c, err := dialSMTP(s.Addr["smtp"])
	check(t, err)
	defer c.Quit()
	check(t, c.Stream(sender, to, l))
}

// readBack reads the only message over POP3 and compares it.
func (s *server) readBack(l *letter) {
	s.T.Helper()
	var sum []byte
	within(s.T, patience, "the message is in the mailbox", func() bool {
		p, _, err := s.login(s.Account, s.Password)
		check(s.T, err)
		defer p.Close()
		if list, err := p.Cmd("STAT"); err != nil || strings.HasPrefix(list, "0 ") {
			p.Cmd("QUIT")
			return false
		}
		sum, err = retrieve(p, 1)
		check(s.T, err)
		p.Cmd("QUIT")
		return true
	})
	same(s.T, "the message read back", sum, l.sum)
}

func same(t testing.TB, what string, got []byte, want hash.Hash) {
	t.Helper()
	if !bytes.Equal(got, want.Sum(nil)) {
		t.Errorf("%s is not what was sent", what)
	}
}

func TestSizeLimitsAreKeys(t *testing.T) {
	beside(t)
	s := newServer(t, true, "policy.max_size=1MiB").start().ready()
	c, err := dialSMTP(s.Addr["smtp"])
	check(t, err)
	defer c.Quit()
	if err := c.Cmd(250, "MAIL FROM:<a@load.example> SIZE=%d", 2*mib); err == nil || !strings.Contains(err.Error(), "5.3.4") {
		t.Errorf("a size declared above the limit is answered %v, want 552 5.3.4", err)
	}
	check(t, c.Cmd(250, "RSET"))
	if err := c.Stream(sender, s.Account, newLetter(2*mib)); err == nil || !strings.Contains(err.Error(), "5.3.4") {
		t.Errorf("a size above the limit is answered %v, want 552 5.3.4", err)
	}
	check(t, c.Stream(sender, s.Account, newLetter(mib/2)))
}
