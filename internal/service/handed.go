package service

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
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/serve"
)

// A connection that another program has accepted, tcpserver, inetd or a systemd unit with Accept=yes, is
// handed to the server that runs: the program started for it passes the descriptor over a Unix socket
// and waits until the session has ended. Who the client is the socket tells, not who hands it over; and only
// root and the data folder's owner may.

// handedRoles are the roles that take connections, with the names of their services.
var handedRoles = []Role{SMTPD, Access}

func handedSocket(r Role) string { return string(r) + "-handed" }

// handedSockets are the Unix sockets for it.
func handedSockets() (list []socket) {
	for _, r := range handedRoles {
		list = append(list, socket{Name: handedSocket(r), Role: r, Admin: true})
	}
	return list
}

// handed are connections on their way to a service: a net.Listener of those that were handed over.
type handed struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHanded() *handed { return &handed{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return &net.UnixAddr{Name: "handed over", Net: "unix"} }

// handedConn tells when its session has ended.
type handedConn struct {
	*net.TCPConn
	once  sync.Once
	ended chan struct{}
}

func (c *handedConn) Close() error {
	defer c.once.Do(func() { close(c.ended) })
	return c.TCPConn.Close()
}

// takeHanded serves the socket on which a role's services get connections.
func (p *process) takeHanded(part *part) {
	for _, l := range p.sockets.named(handedSocket(part.role)) {
		part.run = append(part.run, func(ctx context.Context) error {
			return serve.Each(ctx, l, func(c net.Conn) {
				defer c.Close()
				if err := p.hand(ctx, c); err != nil {
					p.log.Warn("a connection was not taken over", "part", part.role, "error", err)
					fmt.Fprintln(c, err)
				}
			})
		})
	}
}

// maxService bounds the name of a service.
const maxService = 64

// hand takes one connection over and returns when its session has ended.
func (p *process) hand(ctx context.Context, c net.Conn) error {
	uid, err := rpc.PeerUID(c)
	if err != nil {
		return err
	}
	if !p.allowAdmin(uid) {
		return fmt.Errorf("uid %d may not hand connections over: want root or the server's own user", uid)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("not a Unix socket")
	}
	u.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer context.AfterFunc(ctx, func() { u.SetReadDeadline(time.Unix(1, 0)) })()
	name, file, err := receiveHanded(u)
	if err != nil {
		return err
	}
	conn, err := net.FileConn(file) // a copy
	file.Close()
	if err != nil {
		return fmt.Errorf("descriptor 0 is no connection: %w", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	h := p.handed[name]
	if !ok || h == nil {
		conn.Close()
		return fmt.Errorf("service %q takes no such connection here", name)
	}
	hc := &handedConn{TCPConn: tcp, ended: make(chan struct{})}
	select {
	case h.conns <- hc:
	case <-h.closed:
		conn.Close()
		return errors.New("the server is stopping")
	case <-ctx.Done():
		conn.Close()
		return errors.New("the server is stopping")
	}
	<-hc.ended
	return nil
}

// receiveHanded reads the name of the service, its length first, and the descriptor beside it.
func receiveHanded(u *net.UnixConn) (name string, file *os.File, err error) {
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

// HandOver gives the connection on a descriptor to a service of the running server and returns when its
// session has ended. The error says what the server did not like.
func HandOver(ctx context.Context, data, service string, connection *os.File) error {
	role, ok := serviceRoles[service]
	if !ok || len(service) > maxService {
		return fmt.Errorf("there is no service %q that takes connections", service)
	}
	conn, err := control.Dial(ctx, data, handedSocket(role))
	if err != nil {
		return err
	}
	defer conn.Close()
	u, ok := conn.(*net.UnixConn)
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
