package journal

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// A frame, all numbers little endian:
//
//	offset  bytes
//	     0      4  "PEV1"
//	     4      4  CRC-32C of everything behind it
//	     8      4  length of the filter
//	    12      4  length of the compressed lines
//	    16      4  number of events
//	    20      8  Unix nanoseconds of the earliest event
//	    28      8  and of the latest
//	    36         filter: a Bloom filter of the events' words, a power of two of bytes
//	              lines: zstd of the events as JSON, one a line
const (
	magic      = "PEV1"
	headerSize = 36
	maxFrame   = 128 << 10 // bytes of lines that make the writer write early
	// maxPart bounds a filter or compressed lines when reading: the buffer's bound and room.
	maxPart = maxBuffered + 1<<20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is events on their way into one frame.
type batch struct {
	lines    []byte
	words    []uint64 // hashes, most of them once
	recent   [512]uint64
	count    int64
	from, to int64 // Unix nanoseconds
}

func (b *batch) add(e *trace.Event) {
	b.lines = append(e.AppendJSON(b.lines), '\n')
	b.addWords(e)
	ns := e.Time.UnixNano()
	if b.count == 0 {
		b.from, b.to = ns, ns
	}
	b.from, b.to = min(b.from, ns), max(b.to, ns)
	b.count++
}

func (b *batch) reset() {
	*b = batch{lines: b.lines[:0], words: b.words[:0]}
}

// addWord adds a word that is not among those added of late: the events of one message, and of one client, have most in common.
func (b *batch) addWord(s string) {
	h := hashWord(s)
	if last := &b.recent[h%uint64(len(b.recent))]; *last != h {
		*last = h
		b.words = append(b.words, h)
	}
}

// addWords adds what an event can be found by.
func (b *batch) addWords(e *trace.Event) {
	for _, v := range [...]*id.ID{&e.Message, &e.Session, &e.Parent} {
		if !v.IsZero() {
			b.addWord(string(v[:]))
		}
	}
	for _, s := range [...]string{e.Account, e.Client, e.From, e.To} {
		if s == "" {
			continue
		}
		b.addWord(s)
		if i := strings.LastIndexByte(s, '@'); i >= 0 {
			b.addWord(s[i+1:])
		}
	}
}

// hashWord is FNV-1a over the word in lower case (ASCII), with a final mix.
func hashWord(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// filterHashes is the number of bits a word sets.
const filterHashes = 4

func setWord(filter []byte, h uint64) {
	mask := uint32(len(filter)*8 - 1)
	a, b := uint32(h), uint32(h>>32)|1
	for i := range uint32(filterHashes) {
		bit := (a + i*b) & mask
		filter[bit/8] |= 1 << (bit % 8)
	}
}

func hasWord(filter []byte, h uint64) bool {
	mask := uint32(len(filter)*8 - 1)
	a, b := uint32(h), uint32(h>>32)|1
	for i := range uint32(filterHashes) {
		bit := (a + i*b) & mask
		if filter[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// frameEncoder makes frames; its buffers are used again.
type frameEncoder struct {
	zstd *zstd.Encoder
	buf  []byte
	seen map[uint64]struct{}
}

func newFrameEncoder() *frameEncoder {
	// The options are constant and valid: NewWriter cannot fail.
	z, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10))
	return &frameEncoder{zstd: z, seen: map[uint64]struct{}{}}
}

// encode returns the batch's frame, valid until the next call.
func (x *frameEncoder) encode(b *batch) []byte {
	clear(x.seen)
	for _, h := range b.words {
		x.seen[h] = struct{}{}
	}
	filter := 8 // bytes: at least 8 bits a word, which finds 2 % of frames in vain
	for filter < len(x.seen) {
		filter *= 2
	}
	x.buf = append(x.buf[:0], make([]byte, headerSize+filter)...)
	for h := range x.seen {
		setWord(x.buf[headerSize:], h)
	}
	x.buf = x.zstd.EncodeAll(b.lines, x.buf)
	p := x.buf
	copy(p, magic)
	binary.LittleEndian.PutUint32(p[8:], uint32(filter))
	binary.LittleEndian.PutUint32(p[12:], uint32(len(p)-headerSize-filter))
	binary.LittleEndian.PutUint32(p[16:], uint32(b.count))
	binary.LittleEndian.PutUint64(p[20:], uint64(b.from))
	binary.LittleEndian.PutUint64(p[28:], uint64(b.to))
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(p[8:], castagnoli))
	return p
}

// header is a frame's head.
type header struct {
	sum           uint32
	filter, lines int64 // bytes
	count         uint32
	from, to      int64
}

func (h header) size() int64 { return headerSize + h.filter + h.lines }

// readHeader reads the head of the frame at off; ok is false where none begins.
func readHeader(f io.ReaderAt, off int64) (h header, ok bool, err error) {
	var p [headerSize]byte
	if _, err := f.ReadAt(p[:], off); err == io.EOF {
		return h, false, nil
	} else if err != nil {
		return h, false, err
	}
	h = header{
		sum:    binary.LittleEndian.Uint32(p[4:]),
		filter: int64(binary.LittleEndian.Uint32(p[8:])),
		lines:  int64(binary.LittleEndian.Uint32(p[12:])),
		count:  binary.LittleEndian.Uint32(p[16:]),
		from:   int64(binary.LittleEndian.Uint64(p[20:])),
		to:     int64(binary.LittleEndian.Uint64(p[28:])),
	}
	ok = string(p[:4]) == magic && h.filter >= 8 && h.filter&(h.filter-1) == 0 && h.filter <= maxPart && h.lines <= maxPart
	return h, ok, nil
}

// readFrame reads a whole frame and checks its sum; ok is false where it is torn.
func readFrame(f io.ReaderAt, off int64, h header) (p []byte, ok bool, err error) {
	p = make([]byte, h.size())
	if _, err := f.ReadAt(p, off); err == io.EOF {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	return p, crc32.Checksum(p[8:], castagnoli) == h.sum, nil
}

// wholeFrames returns the length of the segment up to its first torn frame. Only the
// last frame can be torn, since each is synced before the next is written; the others'
// sums are checked when they are read.
func wholeFrames(f fs.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var off, last int64
	last = -1
	for {
		h, ok, err := readHeader(f, off)
		if err != nil {
			return 0, err
		}
		if !ok || h.size() > info.Size()-off {
			break
		}
		last, off = off, off+h.size()
	}
	if last < 0 {
		return 0, nil
	}
	h, _, err := readHeader(f, last)
	if err != nil {
		return 0, err
	}
	if _, ok, err := readFrame(f, last, h); err != nil || !ok {
		return last, err
	}
	return off, nil
}
