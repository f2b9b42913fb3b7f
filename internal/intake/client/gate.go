package client

import (
	"context"
	"net"
	"sync"

	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/trace"
)

// Gate puts a Checker before a protocol that knows nothing of it, such as POP3. Who is turned away by
// address is closed on before the greeting; where names are needed, the greeting goes out at once, and the
// first read waits for the decision.
type Gate struct {
	serve.Handler
	Checker *Checker
	Role    string
	Events  trace.Recorder
}

// Serve implements serve.Handler.
func (g *Gate) Serve(ctx context.Context, c *serve.Conn) {
	check := g.Checker.Begin(c)
	defer check.End()
	if n := check.Early(); n.Refused() {
		g.refused(c, n)
		if n.Refusal != nil {
			g.Handler.Refuse(c, n.Refusal.Args[0])
		}
		return
	}
	if check != nil && !check.final {
		// Under TLS too: its state is the serve.Conn's, not this connection's.
		c.Conn = &gated{Conn: c.Conn, await: sync.OnceValue(func() bool {
			n := check.Await(c.Context())
			if n.Refused() {
				g.refused(c, n)
			}
			return n.Refused()
		})}
	}
	g.Handler.Serve(ctx, c)
}

func (g *Gate) refused(c *serve.Conn, n Known) {
	if g.Events == nil {
		return
	}
	g.Events.Record(trace.Event{Time: c.Started, Kind: trace.Refused, Role: g.Role, Session: c.ID,
		Client: c.Client.Addr().String(), Host: n.Host, Text: "denied by the access rules: " + n.Rule})
}

// gated is a connection whose first read waits for the decision.
type gated struct {
	net.Conn
	await func() (refused bool)
}

// Read implements net.Conn.
func (g *gated) Read(p []byte) (int, error) {
	if g.await() {
		return 0, net.ErrClosed
	}
	return g.Conn.Read(p)
}

// NetConn returns the connection below.
func (g *gated) NetConn() net.Conn { return g.Conn }
