package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/postilion/postilion/internal/fs"
)

// sizesFile caches the wire sizes of files whose names do not tell them, as lines
// "<size> <wire size> <unique name>" below a line with the version. It may be removed at any time.
const (
	sizesFile    = "postilion-sizes"
	sizesVersion = "1"
)

// measureLimit is how many bytes one Measure reads: a user's file may be of any size without a disk for it.
const measureLimit = 2 << 30

// Measure fills the wire sizes that neither names nor lists tell, reading each such message once
// and for all. Where there is more to read than measureLimit, the size on disk stands for the wire size, as qmail-pop3d has
// it for all, until a later call finds the time. Messages that are gone meanwhile are left out of the returned list, and so are those that may not be read, of which
// unreadable tells: one file with wrong rights holds up nobody's other mail. The error is ctx's, or of the system.
func (s *Store) Measure(ctx context.Context, mailbox string, list []Entry) (kept []Entry, unreadable []error, err error) {
	var unknown []*Entry
	for i := range list {
		if e := &list[i]; e.Wire < 0 {
			unknown = append(unknown, e)
		}
	}
	if len(unknown) == 0 {
		return list, nil, nil
	}
	if err := s.readSizes(mailbox, unknown); err != nil {
		return nil, nil, err
	}
	var counted, without bool
	left := int64(measureLimit)
	estimated := map[*Entry]bool{}
	for _, e := range unknown {
		if e.Wire >= 0 {
			continue
		}
		exact, err := s.count(ctx, mailbox, e, left)
		switch {
		case err == nil && exact:
			counted = true
			left -= e.Size
		case err == nil:
			estimated[e] = true
		case errors.Is(err, fs.ErrNotExist):
			without = true
		case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EISDIR):
			without = true
			unreadable = append(unreadable, err)
		default: // of the disk: a listing without what it holds would look as if it had been deleted
			return nil, nil, err
		}
	}
	if counted {
		s.writeSizes(mailbox, unknown, estimated) // a cache: without room for it the sizes are counted again
	}
	if without {
		kept = list[:0]
		for _, e := range list {
			if e.Wire >= 0 {
				kept = append(kept, e)
			}
		}
		return kept, unreadable, nil
	}
	return list, nil, nil
}

// count reads a message of at most so many bytes for its sizes. A larger one's are not exact.
func (s *Store) count(ctx context.Context, mailbox string, e *Entry, most int64) (exact bool, err error) {
	f, err := s.Open(mailbox, e)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() > most {
		e.Size, e.Wire = info.Size(), info.Size()
		return false, nil
	}
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	buf := *pooled
	size, lines, lastCR := int64(0), int64(0), false
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := f.Read(buf)
		if n > 0 {
			size += int64(n)
			lines += bareLF(buf[:n], lastCR)
			lastCR = buf[n-1] == '\r'
		}
		if err == io.EOF || size > most { // it grew meanwhile
			e.Size, e.Wire = size, size+lines
			return err == io.EOF, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func (s *Store) readSizes(mailbox string, unknown []*Entry) error {
	f, err := s.fs.OpenFile(mailbox+"/"+sizesFile, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	at := make(map[string]*Entry, len(unknown))
	for _, e := range unknown {
		at[e.Unique] = e
	}
	valid := false
	return eachLine(f, func(n int, line string) {
		if n == 0 {
			valid = line == sizesVersion
			return
		}
		a, rest, _ := strings.Cut(line, " ")
		b, unique, ok := strings.Cut(rest, " ")
		size, err1 := strconv.ParseInt(a, 10, 64)
		wire, err2 := strconv.ParseInt(b, 10, 64)
		e := at[unique]
		if valid && ok && e != nil && err1 == nil && err2 == nil && size >= 0 && wire >= size {
			e.Size, e.Wire = size, wire
		}
	})
}

// writeSizes keeps what is known, but what was estimated.
func (s *Store) writeSizes(mailbox string, known []*Entry, estimated map[*Entry]bool) error {
	var b bytes.Buffer
	b.WriteString(sizesVersion + "\n")
	for _, e := range known {
		if e.Wire >= 0 && e.Size >= 0 && !estimated[e] && !strings.Contains(e.Unique, "\n") {
			fmt.Fprintf(&b, "%d %d %s\n", e.Size, e.Wire, e.Unique)
		}
	}
	return s.replace(mailbox, sizesFile, b.Bytes(), true)
}
