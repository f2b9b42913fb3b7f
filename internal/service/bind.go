package service

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/postilion/postilion/internal/control"
)

// socket is one thing that a role listens on.
type socket struct {
	Name    string `json:"name"` // of the service: "smtp"; of a role's seam: "queue"; of its admin socket: "queue-admin"
	Role    Role   `json:"role"`
	Address string `json:"addr,omitempty"`  // of TCP
	Admin   bool   `json:"admin,omitempty"` // a Unix socket that only root and the owner may use
	Open    bool   `json:"open,omitempty"`  // a Unix socket that every user may use
	Path    string `json:"path,omitempty"`  // of a Unix socket outside of the run folder
	For     Role   `json:"for,omitempty"`   // the only role that may use a Unix socket, besides root and the owner
}

// unix reports whether the socket is one of the run folder's.
func (s socket) unix() bool { return s.Address == "" }

// listener is a bound socket.
type listener struct {
	socket
	net.Listener
}

// bound are a process's listeners.
type bound []listener

// named returns the listeners of one name.
func (b bound) named(name string) (list bound) {
	for _, l := range b {
		if l.Name == name {
			list = append(list, l)
		}
	}
	return list
}

func (b bound) close() {
	for _, l := range b {
		l.Close()
	}
}

// bind opens all sockets: those of data's run folder, and TCP ones, for which what systemd
// passed under the same name (LISTEN_FDNAMES) is taken: in place of addresses in their order, and besides them where there are more. Either all are
// bound or none.
func bind(data string, sockets []socket, ids *identities, passed []*os.File) (all bound, err error) {
	inherited, err := passedListeners(passed, sockets)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			all.close()
			all = nil
		}
	}()
	var errs []error
	for _, s := range sockets {
		var l net.Listener
		switch {
		case s.unix():
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
		all = append(all, listener{s, l})
	}
	for i := range all {
		s := all[i].socket
		if s.unix() {
			continue
		}
		for _, l := range inherited[s.Name] {
			s.Address = l.Addr().String()
			all = append(all, listener{s, l})
		}
		delete(inherited, s.Name)
	}
	return all, errors.Join(errs...)
}

func bindUnix(data string, s socket, ids *identities) (net.Listener, error) {
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
	err := control.WithShortPath(path, func(short string) (err error) {
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
		mode, group = 0o660, ids.roles[s.For].GID
	case ids != nil && !s.Admin:
		mode, group = 0o660, ids.run
	}
	if err := errors.Join(os.Chown(path, -1, group), os.Chmod(path, mode)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// explainBind says who holds a port, where the system tells.
func explainBind(s socket, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		who := "another program"
		if pid, name := portHolder(s.Address); pid != "" {
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

// portHolder finds who listens on the address's port, through /proc (proc(5)). Both are ""
// when it cannot be told.
func portHolder(addr string) (pid, name string) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", ""
	}
	inodes := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		p, _ := os.ReadFile(file)
		for line := range strings.Lines(string(p)) {
			f := strings.Fields(line)
			// local address, state 0A (LISTEN), inode
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", atoi(port))) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return "", ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && inodes[target] {
			pid = strings.Split(fd, "/")[2]
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			return pid, strings.TrimSpace(string(comm))
		}
	}
	return "", ""
}

func atoi(s string) (n int) {
	fmt.Sscanf(s, "%d", &n)
	return n
}
