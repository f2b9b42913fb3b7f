// Package serve is the listener core of SMTP, LMTP, POP3 and IMAP: accepting with
// back-off, limits in all and per client, the PROXY protocol, TLS, the table of
// connections, and a graceful stop. Protocols are Handlers.
package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/postilion/postilion/internal/id"
)

// A Handler speaks one protocol on accepted connections.
type Handler interface {
	// Serve talks on c until the session ends, and closes nothing: the server closes c. When
	// ctx ends the server is stopping: finish the command at hand, say so, return.
	Serve(ctx context.Context, c *Conn)
	// Refuse writes the protocol's temporary answer to a client over a limit, in at most one
	// write; the server then closes c. why is one of the Over constants or a block's reason.
	Refuse(c *Conn, why string)
}

// Why a connection is refused.
const (
	OverAll    = "too many connections"
	OverClient = "too many connections from your address"
	OverRate   = "your address connects too often"
)

// Conn is a client's connection. The embedded net.Conn is the plain or the TLS
// one, whichever is current; replace it only through StartTLS.
type Conn struct {
	net.Conn
	ID       id.ID          // the session's
	Listener string         // the listener's name, such as "submission"
	Client   netip.AddrPort // the client, through the PROXY protocol where a trusted proxy spoke it
	Server   netip.AddrPort // the address the client connected to
	Started  time.Time
	// Invoked is who runs the program of this host at the other end, as qmail-queue words it: "by uid
	// 1000"; "" for clients of the network. PID is the program's.
	Invoked string
	PID     int

	ctx   context.Context    // ends with abort or the session; nil in tests of protocols
	end   context.CancelFunc // of ctx
	raw   net.Conn           // the socket below; nil in tests of protocols
	tls   *tls.Conn          // nil without TLS
	entry *entry             // nil outside a Server
}

// abort ends the connection from outside, whatever its session is doing.
func (c *Conn) abort() {
	c.end()
	c.raw.Close()
}

// Context is for what a session waits for besides its client. Unlike that of Handler.Serve it does
// not end when the server begins to stop, but when the connection is ended from outside.
func (c *Conn) Context() context.Context {
	if c.ctx == nil {
		return context.Background()
	}
	return c.ctx
}

// StartTLS takes the server's side of a handshake within timeout and switches the
// connection over. The caller must have discarded everything read before. After an error of the handshake the connection is of no
// more use.
func (c *Conn) StartTLS(ctx context.Context, config *tls.Config, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t := tls.Server(c.Conn, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.Conn, c.tls = t, t
	return nil
}

// TLS returns the TLS session's state, or nil without TLS.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.tls == nil {
		return nil
	}
	s := c.tls.ConnectionState()
	return &s
}

// SetAccount tells the table of connections who logged in: the account's id and address; 0 and "" for nobody.
func (c *Conn) SetAccount(account uint64, address string) {
	if c.entry != nil {
		c.entry.login.Store(&login{account, address})
	}
}

// SetState tells the table of connections what the session is doing, in a word or two.
func (c *Conn) SetState(state string) {
	if c.entry != nil {
		c.entry.state.Store(&state)
	}
}
