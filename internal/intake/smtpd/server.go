package smtpd

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

// Deps are what a Server works with. Submit is needed.
type Deps struct {
	Submit *submit.Submitter
	Auth   auth.Service // nil: AUTH is not offered
	// TLS returns the configuration of STARTTLS for the next handshake, nil while there is none. A nil
	// function: STARTTLS is not offered.
	TLS    func() *tls.Config
	Events trace.Recorder // nil forgets
	Clock  clock.Clock    // nil is the system's
	// Busy returns an error while the load is too high to serve; see policy.Floors. nil never does.
	Busy func() error
	// ETRN starts the delivery of what waits for a domain (RFC 1985), where the client may ask for it,
	// and tells how many messages that is, -1 when it is not known. nil: not offered.
	ETRN func(ctx context.Context, who *submit.Source, domain string) (waiting int, err error)
	// Record writes dialogues down on demand; nil never does.
	Record *record.Book
	// Clients tells what is known of a client; nil for nothing.
	Clients *client.Checker
}

// Server speaks SMTP or LMTP on a listener's connections. It is a serve.Handler, safe for
// concurrent use.
type Server struct {
	o     Options
	d     Deps
	role  string
	words words

	// Buffers that sessions hold only while they have something in them.
	out      sync.Pool
	in       [len(sizes)]sync.Pool
	buffered atomic.Int64 // bytes of in that sessions hold
	arrivals arrivals
}

// sizes of input buffers, of which a session at rest holds the first. Command lines find room in the
// second; messages come through the third, and through the last once they have filled that.
var sizes = [...]int{512, 4 << 10, 16 << 10, 128 << 10}

const (
	atRest = iota
	forLine
	forMessage
	forLarge
)

// outBuffer is the size that answers are gathered in.
const outBuffer = 1 << 10

// New returns a Server. The error names the wrong option.
func New(o Options, d Deps) (*Server, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if d.Events == nil {
		d.Events = trace.Discard
	}
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
	s := &Server{o: o, d: d, words: newWords(&o), role: map[Mode]string{Receive: "smtp", Submission: "submission", LMTP: "lmtp", Local: "inject"}[o.Mode]}
	s.out.New = newBuffer(outBuffer)
	for i, size := range sizes {
		s.in[i].New = newBuffer(size)
	}
	return s, nil
}

func newBuffer(size int) func() any {
	return func() any { b := make([]byte, size); return &b }
}

// Refuse answers a client over a limit: serve.Handler.
func (s *Server) Refuse(c *serve.Conn, why string) {
	c.Write(s.appendRefusal(nil, reason.OverLimit.With(smtp.Text(why, 200))))
}

// Serve talks with one client: serve.Handler.
func (s *Server) Serve(ctx context.Context, c *serve.Conn) {
	newSession(s, c).serve(ctx)
}
