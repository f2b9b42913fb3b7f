package submit

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spoolMemory is what is kept of a message in memory, in bytes; most are not larger.
const spoolMemory = 64 << 10

// spool keeps a message until all of it is here: its beginning in memory, the rest in a file without a name, which is gone with
// the process.
type spool struct {
	dir  string // "" is the system's for such files
	head []byte
	file *os.File
}

// Write appends to it. The error is of the disk.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && len(s.head)+len(p) <= spoolMemory {
		s.head = append(s.head, p...)
		return len(p), nil
	}
	if s.file == nil {
		var err error
		if s.file, err = nameless(s.dir); err != nil {
			return 0, err
		}
	}
	return s.file.Write(p)
}

// WriteTo writes all of it.
func (s *spool) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s.head)
	if err != nil || s.file == nil {
		return int64(n), err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return int64(n), err
	}
	more, err := io.Copy(w, s.file)
	return int64(n) + more, err
}

func (s *spool) close() {
	s.head = nil
	if s.file != nil {
		s.file.Close() // nobody reads it again
	}
}

// nameless makes a file that has no name.
func nameless(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	f, err := os.CreateTemp(dir, "filter") // not every file system has the former
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
