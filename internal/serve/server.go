package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/workers"
)

// Options are the limits of one listener. Zero values mean the defaults.
type Options struct {
	MaxConnections int           `toml:"max_connections" default:"20000" doc:"connections at the same time in all; more get a temporary answer" example:"1000"`
	MaxPerClient   int           `toml:"max_per_client" default:"200" doc:"connections at the same time from one IPv4 address or IPv6 /64" example:"40"`
	ConnectionRate int           `toml:"connection_rate" default:"0" unit:"connections a minute" doc:"new connections a minute from one client; 0 is no limit" example:"200"`
	Exempt         []string      `toml:"exempt" doc:"addresses and ranges that the limits per client do not count" example:"[\"192.0.2.0/24\"]"`
	ProxyFrom      []string      `toml:"proxy_from" doc:"addresses and ranges of proxies, which must begin each connection with a PROXY protocol header, version 1 or 2" example:"[\"192.0.2.10\"]"`
	TLSTimeout     time.Duration `toml:"tls_timeout" default:"30s" doc:"time for a TLS handshake or a PROXY header" example:"10s"`
	StopTimeout    time.Duration `toml:"stop_timeout" default:"10s" doc:"time that sessions are given to end when the server stops" example:"1m"`

	exemptNets, proxyNets []netip.Prefix
}

func (o *Options) maxConnections() int        { return cmp.Or(o.MaxConnections, 20000) }
func (o *Options) maxPerClient() int          { return cmp.Or(o.MaxPerClient, 200) }
func (o *Options) tlsTimeout() time.Duration  { return cmp.Or(o.TLSTimeout, 30*time.Second) }
func (o *Options) stopTimeout() time.Duration { return cmp.Or(o.StopTimeout, 10*time.Second) }

// Validate checks and prepares the options. The error joins one for each wrong key.
func (o *Options) Validate() (err error) {
	var errs []error
	if o.exemptNets, err = ParsePrefixes(o.Exempt); err != nil {
		errs = append(errs, fmt.Errorf("exempt: %w", err))
	}
	if o.proxyNets, err = ParsePrefixes(o.ProxyFrom); err != nil {
		errs = append(errs, fmt.Errorf("proxy_from: %w", err))
	}
	return errors.Join(errs...)
}

func (o *Options) exempt(a netip.Addr) bool { return contains(o.exemptNets, a) }
func (o *Options) proxy(a netip.Addr) bool  { return contains(o.proxyNets, a) }

// Server accepts connections for one Handler. Fields are set before Serve.
type Server struct {
	Name    string // the listener's name, such as "submission"
	Handler Handler
	Options Options
	TLS     *tls.Config // TLS from the first byte; nil without
	Table   *Table      // shared with other servers; nil for one of its own
	IDs     id.Source
	Clock   clock.Clock // nil is the system's
	Log     *slog.Logger
	// Admit decides about a client before it is greeted: "" lets it in, anything else
	// is the why of Handler.Refuse. nil lets all in. It must not block.
	Admit func(client netip.Addr) (why string)
	// Refused is told of clients that were turned away. nil forgets.
	Refused func(c *Conn, why string)

	here atomic.Int64 // connections of this server
}

// Serve accepts connections on l until ctx ends, then closes l, waits up to
// Options.StopTimeout for the sessions, closes the rest and returns nil. Trouble with
// accepting, such as no descriptors left, is waited out, never fatal.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := s.Options.Validate(); err != nil {
		return err
	}
	if s.Table == nil {
		s.Table = new(Table)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var sessions workers.Pool
	var delay time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			s.drain(&sessions)
			return nil
		case errors.Is(err, net.ErrClosed):
			s.drain(&sessions)
			return err
		case err != nil:
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.log().Warn("accept failed, waiting", "listener", s.Name, "error", err, "delay", delay)
			select {
			case <-time.After(delay):
			case <-ctx.Done():
			}
			continue
		}
		delay = 0
		s.begin(ctx, nc, &sessions)
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Server) now() time.Time {
	if s.Clock != nil {
		return s.Clock.Now()
	}
	return time.Now()
}

// begin checks what can be checked without reading and starts the session.
func (s *Server) begin(ctx context.Context, nc net.Conn, sessions *workers.Pool) {
	c := &Conn{
		Conn: newSocket(nc), raw: nc, ID: s.IDs.New(), Listener: s.Name, Started: s.now(),
		Client: addrPort(nc.RemoteAddr()), Server: addrPort(nc.LocalAddr()),
	}
	c.ctx, c.end = context.WithCancel(context.WithoutCancel(ctx))
	if s.Options.proxy(c.Client.Addr()) {
		// Who the client is comes with the header: counted after it has been read.
		sessions.Go(func() { s.behindProxy(ctx, c) })
		return
	}
	if !s.enter(c) {
		nc.Close()
		return
	}
	sessions.Go(func() { s.session(ctx, c) })
}

// enter counts the connection in, or refuses it and returns false.
func (s *Server) enter(c *Conn) bool {
	why := ""
	if s.Admit != nil {
		why = s.Admit(c.Client.Addr())
	}
	if why == "" {
		c.entry, why = s.Table.enter(c, &s.Options, &s.here, s.now())
	}
	if why == "" {
		return true
	}
	if s.Refused != nil {
		s.Refused(c, why)
	}
	if s.TLS == nil {
		// An empty send buffer takes the answer at once; a client that plays tricks gets none.
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		s.Handler.Refuse(c, why)
	}
	return false
}

func (s *Server) behindProxy(ctx context.Context, c *Conn) {
	stop := context.AfterFunc(ctx, c.abort)
	c.SetReadDeadline(time.Now().Add(s.Options.tlsTimeout()))
	err := c.readProxyHeader()
	stop()
	if err != nil {
		s.log().Warn("bad PROXY header", "listener", s.Name, "proxy", c.Client, "error", err)
		c.raw.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	if !s.enter(c) {
		c.raw.Close()
		return
	}
	s.session(ctx, c)
}

func (s *Server) session(ctx context.Context, c *Conn) {
	defer s.Table.leave(c.entry, &s.here)
	defer c.end()
	// Not c.Close: TLS may have begun by then, and its end must be told to the client.
	defer func() {
		if c.tls == nil {
			linger(ctx, c.raw)
		}
		c.Conn.Close()
	}()
	defer func() {
		// A protocol's bug must not end the other sessions.
		if p := recover(); p != nil {
			s.log().Error("session panicked", "listener", s.Name, "session", c.ID, "panic", p, "stack", stack())
		}
	}()
	if s.TLS != nil {
		if err := c.StartTLS(ctx, s.TLS, s.Options.tlsTimeout()); err != nil {
			s.log().Debug("TLS handshake failed", "listener", s.Name, "client", c.Client, "error", err)
			return
		}
	}
	s.Handler.Serve(ctx, c)
}

// drain waits for the sessions, then closes what is left of this server's.
func (s *Server) drain(sessions *workers.Pool) {
	sessions.Close()
	done := make(chan struct{})
	go func() { sessions.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(s.Options.stopTimeout()):
	}
	n := s.Table.Close(func(c Connection) bool { return c.Listener == s.Name })
	s.log().Info("sessions closed at stop", "listener", s.Name, "count", n)
	<-done
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{} // a Unix socket
}
