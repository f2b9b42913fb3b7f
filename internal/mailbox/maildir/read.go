package maildir

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// Entry is one message as the folder's listing shows it: no file is opened or
// stat'ed for it.
type Entry struct {
	Unique  string // the name up to ":"; it stays while flags change
	Name    string // the file's name when it was listed
	New     bool   // it lay in new/
	Size    int64  // bytes with LF line ends; -1 when the name does not tell
	Wire    int64  // bytes with CRLF line ends; -1 when the name does not tell
	Arrived int64  // Unix seconds, by the name
	UID     uint32 // by a uidlist; 0 when none tells, see Identify
	UIDL    string // POP3's unique id, see Identify
	twin    string // its name in new/ too, when it is in both
}

// Seen reports whether the message has the flag S.
func (e *Entry) Seen() bool { return !e.New && strings.IndexByte(Flags(e.Name), 'S') >= 0 }

// path is where the entry was when it was listed.
func (e *Entry) path(dir string) string {
	if e.New {
		return dir + "/new/" + e.Name
	}
	return dir + "/cur/" + e.Name
}

// Scan lists a mailbox in the order of arrival. A mailbox that does not exist yet is
// empty. A message that a reader moves from new/ to cur/ during the scan is listed once. The error is of the system.
func (s *Store) Scan(mailbox string) ([]Entry, error) {
	var list []Entry
	for _, sub := range []string{"/new", "/cur"} {
		files, err := s.fs.ReadDir(mailbox + sub)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		list = slices.Grow(list, len(files))
		for _, f := range files {
			name := f.Name()
			if name[0] == '.' || f.Type()&^os.ModeSymlink != 0 { // a FIFO would hold its reader up for ever
				continue
			}
			unique := Unique(name)
			size, wire := sizes(unique)
			list = append(list, Entry{
				Unique: unique, Name: name, New: sub == "/new",
				Size: size, Wire: wire, Arrived: arrival(unique),
			})
		}
	}
	slices.SortFunc(list, byArrival)
	return mergeTwins(list), nil
}

// mergeTwins lists a message in new/ and cur/ once, as the one in cur/: it was moved during
// the scan, or a power cut kept both names of a move.
func mergeTwins(list []Entry) []Entry {
	kept := list[:0]
	for _, e := range list {
		if n := len(kept); n > 0 && kept[n-1].Unique == e.Unique {
			if kept[n-1].New {
				kept[n-1], e = e, kept[n-1]
			}
			if e.New {
				kept[n-1].twin = e.Name
			}
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// Open opens a message for reading. One that another session gave other flags since
// the scan is found again; the error wraps ErrNotExist when it is gone.
func (s *Store) Open(mailbox string, e *Entry) (fs.File, error) {
	var f fs.File
	err := s.at(mailbox, e, func(path string) (err error) {
		f, err = s.fs.OpenFile(path, os.O_RDONLY, 0)
		return err
	})
	return f, err
}

// at runs do on the entry's path, and once more on its present one when it has moved.
func (s *Store) at(mailbox string, e *Entry, do func(path string) error) error {
	err := do(e.path(mailbox))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, sub := range []string{"/cur", "/new"} {
		list, lerr := s.fs.ReadDir(mailbox + sub)
		if lerr != nil {
			continue
		}
		for _, f := range list {
			if Unique(f.Name()) == e.Unique {
				e.Name, e.New = f.Name(), sub == "/new"
				return do(e.path(mailbox))
			}
		}
	}
	return err
}

// Change is what a session leaves behind.
type Change struct {
	Remove []*Entry
	// Seen are messages that get the flag S, and move from new/ to cur/ with it.
	Seen []*Entry
}

// Apply removes and flags messages and returns, once that is durable, the removed
// ones. A message that is gone already counts as removed. An error tells of the
// first failure; the rest is done nevertheless.
func (s *Store) Apply(mailbox string, c Change) (removed []*Entry, err error) {
	var dirs []string
	touch := func(e *Entry) {
		for _, sub := range []string{"/new", "/cur"} {
			if (e.New == (sub == "/new")) && !slices.Contains(dirs, mailbox+sub) {
				dirs = append(dirs, mailbox+sub)
			}
		}
	}
	var failed error
	if len(c.Seen) > 0 && !s.known.has(mailbox) {
		failed = s.createDirs(mailbox)
		dirs = ancestors(mailbox)
	}
	var bytes, messages int64
	for _, e := range c.Remove {
		size := e.Size
		err := s.at(mailbox, e, func(path string) error {
			if size < 0 {
				if info, err := s.fs.Stat(path); err == nil {
					size = info.Size()
				}
			}
			return s.fs.Remove(path)
		})
		if e.twin != "" && s.fs.Remove(mailbox+"/new/"+e.twin) == nil {
			touch(&Entry{New: true})
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
			continue
		}
		touch(e)
		removed = append(removed, e)
		if err == nil {
			bytes += max(size, 0)
			messages++
		}
	}
	for _, e := range c.Seen {
		err := s.at(mailbox, e, func(path string) error {
			return s.fs.Rename(path, mailbox+"/cur/"+withFlag(e.Name, 'S'))
		})
		if err == nil {
			touch(e)
			e.Name, e.New = withFlag(e.Name, 'S'), false
			touch(e)
		} else if !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	if len(dirs) > 0 {
		if err := s.barrier.Dirs(dirs...); err != nil {
			return nil, errors.Join(failed, err)
		}
		if len(c.Seen) > 0 && failed == nil {
			s.known.add(mailbox)
		}
	}
	if messages > 0 {
		s.account(mailbox, -bytes, -messages)
	}
	return removed, failed
}

// settle is how long nothing counts as abandoned after the start: the system's clock may have been set ahead just before,
// while a delivery that still goes on had begun. It is as long as one takes (dispatch.local_timeout).
const settle = 10 * time.Minute

// Clean removes what deliveries abandoned in tmp/ (qmail reference 10.2), judged by
// the time of the last write. No jump of a clock makes it remove what somebody writes. The error is of the system;
// that of a single file holds nothing up.
func (s *Store) Clean(mailbox string) error {
	if s.files.Running() < settle {
		return nil
	}
	list, err := s.fs.ReadDir(mailbox + "/tmp")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	limit := s.files.Now().Add(-s.opts.TmpAge)
	for _, e := range list {
		path := mailbox + "/tmp/" + e.Name()
		info, err := s.fs.Lstat(path)
		if err == nil && !info.IsDir() && info.ModTime().Before(limit) {
			s.fs.Remove(path) // another cleaner may have been faster
		}
	}
	return nil
}

// Lock takes a mailbox's lock for sessions that want it alone, as fs.FS.Lock. A
// mailbox that does not exist yet has none: the closer is nil.
func (s *Store) Lock(mailbox string) (io.Closer, error) {
	c, err := s.fs.Lock(mailbox + "/" + lockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return c, err
}

const lockFile = "postilion-lock"
