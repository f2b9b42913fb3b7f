// Package cdb reads and writes constant databases, the 32-bit form that users/cdb,
// morercpthosts.cdb, tcp.smtp.cdb and aliases.cdb have (qmail reference 8.4). A reader
// believes nothing of a file: every position and length is checked against its real size,
// so a broken file gives ErrBroken and neither a panic nor a large allocation.
package cdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// headerSize is the table of 256 pointers at a file's start, in bytes: for each a position
// and a number of slots.
const headerSize = 256 * 8

// ErrBroken is in the tree of every error about a file that is no constant database.
var ErrBroken = errors.New("not a constant database")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBroken}, args...)...)
}

// hash is the format's hash function.
func hash[T ~string | ~[]byte](key T) uint32 {
	h := uint32(5381)
	for i := range len(key) {
		h = (h<<5 + h) ^ uint32(key[i])
	}
	return h
}

// Reader looks keys up. It is safe for concurrent use where its file is.
type Reader struct {
	r    io.ReaderAt
	size int64
}

// New returns a reader of the size bytes of r. The error wraps ErrBroken where it is too short to be one.
func New(r io.ReaderAt, size int64) (*Reader, error) {
	if size < headerSize {
		return nil, broken("%d bytes, want at least %d", size, headerSize)
	}
	return &Reader{r, size}, nil
}

// FromBytes returns a reader of a database in memory. The error is New's.
func FromBytes(b []byte) (*Reader, error) { return New(bytes.NewReader(b), int64(len(b))) }

// pair reads the two numbers at pos.
func (d *Reader) pair(pos int64) (a, b uint32, err error) {
	var p [8]byte
	if pos < 0 || pos > d.size-8 {
		return 0, 0, broken("position %d lies behind the end at %d", pos, d.size)
	}
	if _, err := d.r.ReadAt(p[:], pos); err != nil {
		return 0, 0, err
	}
	return binary.LittleEndian.Uint32(p[:]), binary.LittleEndian.Uint32(p[4:]), nil
}

// bytes reads n bytes at pos.
func (d *Reader) bytes(pos int64, n uint32) ([]byte, error) {
	if pos < 0 || pos > d.size-int64(n) {
		return nil, broken("%d bytes at %d lie behind the end at %d", n, pos, d.size)
	}
	b := make([]byte, n)
	if _, err := d.r.ReadAt(b, pos); err != nil && n > 0 {
		return nil, err
	}
	return b, nil
}

// Get returns the first value of key. The error wraps ErrBroken, or is of reading r.
func (d *Reader) Get(key []byte) (value []byte, found bool, err error) {
	for value, err := range d.Values(key) {
		return value, err == nil, err
	}
	return nil, false, nil
}

// Values yields the values of key in the order they were written, and an error last where
// the file is broken.
func (d *Reader) Values(key []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		h := hash(key)
		table, slots, err := d.pair(int64(h%256) * 8)
		if err != nil {
			yield(nil, err)
			return
		}
		if slots == 0 {
			return
		}
		if end := int64(table) + 8*int64(slots); end > d.size {
			yield(nil, broken("a table of %d slots at %d lies behind the end at %d", slots, table, d.size))
			return
		}
		at := h >> 8 % slots
		for range slots {
			hashed, pos, err := d.pair(int64(table) + 8*int64(at))
			if err != nil {
				yield(nil, err)
				return
			}
			if pos == 0 {
				return
			}
			if hashed == h {
				value, ours, err := d.record(int64(pos), key)
				if (err != nil || ours) && (!yield(value, err) || err != nil) {
					return
				}
			}
			if at++; at == slots {
				at = 0
			}
		}
	}
}

// record returns the value at pos if its key is the one asked for.
func (d *Reader) record(pos int64, key []byte) (value []byte, ours bool, err error) {
	klen, vlen, err := d.pair(pos)
	if err != nil {
		return nil, false, err
	}
	if int64(klen) != int64(len(key)) {
		return nil, false, nil
	}
	k, err := d.bytes(pos+8, klen)
	if err != nil || !bytes.Equal(k, key) {
		return nil, false, err
	}
	value, err = d.bytes(pos+8+int64(klen), vlen)
	return value, err == nil, err
}

// Record is one pair of a database.
type Record struct{ Key, Value []byte }

// All yields the records in the order they were written, and an error last where the file
// is broken.
func (d *Reader) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		end, _, err := d.pair(0) // the first table follows the last record
		if err != nil {
			yield(Record{}, err)
			return
		}
		if end < headerSize || int64(end) > d.size {
			yield(Record{}, broken("its records end at %d of %d bytes", end, d.size))
			return
		}
		for pos := int64(headerSize); pos < int64(end); {
			klen, vlen, err := d.pair(pos)
			if err == nil && pos+8+int64(klen)+int64(vlen) > int64(end) {
				err = broken("the record at %d runs over the records' end at %d", pos, end)
			}
			var rec Record
			if err == nil {
				rec.Key, err = d.bytes(pos+8, klen)
			}
			if err == nil {
				rec.Value, err = d.bytes(pos+8+int64(klen), vlen)
			}
			if !yield(rec, err) || err != nil {
				return
			}
			pos += 8 + int64(klen) + int64(vlen)
		}
	}
}
