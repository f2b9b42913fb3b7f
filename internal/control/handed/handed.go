// Package handed is how a connection that another program has accepted, tcpserver, inetd or a systemd unit with Accept=yes, gets to the
// server that runs: the program started for it passes the descriptor over a Unix socket of the role and waits until the session
// has ended. Who the client is the socket tells, not who hands it over; and only root and the data folder's owner may.
package handed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/serve"
)

// Listener has connections on their way to a service: a net.Listener of those that were handed over.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewListener returns a Listener that nothing was handed to yet.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (h *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *Listener) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "handed over", Net: "unix"} }

// conn tells when its session has ended.
type conn struct {
	*net.TCPConn
	once  sync.Once
	ended chan struct{}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.once.Do(func() { close(c.ended) })
	return c.TCPConn.Close()
}

// maxService bounds the name of a service.
const maxService = 64

// Server takes connections over on a role's socket for them.
type Server struct {
	Allow    func(uid uint32) bool // who may hand over
	Services map[string]*Listener  // by name
	Refused  func(error)           // is told why one was not taken
}

// Serve works until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return serve.Each(ctx, l, func(c net.Conn) {
		defer c.Close()
		if err := s.take(ctx, c); err != nil {
			s.Refused(err)
			fmt.Fprintln(c, err)
		}
	})
}

// take takes one connection over and returns when its session has ended.
func (s *Server) take(ctx context.Context, c net.Conn) error {
	uid, err := rpc.PeerUID(c)
	if err != nil {
		return err
	}
	if !s.Allow(uid) {
		return fmt.Errorf("uid %d may not hand connections over: want root or the server's own user", uid)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("not a Unix socket")
	}
	u.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer context.AfterFunc(ctx, func() { u.SetReadDeadline(time.Unix(1, 0)) })()
	name, file, err := receive(u)
	if err != nil {
		return err
	}
	nc, err := net.FileConn(file) // a copy
	file.Close()
	if err != nil {
		return fmt.Errorf("descriptor 0 is no connection: %w", err)
	}
	tcp, ok := nc.(*net.TCPConn)
	h := s.Services[name]
	if !ok || h == nil {
		nc.Close()
		return fmt.Errorf("service %q takes no such connection here", name)
	}
	hc := &conn{TCPConn: tcp, ended: make(chan struct{})}
	select {
	case h.conns <- hc:
	case <-h.closed:
		nc.Close()
		return errors.New("the server is stopping")
	case <-ctx.Done():
		nc.Close()
		return errors.New("the server is stopping")
	}
	<-hc.ended
	return nil
}

// receive reads the name of the service, its length first, and the descriptor beside it.
func receive(u *net.UnixConn) (name string, file *os.File, err error) {
	buf, oob := make([]byte, 1+maxService), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := u.ReadMsgUnix(buf, oob)
	if err != nil {
		return "", nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return "", nil, errors.New("the program that hands over sent no connection: want a descriptor with its first bytes")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return "", nil, errors.New("the program that hands over sent no connection: want a descriptor with its first bytes")
	}
	unix.CloseOnExec(fds[0])
	for _, fd := range fds[1:] {
		unix.Close(fd)
	}
	file = os.NewFile(uintptr(fds[0]), "connection")
	if n < 1 || int(buf[0]) != n-1 {
		file.Close()
		return "", nil, errors.New("the program that hands over sent no name of a service: want one such as smtp")
	}
	return string(buf[1:n]), file, nil
}

// Over gives the connection on a descriptor to a service of the running server and returns when its
// session has ended. The error says what the server did not like.
func Over(ctx context.Context, data, service string, connection *os.File) error {
	r, ok := role.Serving(service)
	if !ok || len(service) > maxService {
		return fmt.Errorf("there is no service %q that takes connections", service)
	}
	nc, err := control.Dial(ctx, data, r.HandedSocket())
	if err != nil {
		return err
	}
	defer nc.Close()
	u, ok := nc.(*net.UnixConn)
	if !ok {
		return errors.New("not a Unix socket")
	}
	if _, err := unix.Getpeername(int(connection.Fd())); err != nil {
		return fmt.Errorf("descriptor 0 is no connection (%w): start this by tcpserver, inetd, or a systemd socket with Accept=yes", err)
	}
	message := append([]byte{byte(len(service))}, service...)
	if _, _, err := u.WriteMsgUnix(message, unix.UnixRights(int(connection.Fd())), nil); err != nil {
		return err
	}
	connection.Close() // the server's copies are the only ones now: their end is the client's
	said, err := io.ReadAll(io.LimitReader(u, 4096))
	if len(said) > 0 {
		return errors.New(string(said[:len(said)-1]))
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	return nil
}
