package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/postilion/postilion/internal/control"
)

// What a restart would listen on is tried beforehand, while the server serves: an address that another program has, or a path
// that is something else's, would keep its successor from coming up. What the server itself holds is free by then.

// Check tells which of the sockets that are wanted could not be bound by who has given up those it has; passed are systemd's.
func Check(want []Socket, have Bound, passed []*os.File) error {
	inherited := map[string]int{}
	for _, f := range passed {
		inherited[f.Name()]++
	}
	var errs []error
	for _, s := range want {
		switch {
		case s.Path != "":
			errs = append(errs, checkSocketPath(s))
		case s.Unix() || have.overlap(s.Address): // whether two of the new ones do has been told by who read the configuration
		case inherited[s.Name] > 0:
			inherited[s.Name]--
		default:
			l, err := net.Listen("tcp", s.Address)
			if err != nil {
				errs = append(errs, explainBind(s, err))
				continue
			}
			l.Close()
		}
	}
	return errors.Join(errs...)
}

// overlap reports whether one of the listeners has the address, or keeps others from it until it is closed.
func (b Bound) overlap(addr string) bool {
	wanted, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || wanted.Port == 0 {
		return false
	}
	all := func(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() } // Go listens to both families on either's
	for _, l := range b {
		a, ok := l.Addr().(*net.TCPAddr)
		if ok && a.Port == wanted.Port && (all(a.IP) || all(wanted.IP) || a.IP.Equal(wanted.IP)) {
			return true
		}
	}
	return false
}

// checkSocketPath tells what keeps a socket from lying where a key says, such as a file that would have to go for it.
func checkSocketPath(s Socket) error {
	key := s.Name + ".socket"
	if s.Name == control.Manage {
		key = "admin.socket"
	}
	st, err := os.Lstat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if st, err := os.Stat(filepath.Dir(s.Path)); err != nil || !st.IsDir() {
			return fmt.Errorf("%s: there is no folder %s for the socket: make it, or change %s", s.Path, filepath.Dir(s.Path), key)
		}
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", key, err)
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there already, and no socket: remove it, or change %s", s.Path, key)
	}
	return nil
}
