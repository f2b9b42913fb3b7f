package pop3d

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth/sasl"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// keepAlive makes the system notice a peer that vanished without a word.
func keepAlive(c net.Conn) {
	for wrapped, ok := c.(interface{ NetConn() net.Conn }); ok; wrapped, ok = c.(interface{ NetConn() net.Conn }) {
		c = wrapped.NetConn() // TLS, or who waits for the access rules
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 4}) // the idle time-out remains
	}
}

// plaintext reports whether a password may come as it is.
func (s *state) plaintext() bool {
	return s.conn.TLS() != nil || s.opts.Plaintext && loopback(s.conn.Client.Addr()) && loopback(s.conn.Server.Addr())
}

func loopback(a netip.Addr) bool { return a.Unmap().IsLoopback() }

func (s *state) mechanisms() []string {
	list := session.Mechanisms(s.plaintext(), s.conn.TLS())
	if len(s.opts.Mechanisms) == 0 {
		return list
	}
	return slices.DeleteFunc(list, func(m string) bool { return !slices.Contains(s.opts.Mechanisms, m) })
}

func (s *state) cmdUser(name string) bool {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return false
	case !s.plaintext():
		s.fail("", textNeedTLS)
	default:
		s.user = name
		s.ok(textName)
	}
	return true
}

// cmdPass takes all after the blank as the password (RFC 1939 7).
func (s *state) cmdPass(password string) bool {
	switch {
	case !s.plaintext():
		s.fail("", textNeedTLS)
	case s.user == "":
		s.fail("", textUserFirst)
	case password == "":
		return false
	default:
		user := s.user
		s.user = ""
		login, err := s.Logins.Password(s.ctx, s.attempt(), user, password)
		s.enter(login, err)
	}
	return true
}

func (s *state) cmdAPOP(arg string) bool {
	if s.timestamp == "" {
		s.fail("", textNoAPOP)
		return true
	}
	i := strings.LastIndexByte(arg, ' ') // names may hold blanks, digests do not
	if i <= 0 {
		return false
	}
	name, digest := strings.TrimSpace(arg[:i]), strings.ToLower(arg[i+1:])
	login, err := s.Logins.APOP(s.ctx, s.attempt(), name, s.timestamp, digest)
	s.enter(login, err)
	return true
}

// cmdAuth is RFC 5034. Without an argument it lists the mechanisms, as RFC 1734's servers did.
func (s *state) cmdAuth(arg string) bool {
	name, initial, hasInitial := strings.Cut(arg, " ")
	offered := s.mechanisms()
	if name == "" {
		s.ok(textMechs)
		s.lines(offered...)
		return true
	}
	x, ok := s.Logins.Begin(s.attempt(), name, offered, s.conn.TLS())
	if !ok {
		if !s.plaintext() && (strings.EqualFold(name, "PLAIN") || strings.EqualFold(name, "LOGIN")) {
			s.fail("", textNeedTLS)
		} else {
			s.fail("", textNoMechanism, quoted(name), strings.Join(offered, " "))
		}
		return true
	}
	defer x.Close()
	s.user = ""
	var response []byte
	switch {
	case hasInitial:
		if response, ok = s.decode(strings.TrimSpace(initial), true); !ok {
			return true
		}
	case x.ClientFirst():
		if response, ok = s.challenge(nil); !ok {
			return true
		}
	}
	for {
		next, login, err := x.Next(s.ctx, response)
		if errors.Is(err, sasl.ErrMalformed) {
			s.fail("", textBadResponse)
			return true
		}
		if err != nil || login != nil {
			s.enter(login, err)
			return true
		}
		if response, ok = s.challenge(next); !ok {
			return true
		}
	}
}

// maxResponse is the longest line of a SASL response (RFC 4954 4: 12288 octets).
const maxResponse = 12288

// challenge sends a challenge and reads the response; ok is false when the exchange is over.
func (s *state) challenge(c []byte) (response []byte, ok bool) {
	s.put("+ " + base64.StdEncoding.EncodeToString(c))
	line, err := s.wire.line(maxResponse, s.patience())
	if err == nil {
		s.wire.tap.InSecret()
	}
	switch {
	case errors.Is(err, errLineTooLong):
		s.fail("", textTooLong, strconv.Itoa(maxResponse))
		return nil, false
	case err != nil:
		s.over = true
		s.readFailed(err)
		return nil, false
	case string(line) == "*":
		s.fail("", textCancelled)
		return nil, false
	}
	return s.decode(string(line), false)
}

// decode reads base64; as an initial response "=" stands for an empty one.
func (s *state) decode(text string, initial bool) ([]byte, bool) {
	if initial && text == "=" {
		return []byte{}, true
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		s.fail("", textBadBase64)
		return nil, false
	}
	return b, true
}

// cmdSTLS is RFC 2595 4: what was sent before the handshake, commands or not, is thrown away.
func (s *state) cmdSTLS() {
	var config *tls.Config
	if s.TLS != nil {
		config = s.TLS()
	}
	switch {
	case s.conn.TLS() != nil:
		s.fail("", textHasTLS)
		return
	case config == nil:
		s.fail("SYS/PERM", textNoTLS)
		return
	}
	s.ok(textBeginTLS)
	if s.wire.w.Flush() != nil {
		return
	}
	s.wire.readWithin(tlsTimeout)
	if err := s.conn.StartTLS(s.ctx, config, tlsTimeout); err != nil {
		s.over, s.how = true, "TLS handshake failed: "+printable(err.Error())
		return
	}
	s.wire.secure(s.conn.Conn)
	s.user = ""
}

// tlsTimeout bounds a handshake.
const tlsTimeout = 30 * time.Second

// enter opens the mailbox after a login, or answers its failure.
func (s *state) enter(login *session.Login, err error) {
	if err != nil {
		s.refuse(err)
		return
	}
	now := s.Clock.Now()
	if wait := s.Holders.TooSoon(login.Account.ID, now, s.opts.LoginDelay); wait > 0 {
		s.fail("LOGIN-DELAY", textTooSoon, strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10))
		return
	}
	hold, other := s.Holders.Acquire(session.Holder{
		Account: login.Account.ID, Address: login.Address, Session: s.conn.ID,
		Protocol: "pop3", Client: s.conn.Client.Addr(), Since: now,
	}, max(s.opts.Sessions, 0), s.wire.abort)
	if hold == nil {
		s.fail("IN-USE", textInUse, other.Client.String(), other.Since.UTC().Format(time.RFC3339), other.Session.String())
		return
	}
	s.hold = hold
	s.conn.SetAccount(login.Account.ID, login.Address) // before what may take a while: the password may be changed meanwhile
	box, ok := s.open(login)
	if !ok {
		s.conn.SetAccount(0, "")
		s.release()
		s.hold = nil
		return
	}
	s.login, s.box = login, box
	s.wire.tap.Account(login.Address)
	s.conn.SetState("logged in")
	n, octets := box.total()
	s.ok(textLoggedIn, printable(login.Address), s.messages(n), strconv.FormatInt(octets, 10))
}

// errNoHomes is of a login that nobody should have let in.
var errNoHomes = errors.New("users of this system have no mailboxes here")

// open locks and lists the mailbox.
func (s *state) open(login *session.Login) (*box, bool) {
	path := login.Account.Mailbox
	s.mailboxes = s.Mailboxes
	if u := login.Account.System; u != nil {
		if s.Homes == nil {
			return nil, s.cannotOpen(errNoHomes)
		}
		var err error
		if s.mailboxes, err = s.Homes(s.ctx, u); err != nil {
			return nil, s.cannotOpen(err)
		}
	}
	if s.opts.Sessions == 1 {
		lock, err := s.mailboxes.Lock(path)
		switch {
		case errors.Is(err, fs.ErrLocked):
			s.fail("IN-USE", textLocked, printable(err.Error()))
			return nil, false
		case err != nil:
			return nil, s.cannotOpen(err)
		case lock != nil:
			s.unlock = func() { _ = lock.Close() } // closing releases in any case
		}
	}
	if err := s.mailboxes.Clean(path); err != nil {
		return nil, s.cannotOpen(err)
	}
	list, err := s.mailboxes.Scan(path)
	if err == nil {
		err = s.mailboxes.Identify(path, list, s.opts.UIDL)
	}
	var unreadable []error
	if err == nil {
		list, unreadable, err = s.mailboxes.Measure(s.ctx, path, list)
	}
	if err != nil {
		return nil, s.cannotOpen(err)
	}
	if n := len(unreadable); n > 0 {
		s.trouble(fmt.Errorf("%d messages are left out: they may not be read: %w", n, unreadable[0]))
	}
	return newBox(path, list), true
}

func (s *state) cannotOpen(err error) bool {
	s.fail("SYS/TEMP", textNoMailbox)
	s.trouble(err)
	return false
}

// trouble tells the operator, and nobody else, of a failure of the disk.
func (s *state) trouble(err error) {
	e := s.event(trace.Service)
	e.Reason, e.Text = string(reason.LocalError.Reason), err.Error()
	s.Recorder.Record(e)
}

func (s *state) cmdLang(arg string) bool {
	switch lang, ok := languageOf(arg); {
	case arg == "":
		s.ok(textLangs)
		list := make([]string, 0, len(languages))
		for _, l := range languages {
			list = append(list, l.tag+" "+l.name)
		}
		s.lines(list...)
	case arg == "*":
		s.lang = s.language
		s.put("+OK " + languages[s.lang].tag + " " + languages[s.lang].name)
	case !ok:
		s.fail("", textNoLanguage, quoted(arg))
	default:
		s.lang = lang
		s.errors = 0
		s.put("+OK " + languages[lang].tag + " " + languages[lang].name)
	}
	return true
}

// cmdCapa is RFC 2449 5, with what holds in this state of the connection.
func (s *state) cmdCapa() {
	s.ok(textCapa)
	list := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER", "LANG"}
	if s.opts.LoginDelay > 0 {
		list = append(list, "LOGIN-DELAY "+strconv.FormatInt(int64(math.Ceil(s.opts.LoginDelay.Seconds())), 10))
	}
	if s.plaintext() {
		list = append(list, "USER")
	}
	if m := s.mechanisms(); len(m) > 0 {
		list = append(list, "SASL "+strings.Join(m, " "))
	}
	if s.conn.TLS() == nil && s.TLS != nil && s.TLS() != nil && s.box == nil {
		list = append(list, "STLS")
	}
	s.lines(append(list, "IMPLEMENTATION Postilion")...)
}

// cmdHelp is for people at a terminal.
func (s *state) cmdHelp() {
	s.ok(textHelp)
	var list []string
	for _, c := range s.table {
		if c.when == always || (c.when == afterLogin) == (s.box != nil) {
			list = append(list, c.usage)
		}
	}
	slices.Sort(list)
	s.lines(list...)
}
