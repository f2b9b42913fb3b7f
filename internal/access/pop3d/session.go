package pop3d

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/trace"
)

// state is one session.
type state struct {
	*Handler
	ctx  context.Context
	conn *serve.Conn
	wire *wire
	lang language
	// timestamp is APOP's challenge, "" when not offered (RFC 1939 7).
	timestamp string
	user      string // of USER, until PASS
	box       *box   // nil before login
	login     *session.Login
	mailboxes *maildir.Store // where login's mailbox is
	hold      *session.Hold
	unlock    func() // releases the lock file; nil without

	begun    time.Time
	commands int
	errors   int  // in a row
	over     bool // the session has ended: nothing more is read
	how      string
	count    struct{ retrieved, octets, deleted int64 }
}

func newSession(ctx context.Context, h *Handler, c *serve.Conn) *state {
	s := &state{Handler: h, ctx: ctx, conn: c, lang: h.language, begun: time.Now()}
	s.wire = newWire(c.Conn, h.opts.WriteTimeout)
	s.wire.tap = h.Record.Begin("pop3", c.ID, c.Client.Addr())
	keepAlive(c.Conn)
	return s
}

// run talks until the session ends.
func (s *state) run() {
	defer s.end()
	defer s.wire.tap.End()
	defer context.AfterFunc(s.ctx, s.wire.wake)()
	// Trouble in finding out is told at the login, and keeps nobody from the greeting.
	if err := s.Logins.Auth.Allowed(s.ctx, s.conn.Client.Addr()); auth.KeepsOut(err) {
		s.how = "blocked"
		s.refuse(err)
		_ = s.wire.w.Flush() // the session ends either way
		return
	}
	s.greet()
	for !s.over {
		line, err := s.wire.line(s.opts.LineLimit, s.patience())
		if err != nil && !errors.Is(err, errLineTooLong) {
			s.readFailed(err)
			break
		}
		s.commands++
		if err != nil {
			s.fail("", textTooLong, strconv.Itoa(s.opts.LineLimit))
		} else {
			s.wire.tap.InCommand(line)
			s.command(line)
		}
		s.checkLimits()
		if s.ctx.Err() != nil && !s.over {
			s.hangUp("server stopping", "SYS/TEMP", textStopping)
		}
	}
	_ = s.wire.w.Flush() // the session ends either way
}

// patience is how long the next command may take.
func (s *state) patience() time.Duration {
	if s.box != nil {
		return s.opts.Timeout
	}
	return max(min(s.opts.LoginTimeout, s.opts.LoginWithin-time.Since(s.begun)), time.Millisecond)
}

func (s *state) readFailed(err error) {
	switch {
	case s.ctx.Err() != nil:
		s.hangUp("server stopping", "SYS/TEMP", textStopping)
	case s.hold != nil && s.hold.Lost():
		s.hangUp("freed by the operator", "SYS/TEMP", textTaken)
	case errors.Is(err, errFlood):
		s.hangUp("line without end", "", textTooLong, strconv.Itoa(s.opts.LineLimit))
	case timedOut(err) && s.box == nil && time.Since(s.begun) >= s.opts.LoginWithin:
		s.hangUp("no login", "", textLoginTooLate)
	case timedOut(err):
		s.hangUp("timeout", "", textTimeout)
	default:
		s.how = "connection lost"
	}
}

// checkLimits ends sessions that only make trouble.
func (s *state) checkLimits() {
	switch {
	case s.over:
	case s.wire.dead:
		s.over, s.how = true, "connection lost"
	case s.errors >= s.opts.ErrorLimit:
		s.hangUp("too many errors", "", textTooManyBad)
	case s.box == nil && s.commands >= s.opts.LoginLimit, s.commands >= s.opts.CommandLimit:
		s.hangUp("too many commands", "", textTooManyMore)
	}
}

func (s *state) hangUp(how, code string, t text, args ...any) {
	s.fail(code, t, args...)
	s.over, s.how = true, how
}

func (s *state) greet() {
	s.conn.SetState("greeted")
	if s.opts.APOP {
		s.timestamp = fmt.Sprintf("<%s.%d@%s>", s.conn.ID, s.Clock.Now().Unix(), s.opts.Host)
		s.put("+OK " + textReady.in(s.lang) + " " + s.timestamp)
		return
	}
	s.put("+OK " + s.opts.Host + " " + textReady.in(s.lang))
}

// put sends one line. Errors show at the next read, and in wire.dead.
func (s *state) put(line string) {
	_, _ = s.wire.w.WriteString(line)
	_, _ = s.wire.w.WriteString("\r\n")
}

// ok answers with success.
func (s *state) ok(t text, args ...any) {
	s.errors = 0
	s.put("+OK " + t.in(s.lang, args...))
}

// fail answers with -ERR, the response code (RFC 2449 8, RFC 3206; "" for none) and the cause.
func (s *state) fail(code string, t text, args ...any) {
	s.errors++
	s.failWith(code, t.in(s.lang, args...))
}

func (s *state) failWith(code, cause string) {
	if code != "" {
		code = "[" + code + "] "
	}
	s.put("-ERR " + code + cause)
}

// refuse answers a failed login: RFC 3206 tells a wrong password from a passing trouble.
func (s *state) refuse(err error) {
	s.errors++
	r := reason.As(err)
	code := "AUTH"
	if r.Class == reason.Temporary {
		code = "SYS/TEMP"
	}
	s.failWith(code, printable(r.Text(s.lang)))
}

// lines sends the lines of a listing and its final dot.
func (s *state) lines(list ...string) {
	for _, l := range list {
		s.put(l)
	}
	s.put(".")
}

// end frees the mailbox, whatever ended the session, and tells of it.
func (s *state) end() {
	s.release()
	e := s.event(trace.SessionEnd)
	e.Took, e.Count, e.Size = time.Since(s.begun), s.count.retrieved, s.count.octets
	e.Text = fmt.Sprintf("%s: %d commands, %d retrieved, %d deleted, %d bytes in, %d out",
		s.how, s.commands, s.count.retrieved, s.count.deleted, s.wire.in.Load(), s.wire.out.Load())
	if state := s.conn.TLS(); state != nil {
		e.TLS = tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite)
	}
	s.Recorder.Record(e)
}

func (s *state) release() {
	if s.unlock != nil {
		s.unlock()
		s.unlock = nil
	}
	if s.hold != nil {
		s.hold.Release()
	}
}

// command answers one line.
func (s *state) command(line []byte) {
	name, arg, hasArg := strings.Cut(string(line), " ")
	c, known := s.table[strings.ToUpper(name)]
	switch {
	case strings.IndexByte(string(line), 0) >= 0:
		s.fail("", textNul)
	case name == "" && !hasArg:
		s.fail("", textEmpty)
	case !known:
		s.fail("", textUnknown, quoted(name))
	case c.when == afterLogin && s.box == nil:
		s.fail("", textNotBefore, strings.ToUpper(name))
	case c.when == beforeLogin && s.box != nil:
		s.fail("", textNotAfter, strings.ToUpper(name))
	default:
		if !c.verbatim {
			arg = strings.TrimSpace(arg)
		}
		if !c.do(s, arg) {
			s.fail("", textUsage, c.usage)
		}
	}
}

// when tells the states a command belongs to (RFC 1939 3).
type when uint8

const (
	always when = iota
	beforeLogin
	afterLogin
)

// command is one command of the protocol. do returns false when its argument does not fit the usage.
type command struct {
	usage    string
	when     when
	do       func(s *state, arg string) bool
	verbatim bool // the argument's blanks count
}

// commandTable returns the commands by name.
func commandTable() map[string]command {
	return map[string]command{
		"USER": {usage: "USER name", when: beforeLogin, do: (*state).cmdUser, verbatim: true},
		"PASS": {usage: "PASS password", when: beforeLogin, do: (*state).cmdPass, verbatim: true},
		"APOP": {usage: "APOP name digest", when: beforeLogin, do: (*state).cmdAPOP},
		"AUTH": {usage: "AUTH [mechanism [response]]", when: beforeLogin, do: (*state).cmdAuth},
		"STLS": {usage: "STLS", when: beforeLogin, do: noArg((*state).cmdSTLS)},
		"UTF8": {usage: "UTF8", when: beforeLogin, do: noArg(func(s *state) { s.ok(textUTF8) })},
		"LANG": {usage: "LANG [language]", do: (*state).cmdLang},
		"CAPA": {usage: "CAPA", do: noArg((*state).cmdCapa)},
		"HELP": {usage: "HELP", do: func(s *state, _ string) bool { s.cmdHelp(); return true }},
		"NOOP": {usage: "NOOP", do: func(s *state, _ string) bool { s.ok(textNoop); return true }},
		"QUIT": {usage: "QUIT", do: func(s *state, _ string) bool { s.cmdQuit(); return true }},
		"STAT": {usage: "STAT", when: afterLogin, do: noArg((*state).cmdStat)},
		"LIST": {usage: "LIST [message]", when: afterLogin, do: (*state).cmdList},
		"UIDL": {usage: "UIDL [message]", when: afterLogin, do: (*state).cmdUIDL},
		"RETR": {usage: "RETR message", when: afterLogin, do: (*state).cmdRetr},
		"TOP":  {usage: "TOP message lines", when: afterLogin, do: (*state).cmdTop},
		"DELE": {usage: "DELE message", when: afterLogin, do: (*state).cmdDele},
		"RSET": {usage: "RSET", when: afterLogin, do: noArg((*state).cmdRset)},
		"LAST": {usage: "LAST", when: afterLogin, do: noArg((*state).cmdLast)},
	}
}

func noArg(do func(*state)) func(*state, string) bool {
	return func(s *state, arg string) bool {
		if arg != "" {
			return false
		}
		do(s)
		return true
	}
}
