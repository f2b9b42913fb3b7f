package remote

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/smtp"
)

// Times that are no options, being about the end of a session.
const (
	quitTimeout  = 2 * time.Second // for QUIT to leave; its reply is not waited for
	graceTimeout = 5 * time.Second // for the reply to the content when the attempt is interrupted
	lateTimeout  = 5 * time.Second // for the reply of a server that stopped reading the content
)

// session is a connection that has been greeted, and protected and logged in as its key asks.
// It is used by one goroutine; interrupt alone may come from another one.
type session struct {
	t      *Target
	key    poolKey
	conn   net.Conn
	in     *bufio.Reader
	out    []byte // commands not yet sent
	host   string // the exchanger's name
	addr   netip.AddrPort
	offer  smtp.Offer
	tls    string // describes the protection, see deliver.Verdict
	plain  string // why there is none though the other side offered it
	remark string // why the domain's MTA-STS policy could not be had
	qmtp   bool   // it speaks QMTP
	equals bool   // other exchangers have the same preference

	rec *record.Tap // writes the dialogue of this attempt down where an operator wants it; else nil

	messages int
	reused   bool // it came out of the pool and has not yet answered
	tainted  bool // an interruption came too late to be told apart: use no further
	reset    bool // a transaction was left open: RSET comes before the next MAIL
	timer    *time.Timer

	tap    func(line string) // is told the dialogue of the message at hand; nil mostly
	secret bool              // what is sent next is a password

	mu          sync.Mutex
	interrupted bool
	sent        bool // the whole content is under way: its reply is worth a short wait
}

// errInterrupted is the error of I/O after the attempt's context ended.
var errInterrupted = errors.New("the attempt was interrupted")

func (t *Target) newSession(key poolKey, conn net.Conn, h *host, addr netip.AddrPort) *session {
	return &session{t: t, key: key, conn: conn, in: bufio.NewReaderSize(conn, smtp.MaxReplyLine), host: h.name, addr: addr}
}

// watch interrupts the session's I/O when ctx ends, until the returned function is called.
func (s *session) watch(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	cancel := context.AfterFunc(ctx, s.interrupt)
	return func() {
		if !cancel() {
			s.tainted = true
		}
	}
}

func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	if s.sent {
		s.conn.SetDeadline(time.Now().Add(graceTimeout))
	} else {
		s.conn.SetDeadline(time.Unix(1, 0))
	}
}

// arm bounds the next I/O.
func (s *session) arm(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.interrupted:
		s.conn.SetDeadline(time.Now().Add(d))
	case s.sent:
		s.conn.SetDeadline(time.Now().Add(min(d, graceTimeout)))
	}
}

// setSent tells interrupt whether the content is under way.
func (s *session) setSent(sent bool) {
	s.mu.Lock()
	s.sent = sent
	s.mu.Unlock()
}

// broken returns the cause of an I/O error.
func (s *session) broken(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupted {
		return errInterrupted
	}
	return err
}

// flush sends the gathered commands in one write.
func (s *session) flush() error {
	if s.tap != nil {
		s.tell(s.out)
	}
	_, err := s.conn.Write(s.out)
	if s.secret {
		s.rec.OutSecret()
	} else {
		s.rec.Out(s.out)
	}
	s.out = s.out[:0]
	return err
}

// reply sends what is gathered and reads the next reply within d.
func (s *session) reply(d time.Duration) (smtp.Reply, error) {
	s.arm(d)
	if len(s.out) > 0 {
		if err := s.flush(); err != nil {
			return smtp.Reply{}, s.broken(err)
		}
	}
	r, err := smtp.ReadReply(s.in)
	if err != nil {
		return r, s.broken(err)
	}
	if s.rec != nil {
		s.rec.In([]byte(r.Verbatim(maxRemote) + "\n"))
	}
	if s.tap != nil {
		for line := range strings.SplitSeq(r.Verbatim(maxRemote), "\n") {
			s.tap("<<< " + clean(line))
		}
	}
	return r, nil
}

// recorded begins to write the dialogue of an attempt down, where somebody wants it.
func (a *attempt) recorded(s *session) *session {
	if s.rec = a.t.deps.Record.Begin("remote", a.job.Attempt, s.addr.Addr()); s.rec != nil {
		s.rec.Account(a.job.Envelope.Account)
		for _, i := range a.pending {
			s.rec.To(a.to(i).String())
		}
	}
	return s
}

// tell passes the commands on that are about to be sent.
func (s *session) tell(out []byte) {
	if s.secret {
		s.tap(">>> (a password)")
		return
	}
	for line := range strings.Lines(string(out)) {
		s.tap(">>> " + clean(strings.TrimRight(line, "\r\n")))
	}
}

// command sends one command and reads its reply within d.
func (s *session) command(d time.Duration, line string) (smtp.Reply, error) {
	s.out = append(append(s.out, line...), '\r', '\n')
	return s.reply(d)
}

// worn reports whether the connection has carried enough messages.
func (s *session) worn() bool {
	most := s.t.o.MaxMessages
	if n := s.offer.MaxMessages; n > 0 {
		most = min(most, n)
	}
	return s.messages >= most
}

// quit says good-bye and closes; the reply is not waited for.
func (s *session) quit() {
	if s.qmtp {
		s.close()
		return
	}
	s.conn.SetDeadline(time.Now().Add(quitTimeout))
	_, _ = s.conn.Write([]byte("QUIT\r\n"))
	s.close()
}

func (s *session) close() { s.conn.Close() }
