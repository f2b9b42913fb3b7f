// Package listen binds what the server listens on: TCP addresses, what systemd has bound already, and Unix sockets, which it gives to
// those who may connect. Either everything is bound or nothing, and who has an address that is wanted is told.
package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/unixaddr"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/owners"
)

// Socket is one thing that a role listens on.
type Socket struct {
	Name    string    `json:"name"` // of the service: "smtp"; of a role's seam: "queue"; of its admin socket: "queue-admin"
	Role    role.Role `json:"role"`
	Address string    `json:"addr,omitempty"`  // of TCP
	Admin   bool      `json:"admin,omitempty"` // a Unix socket that only root and the owner may use
	Open    bool      `json:"open,omitempty"`  // a Unix socket that every user may use
	Path    string    `json:"path,omitempty"`  // of a Unix socket outside of the run folder
	For     role.Role `json:"for,omitempty"`   // the only role that may use a Unix socket, besides root and the owner
}

// Unix reports whether the socket is one of the run folder's.
func (s Socket) Unix() bool { return s.Address == "" }

// Listener is a bound socket.
type Listener struct {
	Socket
	net.Listener
}

// Bound are a process's listeners.
type Bound []Listener

// Named returns the listeners of one name.
func (b Bound) Named(name string) (list Bound) {
	for _, l := range b {
		if l.Name == name {
			list = append(list, l)
		}
	}
	return list
}

// Close closes all of them.
func (b Bound) Close() {
	for _, l := range b {
		l.Close()
	}
}

// Bind opens all sockets: those of data's run folder, and TCP ones, for which what systemd
// passed under the same name (LISTEN_FDNAMES) is taken: in place of addresses in their order, and besides them where there are more. Either all are
// bound or none.
func Bind(data string, sockets []Socket, ids *owners.IDs, passed []*os.File) (all Bound, err error) {
	inherited, err := passedListeners(passed, sockets)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			all.Close()
			all = nil
		}
	}()
	var errs []error
	for _, s := range sockets {
		var l net.Listener
		switch {
		case s.Unix():
			l, err = bindUnix(data, s, ids)
		case len(inherited[s.Name]) > 0:
			l, inherited[s.Name] = inherited[s.Name][0], inherited[s.Name][1:]
		default:
			l, err = net.Listen("tcp", s.Address)
			if err != nil {
				err = explainBind(s, err)
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, Listener{s, l})
	}
	for i := range all {
		s := all[i].Socket
		if s.Unix() {
			continue
		}
		for _, l := range inherited[s.Name] {
			s.Address = l.Addr().String()
			all = append(all, Listener{s, l})
		}
		delete(inherited, s.Name)
	}
	return all, errors.Join(errs...)
}

func bindUnix(data string, s Socket, ids *owners.IDs) (net.Listener, error) {
	path := control.SocketPath(data, s.Name)
	if s.Path != "" {
		path = s.Path
		if err := checkSocketPath(s); err != nil {
			return nil, err
		}
	}
	// The folder's lock is held: a socket that is there belongs to nobody.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l *net.UnixListener
	err := unixaddr.Fit(path, func(short string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	mode, group := fs.FileMode(0o600), -1
	switch {
	case s.Open:
		mode = 0o666
	case ids != nil && s.For != "":
		mode, group = 0o660, ids.Of(s.For).GID
	case ids != nil && !s.Admin:
		mode, group = 0o660, ids.Run
	}
	if err := errors.Join(os.Chown(path, -1, group), os.Chmod(path, mode)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// explainBind says who holds a port, where the system tells.
func explainBind(s Socket, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		who := "another program"
		if pid, name := netx.PortHolder(s.Address); pid != "" {
			who = fmt.Sprintf("process %s (%s)", pid, name)
		}
		return fmt.Errorf("%s: %s is in use by %s; stop it, or change %s.listen", s.Name, s.Address, who, s.Name)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: %s: ports below 1024 need root, or systemd's socket activation; change %s.listen", s.Name, s.Address, s.Name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s is no address of this host; change %s.listen", s.Name, s.Address, s.Name)
	}
	return fmt.Errorf("%s: %w", s.Name, err)
}

// LetGo closes a listener, whose address can still be asked, and returns a descriptor of its socket for others. It is one that
// this process's poller does not know: else every client of theirs would wake this process too.
func LetGo(l net.Listener) (*os.File, error) {
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	err2 := raw.Control(func(known uintptr) {
		if fd, err = unix.FcntlInt(known, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, false) // what blocks is not polled; who takes it over sets it back
		}
	})
	if err := errors.Join(err, err2, l.Close()); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.Addr().String()), nil
}

// Inherit takes over listeners that another process has passed, on descriptors from first on.
func Inherit(first int, sockets []Socket) (all Bound, err error) {
	for i, s := range sockets {
		f := os.NewFile(uintptr(first+i), s.Name)
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			all.Close()
			return nil, fmt.Errorf("listener %s: %w", s.Name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		all = append(all, Listener{s, l})
	}
	return all, nil
}
