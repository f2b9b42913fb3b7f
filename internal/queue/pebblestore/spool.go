package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
)

// spool keeps larger bodies in files named by number. A file belongs to one
// message, by its number in the envelope row and the message's id in its own header.
//
// A file is used again only when the removal of its row is durable and nobody
// reads it: then a crash can never bring back a row whose file holds other mail.
// Its length is the row's; bytes behind it are an earlier message's and are not read.
type spool struct {
	fs      fs.FS
	barrier fs.Barrier
	// keepFiles and keepBytes bound the free list.
	keepFiles int
	keepBytes int64

	mu        sync.Mutex
	next      uint64 // the lowest number never used
	free      []freeFile
	freeBytes int64
	idle      map[uint64]struct{} // numbers in free
	busy      map[uint64]struct{} // being written by a draft
	readers   map[uint64]int
	released  map[uint64]struct{} // to be freed when the last reader is gone
	orphans   map[uint64]struct{} // found at start and not yet known to belong to a message
	pinned    int                 // backups under way: nothing is freed
	deferred  []uint64            // to be freed when no backup is under way
}

type freeFile struct {
	number uint64
	size   int64
}

// The header of a spool file: magic, and the id of the message.
const spoolHeader = 24

const spoolMagic = "PSTLSPL1"

func openSpool(fsys fs.FS, keepFiles int, keepBytes int64) (*spool, error) {
	s := &spool{
		fs: fsys, barrier: fs.Barrier{FS: fsys}, keepFiles: keepFiles, keepBytes: keepBytes, next: 1,
		idle: map[uint64]struct{}{}, busy: map[uint64]struct{}{}, readers: map[uint64]int{},
		released: map[uint64]struct{}{}, orphans: map[uint64]struct{}{},
	}
	entries, err := fsys.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil || n == 0 || spoolName(n) != e.Name() {
			continue // not ours
		}
		s.orphans[n] = struct{}{}
		s.next = max(s.next, n+1)
	}
	// A name left by a killed process may not be durable yet, and its file may be used again.
	return s, fsys.SyncDir(".")
}

func spoolName(n uint64) string { return strconv.FormatUint(n, 10) }

// spoolFile is a file being written by a draft.
type spoolFile struct {
	fs.File
	number uint64
	fresh  bool // its name is not durable
}

// create takes a free file or makes one, for the message.
func (s *spool) create(message id.ID) (*spoolFile, error) {
	for {
		f := s.take()
		flag := os.O_RDWR
		if f.fresh {
			flag |= os.O_CREATE | os.O_EXCL
		}
		file, err := s.fs.OpenFile(spoolName(f.number), flag, 0o600)
		if !f.fresh && errors.Is(err, fs.ErrNotExist) {
			s.forget(f.number)
			continue
		}
		if err != nil {
			s.forget(f.number)
			return nil, err
		}
		f.File = file
		var h [spoolHeader]byte
		copy(h[:], spoolMagic)
		copy(h[len(spoolMagic):], message[:])
		if _, err := file.Write(h[:]); err != nil {
			s.discard(f)
			return nil, err
		}
		return f, nil
	}
}

func (s *spool) take() *spoolFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &spoolFile{fresh: true, number: s.next}
	if last := len(s.free) - 1; last >= 0 {
		f.number, f.fresh = s.free[last].number, false
		s.freeBytes -= s.free[last].size
		s.free = s.free[:last]
		delete(s.idle, f.number)
	} else {
		s.next++
	}
	s.busy[f.number] = struct{}{}
	return f
}

// sync makes the file durable, with its name, and closes it.
func (s *spool) sync(f *spoolFile) error {
	err := s.barrier.Files(f.File)
	if err == nil && f.fresh {
		err = s.barrier.Dirs(".")
	}
	closeErr := f.Close()
	f.File = nil
	return errors.Join(err, closeErr)
}

// committed tells that a durable row names the file.
func (s *spool) committed(number uint64) { s.forget(number) }

func (s *spool) forget(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, number)
}

// discard removes a file that no row names. After a failed write or sync its blocks are
// not to be trusted with another body.
func (s *spool) discard(f *spoolFile) {
	if f.File != nil {
		f.Close()
	}
	s.fs.Remove(spoolName(f.number)) // else it is an orphan of the next start
	s.forget(f.number)
}

// release frees the file of a message whose removal is durable.
func (s *spool) release(number uint64) {
	s.mu.Lock()
	delete(s.orphans, number)
	switch {
	case s.readers[number] > 0:
		s.released[number] = struct{}{}
	case s.pinned > 0:
		s.deferred = append(s.deferred, number)
	default:
		s.mu.Unlock()
		s.recycle(number)
		return
	}
	s.mu.Unlock()
}

// recycle puts a file on the free list, or removes it where that is full.
func (s *spool) recycle(number uint64) {
	info, err := s.fs.Stat(spoolName(number))
	if err != nil {
		s.forget(number)
		return
	}
	s.mu.Lock()
	delete(s.busy, number)
	if _, twice := s.idle[number]; twice {
		s.mu.Unlock()
		return
	}
	if len(s.free) < s.keepFiles && s.freeBytes+info.Size() <= s.keepBytes {
		s.free = append(s.free, freeFile{number, info.Size()})
		s.freeBytes += info.Size()
		s.idle[number] = struct{}{}
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.fs.Remove(spoolName(number)) // else it is an orphan of the next start
}

// referenced tells that a message found at start has the file.
func (s *spool) referenced(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.orphans, number)
}

// freeOrphans recycles what no message referenced. It is called when all messages
// have been seen.
func (s *spool) freeOrphans() {
	s.mu.Lock()
	orphans := s.orphans
	s.orphans = map[uint64]struct{}{}
	s.mu.Unlock()
	for n := range orphans {
		s.release(n)
	}
}

// pin holds back all freeing, so that files that rows name now keep their contents.
func (s *spool) pin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned++
}

func (s *spool) unpin() {
	s.mu.Lock()
	s.pinned--
	var again []uint64
	if s.pinned == 0 {
		again, s.deferred = s.deferred, nil
	}
	s.mu.Unlock()
	for _, n := range again {
		s.release(n)
	}
}

// used lists the files that rows may name.
func (s *spool) used() ([]uint64, error) {
	entries, err := s.fs.ReadDir(".")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var numbers []uint64
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil {
			continue
		}
		_, idle := s.idle[n]
		_, busy := s.busy[n]
		if !idle && !busy {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// open opens the body of a message. The error wraps queue.ErrNotFound when the file is no longer
// the message's.
func (s *spool) open(number uint64, message id.ID, size int64) (queue.Body, error) {
	s.mu.Lock()
	_, idle := s.idle[number]
	_, busy := s.busy[number]
	if idle || busy {
		s.mu.Unlock()
		return nil, queue.ErrNotFound
	}
	s.readers[number]++
	s.mu.Unlock()

	f, err := s.fs.OpenFile(spoolName(number), os.O_RDONLY, 0)
	if err == nil {
		err = checkHeader(f, message, size)
		if err != nil {
			f.Close()
		}
	}
	if err != nil {
		s.closed(number)
		return nil, err
	}
	return &spoolBody{SectionReader: io.NewSectionReader(f, spoolHeader, size), file: f, spool: s, number: number}, nil
}

func checkHeader(f fs.File, message id.ID, size int64) error {
	var h [spoolHeader]byte
	if _, err := f.ReadAt(h[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(h[:len(spoolMagic)]) != spoolMagic || id.ID(h[len(spoolMagic):]) != message {
		return fmt.Errorf("spool file %s is not of message %s but of %x", f.Name(), message, h)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < spoolHeader+size {
		return fmt.Errorf("spool file %s of message %s has %d bytes, want %d", f.Name(), message, info.Size(), spoolHeader+size)
	}
	return nil
}

// closed tells that a reader is gone.
func (s *spool) closed(number uint64) {
	s.mu.Lock()
	s.readers[number]--
	last := s.readers[number] == 0
	if last {
		delete(s.readers, number)
	}
	_, free := s.released[number]
	if last && free {
		delete(s.released, number)
	}
	s.mu.Unlock()
	if last && free {
		s.release(number)
	}
}

// spoolBody is an open body in a spool file.
type spoolBody struct {
	*io.SectionReader
	file   fs.File
	spool  *spool
	number uint64
	once   sync.Once
}

// WriteTo implements io.WriterTo.
func (b *spoolBody) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{b.SectionReader}, make([]byte, 64<<10))
}

// Close implements io.Closer.
func (b *spoolBody) Close() (err error) {
	b.once.Do(func() {
		err = b.file.Close()
		b.spool.closed(b.number)
	})
	return err
}
