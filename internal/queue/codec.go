package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// The binary form of envelopes and recipient states, as stores and archives keep
// it: fields in a fixed order, integers as varints, strings with their length
// before them, so that any byte survives. The first byte is the version; a newer one is refused.
const codecVersion = 1

// copyFollows is set in the byte of a recipient's Notify when its Copy is behind. Older
// envelopes have it never.
const copyFollows = 0x80

// ErrFormat is wrapped by the errors of Decode functions.
var ErrFormat = queueError("not in the queue's format")

// AppendEnvelope appends e's binary form to b.
func AppendEnvelope(b []byte, e *mail.Envelope) []byte {
	b = append(b, codecVersion)
	b = append(b, e.ID[:]...)
	b = append(b, e.Session[:]...)
	b = append(b, e.Parent[:]...)
	b = appendTime(b, e.Accepted)
	b = appendAddress(b, e.From)
	b = append(b, byte(e.Body), flags(e.UTF8, e.TLSOnly, e.Eight, e.Held), byte(e.Ret), byte(e.Priority))
	b = appendString(b, e.EnvID)
	b = appendString(b, e.Group)
	b = binary.AppendUvarint(b, e.Tenant)
	b = appendString(b, e.Account)
	client, _ := e.Client.MarshalBinary() // never fails
	b = binary.AppendUvarint(b, uint64(len(client)))
	b = append(b, client...)
	b = appendString(b, e.HELO)
	b = appendString(b, e.Protocol)
	b = binary.AppendVarint(b, e.Size)
	b = binary.AppendVarint(b, e.CRLFSize)
	b = binary.AppendUvarint(b, uint64(len(e.Recipients)))
	for i := range e.Recipients {
		r := &e.Recipients[i]
		b = appendAddress(b, r.To)
		b = appendString(b, r.ORcpt)
		notify := byte(r.Notify)
		if r.Copy != "" {
			notify |= copyFollows
		}
		b = append(b, notify)
		b = appendError(b, r.Refused)
		if r.Copy != "" {
			b = appendString(b, r.Copy)
		}
	}
	return b
}

// leastRecipient is what a recipient takes in an envelope, in bytes.
const leastRecipient = 5

// DecodeEnvelope reads what AppendEnvelope wrote. The error wraps ErrFormat.
func DecodeEnvelope(data []byte) (*mail.Envelope, error) { return decodeEnvelope(data, math.MaxInt) }

// decodeEnvelope reads an envelope of at most so many recipients.
func decodeEnvelope(data []byte, most int) (*mail.Envelope, error) {
	d := newDecoder(data)
	e := &mail.Envelope{
		ID: d.id(), Session: d.id(), Parent: d.id(), Accepted: d.time(), From: d.address(), Body: mail.BodyType(d.byte()),
	}
	f := d.byte()
	e.UTF8, e.TLSOnly, e.Eight, e.Held = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	e.Ret, e.Priority = mail.Ret(d.byte()), int8(d.byte())
	e.EnvID, e.Group, e.Tenant, e.Account = d.string(), d.string(), d.uvarint(), d.string()
	if s := d.string(); s != "" && e.Client.UnmarshalBinary([]byte(s)) != nil {
		d.fail("a client address of %d bytes", len(s))
	}
	e.HELO, e.Protocol, e.Size, e.CRLFSize = d.string(), d.string(), d.varint(), d.varint()
	n := d.count(leastRecipient)
	if n > most {
		d.fail("%d recipients, want at most %d", n, most)
	}
	if n > 0 && d.err == nil {
		e.Recipients = make([]mail.Recipient, n)
		for i := range e.Recipients {
			r := &e.Recipients[i]
			r.To, r.ORcpt = d.address(), d.string()
			notify := d.byte()
			r.Notify, r.Refused = mail.Notify(notify&^copyFollows), d.error()
			if notify&copyFollows != 0 {
				r.Copy = d.string()
			}
		}
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	return e, nil
}

// AppendState appends s's binary form to b. The private cause of s.Err is kept as its text.
func AppendState(b []byte, s *RecipientState) []byte {
	b = append(b, codecVersion, byte(s.State), flags(s.Delayed))
	b = binary.AppendVarint(b, int64(s.N))
	b = binary.AppendVarint(b, int64(s.Attempts))
	b = appendTime(b, s.Next)
	b = appendTime(b, s.Last)
	b = appendString(b, s.Host)
	return appendError(b, s.Err)
}

// DecodeState reads what AppendState wrote. The error wraps ErrFormat.
func DecodeState(data []byte) (RecipientState, error) {
	d := newDecoder(data)
	s := RecipientState{State: State(d.byte()), Delayed: d.byte()&1 != 0, N: d.int(), Attempts: d.int()}
	s.Next, s.Last, s.Host, s.Err = d.time(), d.time(), d.string(), d.error()
	if err := d.end(); err != nil {
		return RecipientState{}, fmt.Errorf("recipient state: %w", err)
	}
	return s, nil
}

func flags(f ...bool) (b byte) {
	for i, on := range f {
		if on {
			b |= 1 << i
		}
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendAddress(b []byte, a mail.Address) []byte {
	return appendString(appendString(b, a.Local), a.Domain)
}

// appendTime writes 0 for the zero time, else nanoseconds + 1 and Unix seconds.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendVarint(binary.AppendUvarint(b, uint64(t.Nanosecond())+1), t.Unix())
}

func appendError(b []byte, e *reason.Error) []byte {
	if e == nil {
		return append(b, 0)
	}
	b = append(b, 1, byte(e.Class))
	b = binary.AppendVarint(b, int64(e.Code))
	b = appendString(b, e.Enhanced)
	b = appendString(b, string(e.Reason))
	b = binary.AppendUvarint(b, uint64(len(e.Args)))
	for _, a := range e.Args {
		b = appendString(b, a)
	}
	b = appendString(b, e.Remote)
	if e.Cause == nil {
		return append(b, 0)
	}
	return appendString(append(b, 1), e.Cause.Error())
}

// decoder reads the binary form. All strings it returns share one copy of the
// data. After its first failure everything is zero.
type decoder struct {
	rest string
	err  error
}

func newDecoder(data []byte) *decoder {
	d := &decoder{rest: string(data)}
	if v := d.byte(); d.err == nil && v != codecVersion {
		d.fail("version %d, this program knows %d", v, codecVersion)
	}
	return d
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
	}
	d.rest = ""
}

func (d *decoder) end() error {
	if d.err == nil && d.rest != "" {
		d.fail("%d bytes too many", len(d.rest))
	}
	return d.err
}

func (d *decoder) take(n uint64) string {
	if uint64(len(d.rest)) < n {
		d.fail("it ends too soon")
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) byte() byte {
	if s := d.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (d *decoder) id() (v id.ID) {
	copy(v[:], d.take(uint64(len(v))))
	return v
}

func (d *decoder) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		c := d.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				break
			}
			return v
		}
	}
	d.fail("a number is too large")
	return 0
}

// varint undoes binary.AppendVarint's zigzag.
func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) int() int {
	v := d.varint()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail("a number is too large")
		return 0
	}
	return int(v)
}

// count reads how many elements follow, each of at least so many bytes.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/least) {
		d.fail("a list of %d elements in %d bytes", n, len(d.rest))
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return d.take(d.uvarint()) }

func (d *decoder) address() mail.Address { return mail.Address{Local: d.string(), Domain: d.string()} }

func (d *decoder) time() time.Time {
	ns := d.uvarint()
	if ns == 0 {
		return time.Time{}
	}
	if ns > 1e9 {
		d.fail("%d nanoseconds", ns)
		return time.Time{}
	}
	return time.Unix(d.varint(), int64(ns-1)).UTC()
}

func (d *decoder) error() *reason.Error {
	if d.byte() == 0 {
		return nil
	}
	e := &reason.Error{Class: reason.Class(d.byte()), Code: d.int(), Enhanced: d.string(), Reason: reason.ID(d.string())}
	if n := d.count(1); n > 0 {
		e.Args = make([]string, n)
		for i := range e.Args {
			e.Args[i] = d.string()
		}
	}
	e.Remote = d.string()
	if d.byte() != 0 {
		e.Cause = errors.New(d.string())
	}
	return e
}
