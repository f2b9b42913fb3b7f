package supervisor

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/qmail/supervise"
	"github.com/postilion/postilion/internal/role"
)

// Single roles are commanded as services of daemontools are (svc(8), qmail reference 21.2): by the
// program's verbs, and through the folder service/ROLE of the data folder, in which svstat, svok and svc
// find what they know from supervise(8).

// Obey does to one role what a command says. What a service alone could have is no error.
func (s *Supervisor) Obey(r role.Role, cmd supervise.Command) error {
	return s.direct(r, func(c *child) (signals []syscall.Signal) {
		switch cmd {
		case supervise.Up:
			c.want, c.short = cmd, 0
		case supervise.Stop:
			c.want, c.once, c.paused = cmd, false, false
			signals = []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT}
		case supervise.Once:
			c.want, c.once = cmd, c.cmd == nil
		case supervise.Pause:
			c.paused = c.cmd != nil
			signals = []syscall.Signal{syscall.SIGSTOP}
		case supervise.Continue:
			c.paused = false
			signals = []syscall.Signal{syscall.SIGCONT}
		case supervise.Terminate:
			c.asked = c.cmd != nil
			signals = []syscall.Signal{syscall.SIGTERM}
		default:
			if signal, ok := plainSignals[cmd]; ok {
				signals = []syscall.Signal{signal}
			}
		}
		s.tell(c)
		return signals
	})
}

// plainSignals are the commands that are a signal and nothing more. A role's process takes HUP and
// ALRM for nothing.
var plainSignals = map[supervise.Command]syscall.Signal{
	supervise.Hangup: syscall.SIGHUP, supervise.Interrupt: syscall.SIGINT, supervise.Kill: syscall.SIGKILL,
}

// awaitWanted waits while a role is to be down; false when it is for good.
func (s *Supervisor) awaitWanted(c *child) bool {
	for {
		s.mu.Lock()
		stopping, wanted := c.stopping, c.want == supervise.Up || c.once
		c.once = false
		s.mu.Unlock()
		if stopping || wanted {
			return !stopping
		}
		<-c.kick
	}
}

// Stopped reports whether a role is down because somebody wanted it.
func (s *Supervisor) Stopped(r role.Role) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.children[r]
	return c != nil && c.cmd == nil && c.want != supervise.Up
}

// tell writes a role's status for svstat. The caller holds mu.
func (s *Supervisor) tell(c *child) {
	if c.folder == nil {
		return
	}
	st := supervise.Status{Since: c.since, Paused: c.paused}
	if c.cmd != nil {
		st.PID = c.cmd.Process.Pid
	}
	switch {
	case c.want == supervise.Stop && c.cmd != nil:
		st.Want = byte(supervise.Stop)
	case c.want == supervise.Up && c.cmd == nil:
		st.Want = byte(supervise.Up)
	}
	if err := c.folder.write(st); err != nil {
		s.Log.Warn("the status for svstat could not be written", "part", c.role, "error", err)
	}
}

// serviceFolder is what daemontools' programs look at.
type serviceFolder struct {
	dir     string // DIR/supervise
	control *os.File
	ok      *os.File
	lock    io.Closer
}

// openServiceFolder makes the folder of a role and takes it.
func openServiceFolder(dir string) (_ *serviceFolder, err error) {
	f := &serviceFolder{dir: filepath.Join(dir, supervise.Folder)}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, err
	}
	// The folders above may be looked at by all, as those of /service.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		return nil, err
	}
	tree, err := osfs.New(f.dir)
	if err != nil {
		return nil, err
	}
	if f.lock, err = tree.Lock(supervise.Lock); err != nil {
		return nil, err
	}
	if f.control, err = openFIFO(filepath.Join(f.dir, supervise.Control)); err != nil {
		return nil, err
	}
	if f.ok, err = openFIFO(filepath.Join(f.dir, supervise.OK)); err != nil {
		return nil, err
	}
	return f, nil
}

// openFIFO opens a FIFO for both ends, so that it is never without a reader, nor at its end.
func openFIFO(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &fs.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
}

// write replaces the status.
func (f *serviceFolder) write(st supervise.Status) error {
	name := filepath.Join(f.dir, supervise.NewFile)
	if err := os.WriteFile(name, st.Append(nil), 0o644); err != nil {
		return err
	}
	return os.Rename(name, filepath.Join(f.dir, supervise.File))
}

func (f *serviceFolder) close() {
	for _, c := range []*os.File{f.control, f.ok} {
		if c != nil {
			c.Close()
		}
	}
	if f.lock != nil {
		f.lock.Close()
	}
}

// OpenFolders gives the roles their folders below root. Without them the server works as well.
func (s *Supervisor) OpenFolders(root string) {
	for _, r := range s.order {
		c := s.children[r]
		dir := filepath.Join(root, string(r))
		f, err := openServiceFolder(dir)
		if err != nil {
			s.Log.Warn("svstat and svc cannot be used", "part", r, "error", err)
			continue
		}
		_, down := os.Lstat(filepath.Join(dir, supervise.Down))
		s.mu.Lock()
		if down == nil && c.cmd == nil {
			c.want = supervise.Stop
		}
		c.folder = f
		s.tell(c)
		s.mu.Unlock()
		go s.listen(c, f)
	}
}

// listen obeys what svc writes, until the folder is closed.
func (s *Supervisor) listen(c *child, f *serviceFolder) {
	buf := make([]byte, 64)
	for {
		n, err := f.control.Read(buf)
		if err != nil {
			return
		}
		for _, b := range buf[:n] {
			if err := s.Obey(c.role, supervise.Command(b)); err != nil {
				s.Log.Warn("a command of svc was not obeyed", "part", c.role, "command", string(rune(b)), "error", err)
			}
		}
	}
}

// CloseFolders gives the folders back: svok then says that nobody supervises.
func (s *Supervisor) CloseFolders() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		if c.folder != nil {
			s.tell(c)
			c.folder.close()
			c.folder = nil
		}
	}
}
