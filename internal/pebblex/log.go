package pebblex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// log makes commits durable, and keeps what is attached to them. Pebble's own log is off: the database is
// only what the log says, applied. Each record has a number, and the database holds the number of the last one applied to
// it, in the same batch as its rows; what the log has beyond that is applied when the database is opened. So a database
// that lost its memory is as whole as one that was closed, and what was written but never acknowledged is cut
// off by number.
//
// The log is a row of segments, files of a fixed size that are used again. Bodies are written here once, and most
// are deleted while their segment is young. What is left in an old one is moved into the database, see sweep.
//
// One goroutine writes; bodies may be read by any.
type log struct {
	fs    *gate
	dir   string
	out   *slog.Logger
	size  int64 // of a segment
	spare *spares

	// Of the goroutine that writes:
	number uint64     // of the last record
	last   uint64     // number of the last segment
	now    *segment   // the one written to, nil at first
	to     *gatedFile // now's
	end    int64      // of what it holds
	buf    []byte     // the block that it ends in, as far as it holds it, then what is being added
	// swept: of segments up to this number bodies are being, or may have been, moved into the database.
	swept uint64

	mu       sync.RWMutex // held for reading while a body is read
	segments []*segment   // in order
	pinned   int          // copies being made: no segment is used again
}

type segment struct {
	number uint64
	first  uint64 // the number of its first record
	file   vfs.File
	fresh  bool // its blocks were not written before
	// live is the bytes of bodies whose rows have not been deleted.
	live atomic.Int64
	// unreadable, of the goroutine that sweeps: it has a body that could not be read.
	unreadable bool
}

const (
	segmentPrefix = "log."
	// recordRoom is how many bytes of bodies, at most, are gathered in a record, but for a single commit with more.
	recordRoom = 1 << 20
)

// positionKey names the row that holds the number of the last record applied. Keys that begin with p are the log's.
var positionKey = []byte("p")

// placeKey names the row that tells where in the log the body lies that is attached under key.
func placeKey(key []byte) []byte {
	k := make([]byte, 1, 1+len(key))
	k[0] = 'p'
	return append(k, key...)
}

func (l *log) path(number uint64) string {
	return l.fs.PathJoin(l.dir, fmt.Sprintf("%s%016d", segmentPrefix, number))
}

// find opens the segments that an earlier run left, in order. Those that were never begun are removed.
func (l *log) find() error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		digits, ours := strings.CutPrefix(name, segmentPrefix)
		number, err := strconv.ParseUint(digits, 10, 64)
		if !ours || err != nil {
			continue
		}
		l.last = max(l.last, number)
		s, err := l.open(number)
		if errors.Is(err, errNoRecord) {
			err = l.fs.Remove(l.path(number))
		}
		if err != nil {
			return err
		}
		if s != nil {
			l.segments = append(l.segments, s)
		}
	}
	return l.spare.find(names, l.isSegment)
}

// isSegment reports whether a file is a segment under another name: a power cut may leave both names of a rename.
func (l *log) isSegment(path string) (bool, error) {
	file, err := l.fs.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	number, err := segmentOf(file)
	return l.segment(number) != nil, err
}

func (l *log) open(number uint64) (*segment, error) {
	file, err := l.fs.Open(l.path(number))
	if err != nil {
		return nil, err
	}
	s := &segment{number: number, file: file}
	r, err := s.reader()
	if err == nil {
		s.first, err = r.opening()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

func (s *segment) reader() (*reader, error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	return &reader{from: s.file, size: info.Size(), segment: s.number}, nil
}

// replay applies to db the records after its position, but none after last.
func (l *log) replay(db *pebble.DB, last uint64) error {
	applied, segment, err := position(db)
	if err != nil {
		return err
	}
	l.number, l.last = applied, max(l.last, segment)
	l.swept = l.last
	for i, s := range l.segments {
		void := uint64(math.MaxUint64) // records from here on
		if last < void {
			void = last + 1
		}
		if i+1 < len(l.segments) {
			void = min(void, l.segments[i+1].first)
		}
		if void <= l.number+1 {
			continue
		}
		l.missing(s.first)
		if err := l.replaySegment(db, s, void); err != nil {
			return err
		}
		if i+1 < len(l.segments) {
			l.missing(void)
		}
	}
	return nil
}

// missing goes on with the record first, and tells if others should have come before it. They were acknowledged and
// are damaged or lost: the files were changed, or the disk lost what it had made durable.
func (l *log) missing(first uint64) {
	if l.number+1 < first {
		l.out.Error("the log is damaged: changes that were acknowledged are lost", "folder", l.dir, "from", l.number+1, "to", first-1)
		l.number = first - 1
	}
}

func (l *log) replaySegment(db *pebble.DB, s *segment, void uint64) error {
	r, err := s.reader()
	if err != nil {
		return err
	}
	r.whole = true
	if _, err := r.opening(); err != nil {
		return err
	}
	for {
		err := r.next()
		if errors.Is(err, errNoRecord) || err == nil && r.number >= void {
			return nil
		}
		if err != nil {
			return err
		}
		if r.number <= l.number {
			continue
		}
		l.missing(r.number)
		b := db.NewBatch()
		if err := b.SetRepr(slices.Clone(r.rows)); err != nil {
			return fmt.Errorf("record %d of the log: %w", r.number, err)
		}
		if err := db.Apply(b, pebble.NoSync); err != nil {
			return err
		}
		l.number = r.number
	}
}

// position returns the number of the last record that was applied, and its segment's.
func position(db *pebble.DB) (record, segment uint64, err error) {
	value, closer, err := db.Get(positionKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer closer.Close()
	if len(value) != 16 {
		return 0, 0, fmt.Errorf("the position in the log has %d bytes, want 16", len(value))
	}
	return binary.LittleEndian.Uint64(value), binary.LittleEndian.Uint64(value[8:]), nil
}

func appendPosition(b []byte, record, segment uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, record), segment)
}

// begin starts the next segment. Its opening is written with its first record.
func (l *log) begin() error {
	spare := l.spare.take()
	file, err := l.fs.CreateDurable(spare, l.path(l.last+1))
	if err != nil {
		return err
	}
	if err := syncDir(l.fs, l.dir); err != nil {
		return errors.Join(err, file.Close())
	}
	l.last++
	l.now, l.to, l.end = &segment{number: l.last, first: l.number + 1, file: file, fresh: spare == ""}, file, 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, l.now)
	return nil
}

func syncDir(fs vfs.FS, name string) error {
	d, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// write makes rows and bodies durable as the next record. It adds to rows where the bodies are, and the position.
// copying is held while bodies are copied, and write stops before if over says so.
func (l *log) write(rows *pebble.Batch, bodies []*Attachment, copying sync.Locker, over func() bool) error {
	size := int64(0)
	for _, a := range bodies {
		size += int64(len(a.Data))
	}
	room := recordHeader + framed{bodies: bodies}.lead() + size + int64(len(bodies))*(placeLen+64) + int64(rows.Len()) + 64
	if l.now == nil || l.end > 0 && l.end+room > l.size || l.now.fresh && l.spare.any() {
		if err := l.begin(); err != nil {
			return err
		}
	}
	if err := l.frame(rows, bodies, copying, over); err != nil {
		return err
	}
	start, held := l.end-l.end%block, len(l.buf)
	l.buf = align(l.buf)
	if err := l.to.WriteDurable(l.buf, start); err != nil {
		return err
	}
	l.end = start + int64(held)
	last := l.buf[held-held%block : held]
	if cap(l.buf) > 4*recordRoom {
		l.buf = nil
	}
	l.buf = append(l.buf[:0], last...)
	return nil
}

var errOver = errors.New("the log is not written to any more")

// frame adds the record to l.buf.
func (l *log) frame(rows *pebble.Batch, bodies []*Attachment, copying sync.Locker, over func() bool) error {
	copying.Lock()
	defer copying.Unlock()
	if over() { // the bodies' memory may be others'
		return errOver
	}
	s := l.now
	l.number++
	f := framed{segment: s.number, number: l.number, bodies: bodies}
	start := l.end - l.end%block // of l.buf
	if l.end == 0 {
		l.buf = framed{segment: s.number, number: s.first}.append(l.buf[:0], nil)
	}
	at := start + int64(len(l.buf)) + f.lead()
	var value [placeLen]byte
	for _, a := range bodies {
		a.place = place{s.number, at, uint32(len(a.Data)), crc32.Checksum(a.Data, castagnoli)}
		at += int64(len(a.Data))
		s.live.Add(int64(len(a.Data)))
		if err := rows.Set(placeKey(a.Key), a.place.append(value[:0]), nil); err != nil {
			return err
		}
	}
	if err := rows.Set(positionKey, appendPosition(value[:0], l.number, s.number), nil); err != nil {
		return err
	}
	l.buf = f.append(l.buf, rows.Repr())
	return nil
}

// read reads a body into b. It reports false when the body is not in the log any more.
func (l *log) read(p place, b []byte) (found bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.segment(p.segment)
	if s == nil {
		return false, nil
	}
	if n, err := s.file.ReadAt(b, p.offset); n < len(b) {
		return true, err
	}
	if crc32.Checksum(b, castagnoli) != p.sum {
		return true, fmt.Errorf("%s is damaged at byte %d", l.path(p.segment), p.offset)
	}
	return true, nil
}

// segment returns the segment of a number, nil if there is none. l.mu is held.
func (l *log) segment(number uint64) *segment {
	i, found := slices.BinarySearchFunc(l.segments, number, func(s *segment, n uint64) int {
		switch {
		case s.number < n:
			return -1
		case s.number > n:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return l.segments[i]
}

// detached tells that bodies' rows have durably been deleted.
func (l *log) detached(list []Held) {
	if len(list) == 0 {
		return
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, h := range list {
		if s := l.segment(h.segment); s != nil {
			s.live.Add(-int64(h.size))
		}
	}
}

// old returns the segments that are not young, oldest first.
func (l *log) old() []*segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.segments[:max(0, len(l.segments)-youngSegments)])
}

// recycle takes segments whose rows are in the database's files, and whose bodies nobody needs, out of
// use. While the log is pinned they stay.
func (l *log) recycle(old []*segment) error {
	l.mu.Lock()
	if l.pinned > 0 {
		l.mu.Unlock()
		return nil
	}
	l.segments = slices.DeleteFunc(l.segments, func(s *segment) bool { return slices.Contains(old, s) })
	l.mu.Unlock()
	for _, s := range old {
		if err := s.file.Close(); err != nil {
			return err
		}
		if err := l.spare.giveBack(l.fs, l.path(s.number)); err != nil {
			return err
		}
	}
	return nil
}

// pin keeps all segments as they are until unpin is called.
func (l *log) pin() (unpin func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pinned++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pinned--
	}
}

func (l *log) close() (err error) {
	for _, s := range l.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// copyTo copies into the empty folder dir of fs what a database needs that was copied when the log ended at last. The log
// is pinned.
func (l *log) copyTo(fs vfs.FS, dir string, last end) error {
	l.mu.RLock()
	list := slices.Clone(l.segments)
	l.mu.RUnlock()
	for _, s := range list {
		bytes := last.bytes
		if s.number < last.segment {
			info, err := s.file.Stat()
			if err != nil {
				return err
			}
			bytes = info.Size()
		}
		if s.number > last.segment || s.number < last.segment && s.live.Load() == 0 {
			continue
		}
		if err := copyFile(fs, io.NewSectionReader(s.file, 0, bytes), fs.PathJoin(dir, l.fs.PathBase(l.path(s.number)))); err != nil {
			return err
		}
	}
	return syncDir(fs, dir)
}

func copyFile(fs vfs.FS, from io.Reader, to string) error {
	f, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(struct{ io.Writer }{f}, from)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
