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
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
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
			takenHere := s.smuggle("smtp", s.account)
			takenAway := s.smuggle("submission", "joe@else.example")
			if mode == "normalise" && len(takenHere) < len(almostEnds)/2 {
				t.Errorf("only %q were taken", takenHere)
			}
			arrived := s.arrived(s.account, s.password, len(takenHere))
			within(t, patience, "the next hop has its mail", func() bool { return len(p.got()) >= len(takenAway) })
			s.drain(patience)
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
	t := s.t
	t.Helper()
	for _, end := range almostEnds {
		c, err := dialSMTP(s.addr[listener])
		check(t, err)
		from := "you@else.example"
		if listener == "submission" {
			from = s.account
			check(t, c.login(s.account, s.password))
		}
		check(t, c.cmd(250, "MAIL FROM:<%s>", from), c.cmd(250, "RCPT TO:<%s>", to), c.cmd(354, "DATA"))
		check(t, c.send("Subject: outer\r\n\r\nouter%sMAIL FROM:<smuggled@else.example>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: inner\r\n\r\ninner\r\n.", end, s.account))
		switch err := c.expect(250); code(err) {
		case 250:
			taken = append(taken, end)
		case 550:
		default:
			t.Errorf("%q: the answer is %v", end, err)
		}
		// The conversation goes on where it was: the answer was one, and the next is to this.
		if err := c.cmd(214, "HELP"); err != nil {
			t.Errorf("%q: after the message HELP is answered by %v", end, err)
		}
		c.quit()
	}
	return taken
}

// TestFloodsAndGarbageEndOnlyTheirOwnConnections sends what no client would to every socket of
// the server. Each is answered or closed; no role ends, none grows, and mail goes on.
func TestFloodsAndGarbageEndOnlyTheirOwnConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	var before status
	within(t, patience, "every role is up", func() bool {
		before = s.status()
		return !slices.ContainsFunc(before.Roles, func(r role) bool { return r.State != "up" })
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
				if err := flooded(s.addr[listener], begin[listener], flood); err != nil {
					t.Errorf("%s with %s: %v", listener, name, err)
				}
			})
		}
	}
	wg.Wait()
	sockets, _ := filepath.Glob(filepath.Join(s.data, "run", "*.sock"))
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
	check(t, s.send("you@else.example", s.account, letter("after")))
	s.arrived(s.account, s.password, 1)
	for i, r := range s.status().Roles {
		if was := before.Roles[i]; r.PID != was.PID || r.Restarts != 0 || r.State != "up" {
			t.Errorf("role %s was %+v and is %+v", r.Name, was, r)
		}
		if mem := residentKiB(r.PID); mem > 200<<10 {
			t.Errorf("role %s holds %d KiB", r.Name, mem)
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

func residentKiB(pid int) (kib int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fmt.Sscan(rest, &kib)
	return kib
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
		c, err := net.Dial("tcp", s.addr[[]string{"smtp", "pop3", "submissions"}[i%3]])
		check(t, err)
		defer c.Close()
		conns = append(conns, c)
	}
	start := time.Now()
	check(t, s.send("you@else.example", s.account, letter("meanwhile")))
	s.arrived(s.account, s.password, 1)
	if took := time.Since(start); took > idle {
		t.Errorf("a message waited for slow clients: %v", took)
	}
	open := map[net.Conn]bool{}
	for _, c := range conns {
		open[c] = true
	}
	buffer := make([]byte, 4096)
	within(t, patience, "the slow clients are let go", func() bool {
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
		c, err := dialSMTP(s.addr["submission"])
		check(t, err)
		defer c.quit()
		return c.login(s.account, password)
	}
	popLogin := func(password string) error {
		c, err := dialPOP(s.addr["pop3"], s.account, password)
		if err == nil {
			c.quit()
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
	if err := smtpLogin(s.password); code(err) != 454 {
		t.Errorf("SMTP lets the guesser in: %v", err)
	}
	if err := popLogin(s.password); err == nil || !strings.Contains(err.Error(), "[SYS/TEMP]") {
		t.Errorf("POP3 lets the guesser in: %v", err)
	}
	if list := s.must("block", "list"); !strings.Contains(list, "127.0.0.1/32") {
		t.Errorf("block list tells\n%s", list)
	}
	s.must("block", "remove", "127.0.0.1")
	check(t, smtpLogin(s.password), popLogin(s.password))

	// Now it is the account's own client, whose waits are its own.
	for i := range 5 {
		if err := popLogin(fmt.Sprint("typo", i)); err == nil {
			t.Fatal("a wrong password opens the mailbox")
		}
	}
	if err := smtpLogin(s.password); code(err) != 454 {
		t.Errorf("after five more failures: %v", err)
	}
	if list := s.must("block", "list"); !strings.Contains(list, "from 127.0.0.1/32") {
		t.Errorf("block list tells\n%s", list)
	}
	s.must("block", "remove", s.account)
	check(t, smtpLogin(s.password), popLogin(s.password))
	if out, err := s.run("block", "remove", s.account); err == nil || !strings.Contains(err.Error(), "is not blocked") {
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
	raw, err := dial(s.addr["smtp"])
	check(t, err)
	for _, line := range []string{"EHLO " + evil, "HELO \u009b31m.example", "EHLO \u202eexample", "MAIL FROM:<" + evil + "@else.example>", evil, "VRFY " + evil} {
		check(t, raw.send("%s", line))
	}
	raw.Close()
	c, err := dialSMTP(s.addr["submission"])
	check(t, err)
	check(t, c.login(s.account, s.password), c.cmd(250, "MAIL FROM:<%s> SMTPUTF8", s.account))
	taken := 0
	for _, local := range []string{"plain", "a\u009b31mb", "a\u202eb", `"a\u009b31mb"`, "\"\x1b[31m\"", "a\u2066b"} {
		switch err := c.cmd(250, "RCPT TO:<%s@else.example>", local); code(err) / 100 {
		case 2:
			taken++
		case 5:
		default:
			t.Errorf("%q: %v", local, err)
		}
	}
	check(t, c.cmd(354, "DATA"), c.dotted([]byte("Subject: "+evil+"\r\n\r\n"+evil+"\r\n")), c.expect(250))
	c.quit()
	_, err = dialPOP(s.addr["pop3"], evil, evil)
	if err == nil {
		t.Error("a hostile name logs in")
	}
	var id string
	within(t, patience, "the next hop was asked", func() bool {
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
			out, err := s.run(append(append([]string{}, verb...), form...)...)
			checkTame(t, fmt.Sprintf("%q", append(verb, form...)), out)
			// What the test's own error quotes is the arguments as they were.
			if err != nil {
				_, told, _ := strings.Cut(err.Error(), ": exit status ")
				checkTame(t, fmt.Sprintf("%q on the standard error", append(verb, form...)), told)
			}
		}
	}
	checkTame(t, "the log", s.log.String())
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
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + s.account + "\x00" + s.password))
	for listener, steps := range map[string][]step{
		"smtp": {
			{"", "220 "}, {"help", "214"}, {"helo  me ", "250 "}, {"mial from:<you@else.example>", "500 "}, {"mail from: <you@else.example>", "250 "},
			{"rcpt to:" + s.account, "250 "}, {"rcpt to: <nobody@" + domain + ">", "550 "}, {"noop please", "250 "}, {"vrfy hello", "252 "}, {"rset", "250 "}, {"quit", "221 "},
		},
		"submission": {
			{"", "220 "}, {"ehlo me", "250"}, {"auth plain " + plain, "235 "}, {"mail from:<" + s.account + ">", "250 "}, {"quit", "221 "},
		},
		"pop3": {
			{"", "+OK"}, {"help", "+OK"}, {"user " + s.account, "+OK"}, {"pass " + s.password, "+OK"}, {"stat", "+OK 0 0"}, {"retr", "-ERR"}, {"retr x", "-ERR"},
			{"bogus", "-ERR"}, {"last", "+OK 0"}, {"quit", "+OK"},
		},
	} {
		w, err := dial(s.addr[listener])
		check(t, err)
		for _, step := range steps {
			if step.say != "" {
				w.SetDeadline(time.Now().Add(patience))
				io.WriteString(w, step.say+"\n")
			}
			line, err := w.line()
			if err != nil || !strings.HasPrefix(line, step.hear) {
				t.Fatalf("%s: %q is answered by %q, %v, want %s", listener, step.say, line, err, step.hear)
			}
			for more := line; step.say == "help" && listener == "pop3" && more != "." || len(more) > 3 && more[3] == '-' && listener != "pop3"; {
				more, err = w.line()
				check(t, err)
			}
		}
		w.Close()
	}
}

// stands reports whether a signal has stopped all of a process's threads; they go on until each has seen it.
func stands(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range threads {
		line, err := os.ReadFile(file)
		if _, state, _ := strings.Cut(string(line), ") "); err != nil || !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return len(threads) > 0
}

// TestARoleThatHangsIsNamed stops a role's process as a debugger would: a verb that needs it
// says so soon, and the others go on.
func TestARoleThatHangsIsNamed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newServer(t, setup{})
	pids := map[string]int{}
	within(t, patience, "every role is up", func() bool {
		for _, r := range s.status().Roles {
			pids[r.Name] = r.PID
		}
		return pids["queue"] != 0 && pids["auth"] != 0
	})
	var wg sync.WaitGroup
	for role, verb := range map[string]string{"queue": "queue list", "auth": "block list"} {
		syscall.Kill(pids[role], syscall.SIGSTOP)
		defer syscall.Kill(pids[role], syscall.SIGCONT)
		within(t, patience, "every thread of role "+role+" stands", func() bool { return stands(pids[role]) })
		wg.Go(func() {
			if out, err := s.run(strings.Fields(verb)...); err == nil || !strings.Contains(err.Error(), "role "+role+" does not answer") {
				t.Errorf("%s: %v %s", verb, err, out)
			}
		})
	}
	if out, err := s.run("status"); err != nil {
		t.Errorf("status: %v %s", err, out)
	}
	wg.Wait()
}
