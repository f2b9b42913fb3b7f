package control

// The gate is the socket of those who are not the server's owner: every user of this host may dial it. Until a
// peer has logged in it can do nothing but that, once, in little time; afterwards it has the handlers that its
// login gives it. Connections are bounded in all and of each user, so that nobody takes it from the others. The
// owner's verbs have sockets of their own and never wait for it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"time"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/serve"
)

// Manage is the gate's socket.
const Manage = "manage"

// Methods of the gate itself.
const (
	MethodLogin = "manage.login" // a Login, which LoggedIn answers
	methodAlive = "manage.alive" // before a login: nothing but the answer, see GateAlive
)

// Login is who wants in. What it says goes as bytes: a string that is not UTF-8 would not survive JSON.
type Login struct {
	User     []byte `json:"user"`
	Password []byte `json:"password"`
}

// LoggedIn tells who somebody is found to be.
type LoggedIn struct {
	Address string `json:"address"`
}

// maxLogin bounds a login's bytes: RFC 4616's user and password with room for JSON.
const maxLogin = 8 << 10

// GateOptions are the gate's. Zero values mean the defaults.
type GateOptions struct {
	Socket         string        `toml:"socket" doc:"a further path of the socket by which administrators of domains and owners of accounts manage what is theirs (--as), beside run/manage.sock of the data folder: for users who cannot reach that one" example:"/run/postilion/manage.sock"`
	MaxConnections int           `toml:"max_connections" default:"64" doc:"connections at the same time in all; more get a temporary answer" example:"200"`
	MaxPerUser     int           `toml:"max_per_user" default:"8" doc:"connections at the same time of one user of this host, root excepted" example:"2"`
	LoginTimeout   time.Duration `toml:"login_timeout" default:"10s" doc:"time to log in" example:"5s"`
	IdleTimeout    time.Duration `toml:"idle_timeout" default:"5m" doc:"time between two commands, such as a question that waits for its answer" example:"1m"`
	TotalTimeout   time.Duration `toml:"total_timeout" default:"30m" doc:"time of a whole connection" example:"5m"`
}

// Validate names every wrong option.
func (o GateOptions) Validate() error { return o.fill() }

func (o *GateOptions) fill() error {
	var errs []error
	if o.Socket != "" && o.Socket[0] != '/' {
		errs = append(errs, fmt.Errorf("socket: %q: want an absolute path", o.Socket))
	}
	for _, n := range []struct {
		name string
		v    *int
		def  int
	}{{"max_connections", &o.MaxConnections, 64}, {"max_per_user", &o.MaxPerUser, 8}} {
		if *n.v < 0 {
			errs = append(errs, fmt.Errorf("%s: %d: want a number that is not negative", n.name, *n.v))
		} else if *n.v == 0 {
			*n.v = n.def
		}
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{{"login_timeout", &o.LoginTimeout, 10 * time.Second}, {"idle_timeout", &o.IdleTimeout, 5 * time.Minute}, {"total_timeout", &o.TotalTimeout, 30 * time.Minute}} {
		if *d.v < 0 {
			errs = append(errs, fmt.Errorf("%s: %v: want a duration that is not negative", d.name, *d.v))
		} else if *d.v == 0 {
			*d.v = d.def
		}
	}
	return errors.Join(errs...)
}

// Gate serves it.
type Gate struct {
	o GateOptions
	// login checks who somebody is and returns what it can call.
	login func(ctx context.Context, uid uint32, l Login) (LoggedIn, map[string]rpc.Handler, error)
	log   *slog.Logger
	conns serve.Shares
}

// NewGate returns a Gate. login is called with the peer's uid, as the kernel tells it; its error ends the connection.
func NewGate(o GateOptions, log *slog.Logger, login func(ctx context.Context, uid uint32, l Login) (LoggedIn, map[string]rpc.Handler, error)) (*Gate, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	return &Gate{o: o, login: login, log: log}, nil
}

// Serve accepts connections until ctx ends, then closes l and the connections, and returns nil once their
// calls have ended.
func (g *Gate) Serve(ctx context.Context, l net.Listener) error {
	return serve.Each(ctx, l, func(nc net.Conn) {
		defer nc.Close()
		uid, err := rpc.PeerUID(nc)
		if err == nil {
			err = g.enter(uid)
		}
		if err != nil {
			nc.SetWriteDeadline(time.Now().Add(time.Second))
			rpc.Refuse(nc, err) // a peer that does not read it sees the end
			return
		}
		defer g.conns.Give(uid, 1)
		g.serve(ctx, nc, uid)
	})
}

// enter counts a connection in.
func (g *Gate) enter(uid uint32) error {
	switch g.conns.Take(uid, 1, int64(g.o.MaxConnections), int64(g.o.MaxPerUser)) {
	case serve.ErrSpent:
		return reason.AdminBusy
	case serve.ErrUserSpent:
		return reason.AdminUserBusy
	}
	return nil
}

// serve serves one connection: its first call is the login.
func (g *Gate) serve(ctx context.Context, nc net.Conn, uid uint32) {
	ctx, cancel := context.WithTimeout(ctx, g.o.TotalTimeout)
	defer cancel()
	c := &gateConn{Conn: nc, idle: g.o.LoginTimeout, end: time.Now().Add(min(g.o.LoginTimeout, g.o.TotalTimeout))}
	handlers := map[string]rpc.Handler{ // of this connection, whose calls come one after the other
		methodAlive: func(context.Context, *rpc.Conn, []byte) ([]byte, error) { return nil, nil },
	}
	handlers[MethodLogin] = func(ctx context.Context, _ *rpc.Conn, request []byte) ([]byte, error) {
		delete(handlers, MethodLogin)
		var l Login
		if len(request) > maxLogin {
			return nil, reason.AdminLogin
		}
		if err := json.Unmarshal(request, &l); err != nil {
			return nil, reason.AdminLogin.Because(err)
		}
		who, more, err := g.login(ctx, uid, l)
		if err != nil {
			return nil, err
		}
		maps.Copy(handlers, more)
		c.idle, c.end = g.o.IdleTimeout, time.Now().Add(g.o.TotalTimeout)
		return json.Marshal(who)
	}
	server := &rpc.Server{Handlers: handlers}
	if err := server.ServeConn(ctx, c); err != nil {
		g.log.Debug("a connection for management ended", "uid", uid, "error", err)
	}
}

// gateConn bounds how long a peer may take.
type gateConn struct {
	net.Conn
	idle time.Duration
	end  time.Time
}

// writeWithin is how long a peer may take to read what it asked for.
const writeWithin = time.Minute

// Read implements net.Conn.
func (c *gateConn) Read(p []byte) (int, error) {
	until := time.Now().Add(c.idle)
	if c.end.Before(until) {
		until = c.end
	}
	c.Conn.SetReadDeadline(until)
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *gateConn) Write(p []byte) (int, error) {
	c.Conn.SetWriteDeadline(time.Now().Add(writeWithin))
	return c.Conn.Write(p)
}

// DialAs returns a client of a running server's gate, each of whose connections logs in first. path is the
// socket's, "" for the data folder's own.
func DialAs(data, path string, l Login) func(ctx context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		nc, err := dialGate(ctx, data, path)
		if err != nil {
			return nil, err
		}
		once := &rpc.Client{Dial: func(context.Context) (net.Conn, error) { return nc, nil }}
		if _, err := rpc.Do[Login, LoggedIn](ctx, once, MethodLogin, l); err != nil {
			nc.Close()
			return nil, err
		}
		return nc, nil
	}
}

// GateAlive returns once the gate that DialAs would dial has answered, nil also where it was a refusal, or with ctx's
// error when it has not.
func GateAlive(ctx context.Context, data, path string) error {
	cl := &rpc.Client{Dial: func(ctx context.Context) (net.Conn, error) { return dialGate(ctx, data, path) }}
	defer cl.Close()
	cl.Call(ctx, methodAlive, nil)
	return ctx.Err()
}

func dialGate(ctx context.Context, data, path string) (net.Conn, error) {
	if path == "" {
		return Dial(ctx, data, Manage)
	}
	return new(net.Dialer).DialContext(ctx, "unix", path)
}
