package cdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// ErrFull: the format ends at 4 GiB.
var ErrFull = errors.New("more than a constant database can hold, 4 GiB")

// Writer writes a database record by record. Its memory grows by 8 bytes a record. A file
// is no database before Close; write it under another name, sync and rename it.
type Writer struct {
	w      io.WriteSeeker
	buf    *bufio.Writer
	pos    int64
	tables [256][]slot
	err    error
}

type slot struct{ hash, pos uint32 }

// NewWriter starts a database at w's beginning.
func NewWriter(w io.WriteSeeker) *Writer {
	c := &Writer{w: w, buf: bufio.NewWriterSize(w, 64<<10)}
	_, c.err = w.Seek(0, io.SeekStart)
	c.write(make([]byte, headerSize))
	return c
}

// write appends b, unless an earlier write failed or the file would grow too long.
func (c *Writer) write(b []byte) {
	if c.err != nil {
		return
	}
	if c.pos+int64(len(b)) > math.MaxUint32 {
		c.err = ErrFull
		return
	}
	_, c.err = c.buf.Write(b)
	c.pos += int64(len(b))
}

func (c *Writer) pair(a, b uint32) {
	var p [8]byte
	binary.LittleEndian.PutUint32(p[:], a)
	binary.LittleEndian.PutUint32(p[4:], b)
	c.write(p[:])
}

// Put adds a record. Of several with one key, Get finds the first. ErrFull is of a database that would be larger than
// 4 GiB; after an error nothing more is written.
func (c *Writer) Put(key, value []byte) error {
	if int64(len(key)) > math.MaxUint32 || int64(len(value)) > math.MaxUint32 {
		return ErrFull
	}
	h, at := hash(key), uint32(c.pos)
	c.pair(uint32(len(key)), uint32(len(value)))
	c.write(key)
	c.write(value)
	if c.err == nil {
		c.tables[h%256] = append(c.tables[h%256], slot{h, at})
	}
	return c.err
}

// Close writes the tables and the header. It neither syncs nor closes the file.
func (c *Writer) Close() error {
	var header [headerSize]byte
	for i, entries := range c.tables {
		binary.LittleEndian.PutUint32(header[i*8:], uint32(c.pos))
		n := uint32(len(entries)) * 2
		binary.LittleEndian.PutUint32(header[i*8+4:], n)
		table := make([]slot, n)
		for _, e := range entries {
			at := e.hash >> 8 % n
			for table[at].pos != 0 {
				if at++; at == n {
					at = 0
				}
			}
			table[at] = e
		}
		for _, e := range table {
			c.pair(e.hash, e.pos)
		}
	}
	if c.err == nil {
		c.err = c.buf.Flush()
	}
	if c.err == nil {
		_, c.err = c.w.Seek(0, io.SeekStart)
	}
	if c.err == nil {
		_, c.err = c.w.Write(header[:])
	}
	return c.err
}

// Buffer is a file in memory for a Writer; its zero value is empty.
type Buffer struct {
	b   []byte
	pos int
}

// Bytes returns what was written.
func (f *Buffer) Bytes() []byte { return f.b }

// Write implements io.Writer.
func (f *Buffer) Write(p []byte) (int, error) {
	n := copy(f.b[f.pos:], p)
	f.b = append(f.b, p[n:]...)
	f.pos += len(p)
	return len(p), nil
}

// Seek implements io.Seeker, within what was written.
func (f *Buffer) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += int64(f.pos)
	case io.SeekEnd:
		offset += int64(len(f.b))
	}
	if offset < 0 || offset > int64(len(f.b)) {
		return 0, errors.New("cdb: seek outside of the buffer")
	}
	f.pos = int(offset)
	return offset, nil
}
