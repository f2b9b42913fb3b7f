package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/postilion/postilion/e2e/e2etest"
)

// rawPeer is a next hop that keeps the bytes of each DATA, and answers RCPT as it is told.
type rawPeer struct {
	addr string
	rcpt string

	mu   sync.Mutex
	data []string
}

func newRawPeer(t *testing.T, rcpt string) *rawPeer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	p := &rawPeer{addr: l.Addr().String(), rcpt: rcpt}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *rawPeer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	io.WriteString(c, "220 raw.example\r\n")
	for {
		c.SetDeadline(time.Now().Add(patience))
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "DATA":
			io.WriteString(c, "354 go\r\n")
			var b []byte
			for !bytes.HasSuffix(b, []byte("\r\n.\r\n")) {
				one, err := r.ReadByte()
				if err != nil {
					return
				}
				b = append(b, one)
			}
			p.mu.Lock()
			p.data = append(p.data, string(b))
			p.mu.Unlock()
			io.WriteString(c, "250 ok\r\n")
		case "EHLO":
			io.WriteString(c, "250-raw.example\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
		case "RCPT":
			io.WriteString(c, p.rcpt+"\r\n")
		default:
			io.WriteString(c, "250 ok\r\n")
		}
	}
}

func (p *rawPeer) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.data...)
}

// almostEnds are what other servers have taken for the end of a message.
var almostEnds = []string{
	"\n.\n", "\n.\r", "\r.\n", "\r.\r", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n.\v\r\n", "\r\n .\r\n",
}

// TestNoMessageCarriesAnother sends messages that hold a second one behind an end that is none,
// to a mailbox and to a next hop. What is refused goes nowhere; what is taken arrives as one
// message, and leaves this host with no line end that another server could misread.
func TestNoMessageCarriesAnother(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"reject", "normalise"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newRawPeer(t, "250 ok")
			s := newServer(t, setup{config: map[string]string{
				"smtp.bare_newline": `"` + mode + `"`, "submission.bare_newline": `"` + mode + `"`, "route.next_hop": fmt.Sprintf("%q", p.addr),
			}})
			takenHere := s.smuggle("smtp", s.Account)
			takenAway := s.smuggle("submission", "joe@else.example")
			if mode == "normalise" && len(takenHere) < len(almostEnds)/2 {
				t.Errorf("only %q were taken", takenHere)
			}
			arrived := s.arrived(s.Account, s.Password, len(takenHere))
			eventually(t, "the next hop has its mail", func() bool { return len(p.got()) >= len(takenAway) })
			s.drain()
			if got := len(p.got()); got != len(takenAway) {
				t.Errorf("%d messages became %d at the next hop", len(takenAway), got)
			}
			for _, m := range arrived {
				if !bytes.Contains(m, []byte("RCPT TO:<")) || bytes.Contains(m, []byte("Return-Path: <smuggled")) {
					t.Errorf("a message is torn:\n%q", m)
				}
			}
			for _, m := range p.got() {
				if strings.Count(m, "\r\n") != strings.Count(m, "\r") || strings.Count(m, "\r\n") != strings.Count(m, "\n") {
					t.Errorf("a bare line end leaves this host:\n%q", m)
				}
				if !strings.Contains(m, "RCPT TO:<") {
					t.Errorf("a message is torn:\n%q", m)
				}
			}
		})
	}
}

// smuggle tries each end that is none and returns those whose message was taken.
func (s *server) smuggle(listener, to string) (taken []string) {
	t := s.T
	t.Helper()
	for _, end := range almostEnds {
		c, err := dialSMTP(s.Addr[listener])
		check(t, err)
		from := "you@else.example"
		if listener == "submission" {
			from = s.Account
			check(t, c.Login(s.Account, s.Password))
		}
		check(t, c.Cmd(250, "MAIL FROM:<%s>", from), c.Cmd(250, "RCPT TO:<%s>", to), c.Cmd(354, "DATA"))
		check(t, c.Send("Subject: outer\r\n\r\nouter%sMAIL FROM:<smuggled@else.example>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: inner\r\n\r\ninner\r\n.", end, s.Account))
		switch err := c.Expect(250); code(err) {
		case 250:
			taken = append(taken, end)
		case 550:
		default:
			t.Errorf("%q: the answer is %v", end, err)
		}
		// The conversation goes on where it was: the answer was one, and the next is to this.
		if err := c.Cmd(214, "HELP"); err != nil {
			t.Errorf("%q: after the message HELP is answered by %v", end, err)
		}
		c.Quit()
	}
	return taken
}

// TestFloodsAndGarbageEndOnlyTheirOwnConnections sends what no client would to every socket of
// the server. Each is answered or closed; no role ends, none grows, and mail goes on.
func TestFloodsAndGarbageEndOnlyTheirOwnConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	var before e2etest.Status
	eventually(t, "every role is up", func() bool {
		before = s.Status()
		return !slices.ContainsFunc(before.Roles, func(r e2etest.Role) bool { return r.State != "up" })
	})
	garbage := make([]byte, 100_000)
	rand.Read(garbage)
	long := strings.Repeat("A", 4<<20)
	begin := map[string]string{"smtp": "EHLO a.example\r\n", "submission": "EHLO a.example\r\n", "pop3": "CAPA\r\n"}
	var wg sync.WaitGroup
	for _, listener := range []string{"smtp", "submission", "submissions", "pop3", "pop3s", "metrics"} {
		for name, flood := range map[string]string{
			"NOOPs": strings.Repeat("NOOP\r\n", 1_000_000), "RSETs": strings.Repeat("RSET\r\n", 100_000), "garbage": string(garbage),
			"a long line": long, "a long argument": "MAIL FROM:<" + long, "a long login": "AUTH PLAIN " + long, "a long answer": "AUTH LOGIN\r\n" + long,
			"a web client": "GET / HTTP/1.1\r\nHost: mail.example\r\nX-Long: " + long + "\r\n\r\n", "NULs": string(make([]byte, 1<<20)), "empty lines": strings.Repeat("\r\n", 500_000),
		} {
			wg.Go(func() {
				if err := flooded(s.Addr[listener], begin[listener], flood); err != nil {
					t.Errorf("%s with %s: %v", listener, name, err)
				}
			})
		}
	}
	wg.Wait()
	sockets, _ := filepath.Glob(filepath.Join(s.Data, "run", "*.sock"))
	if len(sockets) == 0 {
		t.Error("the server has no Unix sockets")
	}
	for _, path := range sockets {
		for _, text := range []string{string(garbage), string(make([]byte, 5000)), strings.Repeat("\xff", 5000), "GET / HTTP/1.0\r\n\r\n", "{}", "\x00\x00\x00\x10short"} {
			c, err := net.Dial("unix", path)
			check(t, err)
			io.WriteString(c, text)
			c.Close()
		}
	}
	check(t, s.Send("you@else.example", s.Account, letter("after")))
	s.arrived(s.Account, s.Password, 1)
	for i, r := range s.Status().Roles {
		if was := before.Roles[i]; r.PID != was.PID || r.Restarts != 0 || r.State != "up" {
			t.Errorf("role %s was %+v and is %+v", r.Name, was, r)
		}
		if mem := e2etest.Memory(r.PID, "VmRSS"); mem > 200<<20 {
			t.Errorf("role %s holds %d KiB", r.Name, mem>>10)
		}
	}
}

// flooded writes a flood and reads what is answered until the server closes, or the flood has
// been taken whole.
func flooded(addr, begin, flood string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	closed := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, c)
		closed <- n
	}()
	_, err = io.WriteString(c, begin+flood)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		return fmt.Errorf("the server neither reads nor closes")
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.CloseWrite()
	}
	if n := <-closed; n > int64(len(flood))*20 {
		return fmt.Errorf("it was answered by %d bytes", n)
	}
	return nil
}

// TestSlowClientsAreLetGo keeps connections on which a byte comes now and then: they end when
// a command's time is over, and hold nobody back until then.
func TestSlowClientsAreLetGo(t *testing.T) {
	t.Parallel()
	const clients = 300
	keys := map[string]string{}
	for _, l := range []string{"smtp", "pop3", "submissions"} {
		keys[l+".max_per_client"] = "1000"
	}
	const idle = 20 * time.Second
	for _, key := range []string{"smtp.idle_timeout", "submissions.tls_timeout", "pop3.login_timeout", "pop3.login_within"} {
		keys[key] = strconv.Quote(idle.String())
	}
	s := newServer(t, setup{config: keys})
	var conns []net.Conn
	for i := range clients {
		c, err := net.Dial("tcp", s.Addr[[]string{"smtp", "pop3", "submissions"}[i%3]])
		check(t, err)
		defer c.Close()
		conns = append(conns, c)
	}
	start := time.Now()
	check(t, s.Send("you@else.example", s.Account, letter("meanwhile")))
	s.arrived(s.Account, s.Password, 1)
	if took := time.Since(start); took > idle {
		t.Errorf("a message waited for slow clients: %v", took)
	}
	open := map[net.Conn]bool{}
	for _, c := range conns {
		open[c] = true
	}
	buffer := make([]byte, 4096)
	eventually(t, "the slow clients are let go", func() bool {
		for c := range open {
			c.SetDeadline(time.Now().Add(time.Millisecond))
			_, werr := c.Write([]byte("E"))
			_, rerr := c.Read(buffer)
			var ne net.Error
			if werr != nil || rerr != nil && !(errors.As(rerr, &ne) && ne.Timeout()) {
				delete(open, c)
			}
		}
		return len(open) == 0
	})
}

// TestGuessersAreKeptOutOfEveryProtocol guesses by POP3 and SMTP in turn: both count together,
// then no protocol lets the client in, until the operator does.
func TestGuessersAreKeptOutOfEveryProtocol(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{config: map[string]string{"auth.address_failures": "4", "auth.failure_delay": `"20ms"`, "auth.block_first": `"1h"`}})
	smtpLogin := func(password string) error {
		c, err := dialSMTP(s.Addr["submission"])
		check(t, err)
		defer c.Quit()
		return c.Login(s.Account, password)
	}
	popLogin := func(password string) error {
		c, err := dialPOP(s.Addr["pop3"], s.Account, password)
		if err == nil {
			c.Quit()
		}
		return err
	}
	for i := range 5 {
		if i%2 == 0 {
			if err := smtpLogin(fmt.Sprint("guess", i)); code(err) != 535 {
				t.Fatalf("guess %d: %v", i, err)
			}
		} else if err := popLogin(fmt.Sprint("guess", i)); err == nil || !strings.Contains(err.Error(), "[AUTH]") {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if err := smtpLogin(s.Password); code(err) != 454 {
		t.Errorf("SMTP lets the guesser in: %v", err)
	}
	if err := popLogin(s.Password); err == nil || !strings.Contains(err.Error(), "[SYS/TEMP]") {
		t.Errorf("POP3 lets the guesser in: %v", err)
	}
	if list := s.Must("block", "list"); !strings.Contains(list, "127.0.0.1/32") {
		t.Errorf("block list tells\n%s", list)
	}
	s.Must("block", "remove", "127.0.0.1")
	check(t, smtpLogin(s.Password), popLogin(s.Password))

	// Now it is the account's own client, whose waits are its own.
	for i := range 5 {
		if err := popLogin(fmt.Sprint("typo", i)); err == nil {
			t.Fatal("a wrong password opens the mailbox")
		}
	}
	if err := smtpLogin(s.Password); code(err) != 454 {
		t.Errorf("after five more failures: %v", err)
	}
	if list := s.Must("block", "list"); !strings.Contains(list, "from 127.0.0.1/32") {
		t.Errorf("block list tells\n%s", list)
	}
	s.Must("block", "remove", s.Account)
	check(t, smtpLogin(s.Password), popLogin(s.Password))
	if out, err := s.Run("block", "remove", s.Account); err == nil || !strings.Contains(err.Error(), "is not blocked") {
		t.Errorf("a second remove: %v %s", err, out)
	}
}

// TestHostileTextReachesNoTerminal lets every text that comes from outside hold escape
// sequences, and reads all that the program prints and logs.
func TestHostileTextReachesNoTerminal(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[31m\x1b]0;owned\x07 \u009b31m \u202egnp \x9b \x7f"
	p := newRawPeer(t, "450 4.2.0 "+evil)
	s := newServer(t, setup{config: map[string]string{"route.next_hop": fmt.Sprintf("%q", p.addr), "log.format": `"json"`}})
	raw, err := dial(s.Addr["smtp"])
	check(t, err)
	for _, line := range []string{"EHLO " + evil, "HELO \u009b31m.example", "EHLO \u202eexample", "MAIL FROM:<" + evil + "@else.example>", evil, "VRFY " + evil} {
		check(t, raw.Send("%s", line))
	}
	raw.Close()
	c, err := dialSMTP(s.Addr["submission"])
	check(t, err)
	check(t, c.Login(s.Account, s.Password), c.Cmd(250, "MAIL FROM:<%s> SMTPUTF8", s.Account))
	taken := 0
	for _, local := range []string{"plain", "a\u009b31mb", "a\u202eb", `"a\u009b31mb"`, "\"\x1b[31m\"", "a\u2066b"} {
		switch err := c.Cmd(250, "RCPT TO:<%s@else.example>", local); code(err) / 100 {
		case 2:
			taken++
		case 5:
		default:
			t.Errorf("%q: %v", local, err)
		}
	}
	check(t, c.Cmd(354, "DATA"), c.Dotted([]byte("Subject: "+evil+"\r\n\r\n"+evil+"\r\n")), c.Expect(250))
	c.Quit()
	_, err = dialPOP(s.Addr["pop3"], evil, evil)
	if err == nil {
		t.Error("a hostile name logs in")
	}
	var id string
	eventually(t, "the next hop was asked", func() bool {
		list := s.queue()
		if len(list) != 1 {
			return false
		}
		id = list[0].ID
		for _, r := range list[0].Recipients {
			if r.Attempts == 0 {
				return false
			}
		}
		return true
	})
	if taken == 0 {
		t.Error("no recipient was taken")
	}
	for _, verb := range [][]string{
		{"queue", "list"}, {"queue", "show", id}, {"queue", "stats"}, {"status"}, {"block", "list"}, {"account", "list"}, {"stats"},
		{"address", "test", "\x1b[31m\u202e@example.test"}, {"block", "add", "\x1b[31m"}, {"account", "add", "\u009b@example.test"}, {"domain", "add", "\u202e.test"},
		{"\x1b[31m"}, {"queue", "show", "\x1b[31m"}, {"config", "explain", "\u202e"}, {"status", "--\x1b[31m"}, {"--set", "\x1b[31m=1", "config", "check"},
	} {
		for _, form := range [][]string{nil, {"--json"}} {
			out, err := s.Run(append(append([]string{}, verb...), form...)...)
			checkTame(t, fmt.Sprintf("%q", append(verb, form...)), out)
			// What the test's own error quotes is the arguments as they were.
			if err != nil {
				_, told, _ := strings.Cut(err.Error(), ": exit status ")
				checkTame(t, fmt.Sprintf("%q on the standard error", append(verb, form...)), told)
			}
		}
	}
	checkTame(t, "the log", s.Log.String())
}

// checkTame checks that a text holds nothing that a terminal obeys.
func checkTame(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s holds %U:\n%.2000q", what, r, text)
			return
		}
	}
}

// TestPeopleMayTypeByHand speaks as one does who tries a server with a terminal: lower case,
// line ends without CR, spaces where none belong, and a typing error.
func TestPeopleMayTypeByHand(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	type step struct{ say, hear string }
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + s.Account + "\x00" + s.Password))
	for listener, steps := range map[string][]step{
		"smtp": {
			{"", "220 "}, {"help", "214"}, {"helo  me ", "250 "}, {"mial from:<you@else.example>", "500 "}, {"mail from: <you@else.example>", "250 "},
			{"rcpt to:" + s.Account, "250 "}, {"rcpt to: <nobody@" + domain + ">", "550 "}, {"noop please", "250 "}, {"vrfy hello", "252 "}, {"rset", "250 "}, {"quit", "221 "},
		},
		"submission": {
			{"", "220 "}, {"ehlo me", "250"}, {"auth plain " + plain, "235 "}, {"mail from:<" + s.Account + ">", "250 "}, {"quit", "221 "},
		},
		"pop3": {
			{"", "+OK"}, {"help", "+OK"}, {"user " + s.Account, "+OK"}, {"pass " + s.Password, "+OK"}, {"stat", "+OK 0 0"}, {"retr", "-ERR"}, {"retr x", "-ERR"},
			{"bogus", "-ERR"}, {"last", "+OK 0"}, {"quit", "+OK"},
		},
	} {
		w, err := dial(s.Addr[listener])
		check(t, err)
		for _, step := range steps {
			if step.say != "" {
				io.WriteString(w, step.say+"\n")
			}
			line, err := w.Line()
			if err != nil || !strings.HasPrefix(line, step.hear) {
				t.Fatalf("%s: %q is answered by %q, %v, want %s", listener, step.say, line, err, step.hear)
			}
			for more := line; step.say == "help" && listener == "pop3" && more != "." || len(more) > 3 && more[3] == '-' && listener != "pop3"; {
				more, err = w.Line()
				check(t, err)
			}
		}
		w.Close()
	}
}

// TestARoleThatHangsIsNamed stops a role's process as a debugger would: a verb that needs it
// says so soon, and the others go on.
func TestARoleThatHangsIsNamed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newServer(t, setup{})
	pids := map[string]int{}
	eventually(t, "every role is up", func() bool {
		for _, r := range s.Status().Roles {
			pids[r.Name] = r.PID
		}
		return pids["queue"] != 0 && pids["auth"] != 0
	})
	var wg sync.WaitGroup
	for role, verb := range map[string]string{"queue": "queue list", "auth": "block list"} {
		e2etest.StandStill(t, pids[role])
		wg.Go(func() {
			if out, err := s.Run(strings.Fields(verb)...); err == nil || !strings.Contains(err.Error(), "role "+role+" does not answer") {
				t.Errorf("%s: %v %s", verb, err, out)
			}
		})
	}
	if out, err := s.Run("status"); err != nil {
		t.Errorf("status: %v %s", err, out)
	}
	wg.Wait()
}
