package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// Query says which events are wanted. Zero fields want all.
type Query struct {
	From, To time.Time // From inclusive, To exclusive
	// Words must all be in an event: an ID's text, an address, a domain, a client or an
	// account, in any case of letters.
	Words []string
	Kinds []trace.Kind
}

// Search calls yield for the events of a journal's folder that match, in the order
// they were written, until it returns false. It may run while the journal is written.
// A damaged frame is passed over, and reported in the error after all others were read.
func Search(ctx context.Context, fsys fs.FS, q Query, yield func(trace.Event) bool) error {
	days, err := segments(fsys)
	if err != nil {
		return err
	}
	s := newSearcher(q, yield)
	defer s.zstd.Close()
	for _, day := range days {
		// An event may be written a little after the midnight it happened before.
		if !q.From.IsZero() && day < q.From.UTC().Format(dayForm) || !q.To.IsZero() && day > q.To.UTC().AddDate(0, 0, 1).Format(dayForm) {
			continue
		}
		if more, err := s.segment(ctx, fsys, day+extension); err != nil || !more {
			return err
		}
	}
	return s.damage
}

type searcher struct {
	q      Query
	yield  func(trace.Event) bool
	words  []string
	hashes []uint64
	zstd   *zstd.Decoder
	damage error
}

func newSearcher(q Query, yield func(trace.Event) bool) *searcher {
	// The options are constant and valid: NewReader cannot fail.
	z, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	s := &searcher{q: q, yield: yield, zstd: z}
	for _, w := range q.Words {
		s.words = append(s.words, strings.ToLower(w))
		h := hashWord(w)
		if v, err := id.Parse(w); err == nil {
			h = hashWord(string(v[:]))
		}
		s.hashes = append(s.hashes, h)
	}
	return s
}

func (s *searcher) segment(ctx context.Context, fsys fs.FS, name string) (more bool, err error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for off := int64(0); ctx.Err() == nil; {
		h, ok, err := readHeader(f, off)
		if err != nil {
			return false, err
		}
		if !ok {
			return true, nil
		}
		if s.mayHold(h) {
			more, err := s.frame(f, off, h)
			if err != nil {
				s.damage = fmt.Errorf("%s: frame at %d: %w", name, off, err)
			} else if !more {
				return false, nil
			}
		}
		off += h.size()
	}
	return false, ctx.Err()
}

func (s *searcher) mayHold(h header) bool {
	return (s.q.From.IsZero() || h.to >= s.q.From.UnixNano()) && (s.q.To.IsZero() || h.from < s.q.To.UnixNano())
}

func (s *searcher) frame(f fs.File, off int64, h header) (more bool, err error) {
	if len(s.hashes) > 0 {
		filter := make([]byte, h.filter)
		if _, err := f.ReadAt(filter, off+headerSize); err != nil {
			return true, err
		}
		if slices.ContainsFunc(s.hashes, func(w uint64) bool { return !hasWord(filter, w) }) {
			return true, nil
		}
	}
	p, ok, err := readFrame(f, off, h)
	if err != nil || !ok {
		return true, fmt.Errorf("damaged (%v)", err)
	}
	lines, err := s.zstd.DecodeAll(p[headerSize+h.filter:], nil)
	if err != nil {
		return true, err
	}
	for line := range bytes.Lines(lines) {
		var e trace.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return true, err
		}
		if s.matches(&e) && !s.yield(e) {
			return false, nil
		}
	}
	return true, nil
}

func (s *searcher) matches(e *trace.Event) bool {
	if !s.q.From.IsZero() && e.Time.Before(s.q.From) || !s.q.To.IsZero() && !e.Time.Before(s.q.To) {
		return false
	}
	if len(s.q.Kinds) > 0 && !slices.Contains(s.q.Kinds, e.Kind) {
		return false
	}
	for _, w := range s.words {
		if !eventHas(e, w) {
			return false
		}
	}
	return true
}

// eventHas compares without hashes: a filter may be wrong, an answer never.
func eventHas(e *trace.Event, word string) bool {
	for _, v := range [...]id.ID{e.Message, e.Session, e.Parent} {
		if !v.IsZero() && v.String() == word {
			return true
		}
	}
	for _, f := range [...]string{e.Account, e.Client, e.From, e.To} {
		f = strings.ToLower(f)
		if f == word || strings.HasSuffix(f, "@"+word) {
			return true
		}
	}
	return false
}
