package pebblestore

import (
	"encoding/binary"
	"fmt"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// The first byte of each key. Bodies sort before the rest, so that the scan at
// start never passes them.
const (
	bodyPrefix     = 'b'
	envelopePrefix = 'e'
	metaPrefix     = 'm'
	statePrefix    = 'r'
)

var (
	formatKey = []byte("m/format")
	opensKey  = []byte("m/opens")
)

// The range of the body rows.
var bodiesFrom, bodiesTo = []byte{bodyPrefix}, []byte{bodyPrefix + 1}

// format is the version of the rows in the database.
const format = 2

const (
	idKeyLen    = 2 + len(id.ID{})
	stateKeyLen = idKeyLen + 4
)

func idKey(prefix byte, v id.ID) []byte {
	k := make([]byte, 2, stateKeyLen)
	k[0], k[1] = prefix, '/'
	return append(k, v[:]...)
}

func stateKey(v id.ID, n int) []byte {
	return binary.BigEndian.AppendUint32(idKey(statePrefix, v), uint32(n))
}

// parseKey undoes idKey and stateKey; n is -1 for a key of idKey.
func parseKey(k []byte) (v id.ID, n int, ok bool) {
	switch len(k) {
	case idKeyLen:
		n = -1
	case stateKeyLen:
		n = int(binary.BigEndian.Uint32(k[idKeyLen:]))
	default:
		return v, 0, false
	}
	copy(v[:], k[2:])
	return v, n, true
}

// header is what an envelope row says before the envelope itself.
type header struct {
	held bool
	// twice: the row was written more than once, so that SingleDelete must not be used.
	twice bool
	// released is the restore generation in which the message is not held, see Store.restored.
	released uint64
	spool    uint64 // number of its spool file; 0 when the body is a row
	size     int64  // of the body
	count    int    // of recipients
}

const (
	flagHeld  = 1
	flagTwice = 2
)

func (h *header) append(b []byte) []byte {
	var f byte
	if h.held {
		f |= flagHeld
	}
	if h.twice {
		f |= flagTwice
	}
	b = append(b, f)
	b = binary.AppendUvarint(b, h.released)
	b = binary.AppendUvarint(b, h.spool)
	b = binary.AppendUvarint(b, uint64(h.size))
	return binary.AppendUvarint(b, uint64(h.count))
}

// parseHeader reads a row's header; rest is the binary envelope.
func parseHeader(row []byte) (h header, rest []byte, err error) {
	if len(row) == 0 {
		return h, nil, fmt.Errorf("%w: an empty row", queue.ErrFormat)
	}
	h.held, h.twice = row[0]&flagHeld != 0, row[0]&flagTwice != 0
	rest = row[1:]
	var numbers [4]uint64
	for i := range numbers {
		v, n := binary.Uvarint(rest)
		if n <= 0 || v > 1<<62 {
			return h, nil, fmt.Errorf("%w: a row's header", queue.ErrFormat)
		}
		numbers[i], rest = v, rest[n:]
	}
	h.released, h.spool, h.size, h.count = numbers[0], numbers[1], int64(numbers[2]), int(numbers[3])
	// A recipient takes at least four bytes.
	if h.count > len(rest) {
		return h, nil, fmt.Errorf("%w: a row's header counts %d recipients", queue.ErrFormat, h.count)
	}
	return h, rest, nil
}

// appendRow appends the envelope row.
func appendRow(b []byte, h *header, e *mail.Envelope) []byte {
	return queue.AppendEnvelope(h.append(b), e)
}

// A state row is a flag byte and the binary state.
func appendStateRow(b []byte, twice bool, st *queue.RecipientState) []byte {
	var f byte
	if twice {
		f = flagTwice
	}
	return queue.AppendState(append(b, f), st)
}

func parseStateRow(row []byte) (twice bool, st queue.RecipientState, err error) {
	if len(row) == 0 {
		return false, st, fmt.Errorf("%w: an empty row", queue.ErrFormat)
	}
	st, err = queue.DecodeState(row[1:])
	return row[0]&flagTwice != 0, st, err
}
