package pebblex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// A record is what one write of the log makes durable:
//
//	sum      4 bytes  CRC-32C of the rest of the header, of the table and of the rows
//	magic    4
//	segment  8        the file's number: a record of another is left from an earlier use of the file
//	number   8        of the record; they count up over all segments
//	bodies   4        how many
//	rows     4        in bytes
//	table    8 each   length and CRC-32C of a body
//	bodies
//	rows              a batch as Pebble writes it
//
// All numbers are little-endian. The first record of a segment has no bodies and no rows: it opens the segment, and its
// number is that of the record that comes next. A record with such a number or a higher one in an earlier
// segment is void.
const (
	recordMagic  = 0x4c4f4750
	recordHeader = 32
	tableEntry   = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// place is where a body lies in the log.
type place struct {
	segment uint64
	offset  int64
	size    uint32
	sum     uint32
}

const placeLen = 24

func (p place) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, p.segment)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.offset))
	b = binary.LittleEndian.AppendUint32(b, p.size)
	return binary.LittleEndian.AppendUint32(b, p.sum)
}

func parsePlace(b []byte) (p place, err error) {
	if len(b) != placeLen {
		return p, fmt.Errorf("a place in the log has %d bytes, want %d", len(b), placeLen)
	}
	p.segment = binary.LittleEndian.Uint64(b)
	p.offset = int64(binary.LittleEndian.Uint64(b[8:]))
	p.size = binary.LittleEndian.Uint32(b[16:])
	p.sum = binary.LittleEndian.Uint32(b[20:])
	return p, nil
}

// framed is a record being made: its header and table, which begin, and its rows, which end it.
type framed struct {
	segment, number uint64
	bodies          []*Attachment
}

// lead is the length of what comes before the bodies.
func (f framed) lead() int64 { return recordHeader + tableEntry*int64(len(f.bodies)) }

// append appends the record. The bodies' places have been set.
func (f framed) append(b, rows []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, recordMagic)
	b = binary.LittleEndian.AppendUint64(b, f.segment)
	b = binary.LittleEndian.AppendUint64(b, f.number)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.bodies)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(rows)))
	for _, a := range f.bodies {
		b = binary.LittleEndian.AppendUint32(b, a.place.size)
		b = binary.LittleEndian.AppendUint32(b, a.place.sum)
	}
	sum := crc32.Update(crc32.Checksum(b[start+4:], castagnoli), castagnoli, rows)
	binary.LittleEndian.PutUint32(b[start:], sum)
	for _, a := range f.bodies {
		b = append(b, a.Data...)
	}
	return append(b, rows...)
}

// errNoRecord tells that there is no whole record: the end of what was written, or of what survived.
var errNoRecord = errors.New("no record")

// reader reads the records of one segment in order.
type reader struct {
	from    io.ReaderAt
	size    int64 // of the file
	segment uint64
	at      int64 // of the next record
	whole   bool  // bodies are read and checked too

	number uint64  // of the present record
	places []place // of its bodies
	rows   []byte
	table  []byte
	body   []byte
}

// next reads a record. The error is errNoRecord or one of the disk.
func (r *reader) next() error {
	var h [recordHeader]byte
	if err := r.read(h[:], r.at); err != nil {
		return err
	}
	bodies, rows := int64(binary.LittleEndian.Uint32(h[24:])), int64(binary.LittleEndian.Uint32(h[28:]))
	if binary.LittleEndian.Uint32(h[4:]) != recordMagic || binary.LittleEndian.Uint64(h[8:]) != r.segment {
		return errNoRecord
	}
	r.table = sized(r.table, min(tableEntry*bodies, r.size+1))
	if err := r.read(r.table, r.at+recordHeader); err != nil {
		return err
	}
	at := r.at + recordHeader + tableEntry*bodies
	r.places = r.places[:0]
	for t := r.table; len(t) > 0; t = t[tableEntry:] {
		p := place{r.segment, at, binary.LittleEndian.Uint32(t), binary.LittleEndian.Uint32(t[4:])}
		r.places = append(r.places, p)
		if at += int64(p.size); at > r.size {
			return errNoRecord
		}
	}
	r.rows = sized(r.rows, min(rows, r.size+1))
	if err := r.read(r.rows, at); err != nil {
		return err
	}
	sum := crc32.Update(crc32.Checksum(h[4:], castagnoli), castagnoli, r.table)
	if crc32.Update(sum, castagnoli, r.rows) != binary.LittleEndian.Uint32(h[:]) {
		return errNoRecord
	}
	if r.whole {
		for _, p := range r.places {
			r.body = sized(r.body, int64(p.size))
			if err := r.read(r.body, p.offset); err != nil {
				return err
			}
			if crc32.Checksum(r.body, castagnoli) != p.sum {
				return errNoRecord
			}
		}
	}
	r.number = binary.LittleEndian.Uint64(h[16:])
	r.at = at + rows
	return nil
}

// read fills b from the file.
func (r *reader) read(b []byte, at int64) error {
	if at > r.size-int64(len(b)) {
		return errNoRecord
	}
	if len(b) == 0 {
		return nil
	}
	n, err := r.from.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errNoRecord
	}
	return err
}

// opening reads the record that opens the segment and returns the number of the first one after it.
func (r *reader) opening() (first uint64, err error) {
	if err := r.next(); err != nil {
		return 0, err
	}
	if len(r.places) > 0 || len(r.rows) > 0 || r.number == 0 || r.number == math.MaxUint64 {
		return 0, errNoRecord
	}
	return r.number, nil
}

// segmentOf returns the number of the segment that the file was used for last, 0 if there is none.
func segmentOf(file io.ReaderAt) (uint64, error) {
	var h [16]byte
	n, err := file.ReadAt(h[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n < len(h) || binary.LittleEndian.Uint32(h[4:]) != recordMagic {
		return 0, nil
	}
	return binary.LittleEndian.Uint64(h[8:]), nil
}

// sized returns b with n bytes of any content.
func sized(b []byte, n int64) []byte {
	if int64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}
