package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/reason"
)

// Maildir++ accounting, qmail reference 19.2: the file maildirsize holds the quota
// and a line for each change, and is counted anew when it grows long or may be wrong.
const (
	sizeFile    = "/maildirsize"
	maxSizeFile = 5120             // bytes: from here on it is counted anew
	trustFor    = 15 * time.Minute // an "over quota" this young is believed
)

// Quota is what a mailbox may hold; 0 is without limit.
type Quota struct {
	Bytes    int64
	Messages int64
	Soft     Soft
}

// Soft makes a quota one that may be passed for a while; the zero Soft does not.
type Soft struct {
	Extra int           // how far, in percent of the quota
	Grace time.Duration // for how long
}

// None reports whether there is no limit.
func (q Quota) None() bool { return q.Bytes == 0 && q.Messages == 0 }

// hard is the quota that is never passed.
func (q Quota) hard() Quota {
	raise := func(n int64) int64 {
		if n > math.MaxInt64/100 {
			return n // more than any disk has; ten times as much is no int64
		}
		// Rounded up, so that a quota of few messages grows as well.
		return n + n/100*int64(q.Soft.Extra) + (n%100*int64(q.Soft.Extra)+99)/100
	}
	return Quota{Bytes: raise(q.Bytes), Messages: raise(q.Messages)}
}

// Percent returns how full a mailbox is that holds u, by the limit it is nearest to.
func (q Quota) Percent(u Usage) int {
	of := func(n, most int64) int {
		if most <= 0 {
			return 0
		}
		return int(min(float64(n)/float64(most)*100, 1_000_000))
	}
	return max(of(u.Bytes, q.Bytes), of(u.Messages, q.Messages))
}

// Usage is what a mailbox holds, .Trash apart.
type Usage struct {
	Bytes    int64
	Messages int64
}

// line is the first line of maildirsize.
func (q Quota) line() string {
	var parts []string
	if q.Bytes > 0 {
		parts = append(parts, strconv.FormatInt(q.Bytes, 10)+"S")
	}
	if q.Messages > 0 {
		parts = append(parts, strconv.FormatInt(q.Messages, 10)+"C")
	}
	return strings.Join(parts, ",")
}

// refuses returns why a message of size bytes does not fit beside u, or nil.
func (q Quota) refuses(u Usage, size int64) error {
	switch {
	case q.Messages > 0 && u.Messages >= q.Messages, q.Bytes > 0 && u.Bytes >= q.Bytes:
		return reason.QuotaExceeded
	case q.Bytes > 0 && u.Bytes+size > q.Bytes:
		return reason.QuotaTooSmall
	}
	return nil
}

// Room returns what the mailbox holds. The error is nil when a message of size bytes fits, and otherwise
// reason.QuotaExceeded or reason.QuotaTooSmall (both temporary; who prefers permanent
// ones changes the class), or an error of the file system. Deliveries at the same
// time may together pass the limit by what they bring.
func (s *Store) Room(mailbox string, q Quota, size int64) (Usage, error) {
	if q.None() {
		return Usage{}, nil
	}
	sum, err := s.readSizeFile(mailbox, q)
	if err != nil {
		return Usage{}, err
	}
	if !sum.valid {
		if sum.Usage, err = s.recount(mailbox, q); err != nil {
			return Usage{}, err
		}
		return sum.Usage, s.graced(mailbox, q, sum.Usage, size, q.refuses(sum.Usage, size))
	}
	over := q.refuses(sum.Usage, size)
	if over != nil && (sum.lines > 1 || sum.age > trustFor) {
		if sum.Usage, err = s.recount(mailbox, q); err != nil {
			return Usage{}, err
		}
		over = q.refuses(sum.Usage, size)
	}
	return sum.Usage, s.graced(mailbox, q, sum.Usage, size, over)
}

// Recount counts the mailbox anew, whatever its maildirsize says. The error is of the system.
func (s *Store) Recount(mailbox string, q Quota) (Usage, error) { return s.recount(mailbox, q) }

// Usage returns what the mailbox holds by its maildirsize, counted anew where that
// is missing, too long, or of another quota.
func (s *Store) Usage(mailbox string, q Quota) (Usage, error) {
	sum, err := s.readSizeFile(mailbox, q)
	if err == nil && !sum.valid {
		sum.Usage, err = s.recount(mailbox, q)
	}
	return sum.Usage, err
}

// sizeSum is what maildirsize says.
type sizeSum struct {
	Usage
	valid bool
	lines int
	age   time.Duration
}

func (s *Store) readSizeFile(mailbox string, q Quota) (sum sizeSum, err error) {
	f, err := s.fs.OpenFile(mailbox+sizeFile, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return sum, nil
	}
	if err != nil {
		return sum, err
	}
	defer f.Close()
	var buf [maxSizeFile]byte
	n, err := io.ReadFull(f, buf[:])
	if err == nil {
		return sum, nil // as long as that, or longer
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return sum, err
	}
	first, rest, ok := bytes.Cut(buf[:n], []byte{'\n'})
	if !ok || string(bytes.TrimSpace(first)) != q.line() {
		return sum, nil
	}
	for line := range bytes.Lines(rest) {
		var u Usage
		if k, err := fmt.Sscan(string(line), &u.Bytes, &u.Messages); k != 2 || err != nil {
			return sizeSum{}, nil // torn or foreign: count anew
		}
		sum.Bytes += u.Bytes
		sum.Messages += u.Messages
		sum.lines++
	}
	info, err := f.Stat()
	if err != nil {
		return sizeSum{}, err
	}
	sum.age = s.clock.Now().Sub(info.ModTime())
	sum.valid = sum.Bytes >= 0 && sum.Messages >= 0
	return sum, nil
}

// account appends a change to maildirsize where there is one. It is a cache that is
// counted anew when in doubt, so that it is not synced and its failure fails nothing.
func (s *Store) account(mailbox string, bytes, messages int64) {
	f, err := s.fs.OpenFile(mailbox+sizeFile, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	fmt.Fprintf(f, "%12d %12d\n", bytes, messages) // one write: lines of several writers do not mix
	f.Close()
}

// recount counts the mailbox and writes a fresh maildirsize, unless the mailbox
// changed meanwhile.
func (s *Store) recount(mailbox string, q Quota) (Usage, error) {
	var u Usage
	changed := map[string]time.Time{}
	count := func(dir string) error {
		info, err := s.fs.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		changed[dir] = info.ModTime()
		list, err := s.fs.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range list {
			n, ok := s.countedSize(dir, e)
			if ok {
				u.Bytes += n
				u.Messages++
			}
		}
		return nil
	}
	top, err := s.fs.ReadDir(mailbox)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil // the first delivery creates it
	}
	if err != nil {
		return u, err
	}
	folders := []string{mailbox}
	for _, e := range top {
		if strings.HasPrefix(e.Name(), ".") && e.IsDir() && e.Name() != ".Trash" {
			folders = append(folders, mailbox+"/"+e.Name())
		}
	}
	for _, dir := range folders {
		if err := errors.Join(count(dir+"/new"), count(dir+"/cur")); err != nil {
			return u, err
		}
	}
	if q.None() {
		return u, nil // nothing is kept of it
	}
	if err := s.writeSizeFile(mailbox, q, u); err != nil {
		return u, nil // on a full disk deliveries still get the right answer
	}
	for dir, was := range changed {
		if info, err := s.fs.Stat(dir); err != nil || !info.ModTime().Equal(was) {
			s.fs.Remove(mailbox + sizeFile)
			break
		}
	}
	return u, nil
}

// countedSize is what a file adds to the sum: nothing for trashed ones.
func (s *Store) countedSize(dir string, e fs.DirEntry) (int64, bool) {
	name := e.Name()
	if strings.HasPrefix(name, ".") || strings.IndexByte(Flags(name), 'T') >= 0 {
		return 0, false
	}
	if size, _ := sizes(Unique(name)); size >= 0 {
		return size, true
	}
	info, err := s.fs.Stat(dir + "/" + name)
	if err != nil {
		return 0, false // gone meanwhile
	}
	return info.Size(), true
}

func (s *Store) writeSizeFile(mailbox string, q Quota, u Usage) error {
	return s.replace(mailbox, sizeFile[1:], fmt.Appendf(nil, "%s\n%12d %12d\n", q.line(), u.Bytes, u.Messages), false)
}

// replace writes a small file of the mailbox through tmp/, so that readers see the
// old or the new one. With durable its content is synced before it takes the name.
func (s *Store) replace(mailbox, name string, content []byte, durable bool) error {
	tmp := mailbox + "/tmp/" + name + "." + s.nonce + strconv.FormatUint(s.seq.Add(1), 36)
	f, err := s.fs.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.fs.Rename(tmp, mailbox+"/"+name)
	}
	if err != nil {
		s.fs.Remove(tmp)
	}
	return err
}
