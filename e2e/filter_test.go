package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/miekg/dns"

	"github.com/postilion/postilion/e2e/e2etest"
	"github.com/postilion/postilion/internal/fs/fstest"
	"github.com/postilion/postilion/internal/netx/nettest"
)

// What strangers and operators' programs may say or do while a message comes in: QMAILQUEUE filters that
// misbehave in every way, and answers of ident servers and of DNS lists that are long, binary or never end.

// filterScript does as the client's HELO says, before it has read anything.
const filterScript = `#!/bin/sh
case $POSTILION_HELO in
code-*) n=${POSTILION_HELO#code-}; cat >/dev/null; exit ${n%.test} ;;
early-*) n=${POSTILION_HELO#early-}; exit ${n%.test} ;;
says-*) printf 'Dno\001 \033[31mred\n250 yes\r\n\377 more (#5.7.9)' >&6; exit 82 ;;
says.*) printf 'Zlater (#4.7.9)' >&6; exit 82 ;;
long-*) head -c 3000 /dev/zero | tr '\0' x | sed 's/^/D/' >&6; exit 82 ;;
mega-*) head -c 20000000 /dev/zero >&2; head -c 20000000 /dev/zero >&6; cat >/dev/null; exit 0 ;;
hang-*) exec sleep 1000 ;;
fork-*) sleep 1000 & exit 31 ;;
bomb-*) for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 1000; :) & done; wait ;;
kill-*) kill -9 $$ ;;
shut-*) exec 0<&- 1<&- 2>&- 6>&-; exit 0 ;;
shut.*) exec 0<&- 1<&- 2>&- 6>&-; sleep 1000 ;;
*) exec "$QUEUE" qmail-queue ;;
esac
`

// However a filter ends, its message has one plain answer in time, its processes end with it, and the next
// message passes.
func TestFiltersThatMisbehaveHarmTheirMessageAlone(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		dir := newFolder(t)
		script := filepath.Join(dir, "filter")
		check(t, fstest.WriteProgram(script, strings.ReplaceAll(filterScript, "$QUEUE", tools(t))))
		o.config = map[string]string{"submit.filter": fmt.Sprintf("%q", script), "submit.filter_timeout": `"2s"`}
		s := newServer(t, o)
		if have, said := s.dataAs(t, "pass.test", letter("passes")); have != 250 {
			t.Fatalf("before all that: %d %s", have, said)
		}
		s.arrived(s.Account, s.Password, 1)
		before := openFiles(t, s)
		large := append(letter("large"), bytes.Repeat([]byte("0123456789abcdef0123456789abcdef\r\n"), 20_000)...)
		cases := []struct {
			helo    string
			content []byte
			want    int
		}{
			{"kill-9.test", nil, 451}, {"hang-1.test", nil, 451}, {"hang-2.test", large, 451}, {"bomb-1.test", nil, 451},
			{"fork-1.test", nil, 554}, {"fork-2.test", large, 554}, {"mega-1.test", nil, 250}, {"says-d.test", nil, 554}, {"says.z.test", nil, 451},
			{"long-1.test", nil, 451}, {"shut-1.test", large, 250}, {"shut.2.test", large, 451}, {"early-0.test", large, 250}, {"early-31.test", large, 554},
		}
		for code := range 256 {
			want := 451
			switch {
			case code == 0:
				want = 250
			case code >= 11 && code <= 40, code == 115: // 115: notqmail's code for an address that is too long
				want = 554
			}
			cases = append(cases, struct {
				helo    string
				content []byte
				want    int
			}{fmt.Sprintf("code-%d.test", code), nil, want})
		}
		for _, c := range cases {
			content := c.content
			if content == nil {
				content = letter(c.helo)
			}
			began := time.Now()
			have, said := s.dataAs(t, c.helo, content)
			if have != c.want || strings.ContainsFunc(said, func(r rune) bool { return r > '~' || unicode.IsControl(r) }) || len(said) > 500 {
				t.Errorf("%s: %d %q, want %d in one line of plain text", c.helo, have, said, c.want)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s took %v", c.helo, took)
			}
		}
		if have, said := s.dataAs(t, "pass.test", letter("passes")); have != 250 {
			t.Fatalf("after all that: %d %s", have, said)
		}
		if mail := s.arrived(s.Account, s.Password, 2); len(mail) != 2 || !bytes.Contains(mail[1], []byte("passes")) {
			t.Errorf("%d messages arrived: %q", len(mail), mail)
		}
		eventually(t, "no filter's process is left", func() bool { return len(filtersOf(s)) == 0 })
		eventually(t, fmt.Sprintf("%d descriptors again, as before", before), func() bool { return openFiles(t, s) <= before+10 })
	})
}

// filtersOf lists what filters of the server have left running; where they are forked on purpose, after they
// have answered, they may go on, as with qmail.
func filtersOf(s *server) (list []string) {
	left, _ := os.ReadDir("/proc")
	for _, p := range left {
		env, _ := os.ReadFile(filepath.Join("/proc", p.Name(), "environ"))
		if bytes.Contains(env, []byte(s.Data)) && bytes.Contains(env, []byte("POSTILION_HELO=")) && !bytes.Contains(env, []byte("POSTILION_HELO=fork-")) {
			list = append(list, strings.ReplaceAll(string(env), "\x00", " "))
		}
	}
	return list
}

// openFiles counts descriptors of the server's processes.
func openFiles(t testing.TB, s *server) (n int) {
	t.Helper()
	for _, pid := range append(s.Children(), s.PID()) {
		n += e2etest.Descriptors(pid)
	}
	return n
}

// dataAs sends a message under a HELO of one's own and returns the answer to its end.
func (s *server) dataAs(t testing.TB, helo string, content []byte) (code int, said string) {
	t.Helper()
	w, err := dial(s.Addr["smtp"])
	check(t, err)
	c := &e2etest.SMTP{Wire: w}
	defer c.Close()
	check(t, c.Expect(220), c.Cmd(250, "EHLO %s", helo), c.Cmd(250, "MAIL FROM:<you@far.example>"), c.Cmd(250, "RCPT TO:<%s>", s.Account), c.Cmd(354, "DATA"),
		c.Dotted(content))
	for first := true; ; first = false {
		line, err := c.Line()
		if err != nil || len(line) < 4 {
			t.Errorf("%s: %q, %v", helo, line, err)
			return 0, line
		}
		if first {
			fmt.Sscanf(line, "%d", &code)
		}
		if said += line; line[3] == ' ' {
			return code, said
		}
	}
}

// hostile are answers that a log, a header, a terminal or a program's environment must not be reached by.
var hostile = map[string]string{
	"long":      strings.Repeat("x", 5000),
	"binary":    "\x00\x01\x02\x80\xff\xfe",
	"terminal":  "\x1b[2J\x1b]0;owned\x07",
	"lines":     "joe\r\nReceived: from forged\r\n\r\nbody",
	"comment":   "joe) by evil.example (",
	"shell":     "`id`$(id);|&<>'\"\\",
	"bidi":      "\u202eevil\u2066",
	"delimiter": "a=b\tc\vd e",
}

// An ident server may say what it likes, slowly, or never end: the greeting waits for nothing, MAIL waits
// for no longer than is set, and what is kept of the answer is plain.
func TestHostileIdentAnswersStayOutOfEverything(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := newFolder(t)
	script := filepath.Join(dir, "filter")
	check(t, fstest.WriteProgram(script, "#!/bin/sh\nenv | tr -d '\\n' >"+dir+"/env.$$\nexec "+tools(t)+" qmail-queue\n"), os.Chmod(dir, 0o777))
	const lookup = 4 * time.Second
	s := newServer(t, setup{config: map[string]string{
		"smtp.ident": "true", "smtp.lookup_timeout": strconv.Quote(lookup.String()), "log.to": `"file"`, "submit.filter": fmt.Sprintf("%q", script),
	}})
	// A loopback address of this test's own, whose ident port nobody else has.
	ip := net.IPv4(127, 113, byte(os.Getpid()>>8), byte(1+os.Getpid()%250))
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: ip, Port: 113})
	if err != nil {
		t.Skipf("skipped: no ident server can listen at %s: %v", ip, err)
	}
	defer l.Close()
	answers := make(chan func(net.Conn, string), 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			question := make([]byte, 100)
			n, _ := c.Read(question)
			answer := <-answers
			go func() { answer(c, strings.TrimSpace(string(question[:n]))); c.Close() }()
		}
	}()
	answer := func(user string) func(net.Conn, string) {
		return func(c net.Conn, ports string) { fmt.Fprintf(c, "%s : USERID : UNIX : %s\r\n", ports, user) }
	}
	ways := map[string]func(net.Conn, string){
		"never": func(c net.Conn, _ string) { c.Read(make([]byte, 1)) },
		"endless": func(c net.Conn, _ string) {
			for err := error(nil); err == nil; _, err = c.Write(bytes.Repeat([]byte("0"), 1000)) {
			}
		},
		"slow": func(c net.Conn, ports string) {
			for _, b := range []byte(ports + " : USERID : UNIX : slow\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(200 * time.Millisecond)
			}
		},
		"silent": func(net.Conn, string) {},
	}
	for name, text := range hostile {
		ways[name] = answer(text)
	}
	n := 0
	for name, way := range ways {
		answers <- way
		began := time.Now()
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).Dial("tcp", s.Addr["smtp"])
		check(t, err)
		c := &e2etest.SMTP{Wire: e2etest.NewWire(conn)}
		check(t, c.Expect(220))
		if took := time.Since(began); took > lookup {
			t.Errorf("%s: the greeting came after %v", name, took)
		}
		check(t, c.Cmd(250, "EHLO client.example"), c.Mail("you@far.example", []string{s.Account}, letter("ident-"+name)))
		c.Quit()
		n++
	}
	for _, m := range s.arrived(s.Account, s.Password, n) {
		header, _, _ := bytes.Cut(m, []byte("\r\n\r\n"))
		if bytes.Contains(header, []byte("forged\r\n")) || bytes.Contains(m, []byte("body\r\n")) || !plain(header) {
			t.Errorf("a header has what an ident server said:\n%q", header)
		}
		received := string(header[bytes.Index(header, []byte("Received: ")):])
		received, _, _ = strings.Cut(received, "by mail.example.test")
		if strings.Count(received, "(") != strings.Count(received, ")") || strings.Contains(received, "by evil") || len(received) > 600 {
			t.Errorf("an ident server closed a comment of %q", received)
		}
	}
	environments, _ := filepath.Glob(dir + "/env.*")
	for _, file := range environments {
		if text, _ := os.ReadFile(file); !plain(text) {
			t.Errorf("a filter's environment is %q", text)
		}
	}
	if len(environments) != n {
		t.Errorf("%d filters ran, want %d", len(environments), n)
	}
	s.plainLogs(t)
}

// A DNS list may say what it likes, too.
func TestHostileListTextsStayOutOfEverything(t *testing.T) {
	t.Parallel()
	pc, tcp := nettest.Listen(t)
	texts := make(chan []string, 1)
	texts <- nil
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		text := <-texts
		texts <- text
		if text == nil {
			return // never
		}
		hdr := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET}
		switch q.Question[0].Qtype {
		case dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: net.IPv4(127, 0, 0, 2)})
		case dns.TypeTXT:
			m.Answer = append(m.Answer, &dns.TXT{Hdr: hdr, Txt: text})
		}
		if w.LocalAddr().Network() == "udp" && m.Len() > 512 {
			m.Answer, m.Truncated = nil, true
		}
		w.WriteMsg(m)
	})
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: tcp, Handler: handler}} {
		go server.ActivateAndServe()
		t.Cleanup(func() { server.Shutdown() })
	}
	s := newServer(t, setup{single: true, config: map[string]string{
		"dns_lists.lists": `["bl.example"]`, "dns_lists.timeout": `"2s"`, "smtp.proxy_from": `["127.0.0.1"]`, "dns.server": fmt.Sprintf("%q", pc.LocalAddr()), "log.to": `"file"`,
	}})
	i := 0
	ask := func(name string, text []string, want int) {
		<-texts
		texts <- text
		i++
		w, err := dial(s.Addr["smtp"])
		check(t, err)
		defer w.Close()
		c := &e2etest.SMTP{Wire: w}
		// An address of its own each time: answers may be kept.
		check(t, c.Send("PROXY TCP4 192.0.2.%d 192.0.2.200 1025 25", i), c.Expect(220), c.Cmd(250, "EHLO client.example"), c.Cmd(250, "MAIL FROM:<you@far.example>"), c.Send("RCPT TO:<%s>", s.Account))
		line, err := c.Line()
		if err != nil || !strings.HasPrefix(line, fmt.Sprint(want)) || !plain([]byte(line)) || len(line) > 500 {
			t.Errorf("%s: %q (%v), want %d in one plain line", name, line, err, want)
		}
		// Nothing of the text is read as a second reply.
		check(t, c.Cmd(250, "NOOP"))
	}
	ask("never", nil, 250)
	for name, text := range hostile {
		var parts []string
		for b := []byte(text); len(b) > 0; b = b[min(len(b), 255):] {
			var part strings.Builder // as a zone file writes bytes
			for _, c := range b[:min(len(b), 255)] {
				fmt.Fprintf(&part, "\\%03d", c)
			}
			parts = append(parts, part.String())
		}
		ask(name, parts, 451)
	}
	ask("many", slices.Repeat([]string{"text"}, 2000), 451)
	s.plainLogs(t)
}

// plain reports whether text has nothing that a terminal or a parser of lines would take for more than text.
func plain(text []byte) bool {
	for _, c := range text {
		if c > '~' || c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// plainLogs checks the server's log files and its answers about itself.
func (s *server) plainLogs(t testing.TB) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(s.Data, "log/*"))
	if len(files) == 0 {
		t.Error("there is no log")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		for line := range bytes.Lines(text) {
			if line = bytes.ReplaceAll(line, []byte("µs"), []byte("us")); !plain(line) || !bytes.HasPrefix(line, []byte("time=")) || len(line) > 3000 {
				t.Errorf("%s has the line %.300q", filepath.Base(file), line)
			}
		}
	}
}
