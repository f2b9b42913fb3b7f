package seam

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// The wire form of jobs and verdicts. What every delivery has is binary: strings
// with their length before them, in a fixed order. What few have (a next hop, a
// failure) is JSON within. Both sides are one version of the program.

// Flags of jobs, recipients and verdicts.
const (
	flagAgain = 1 << iota
	flagReplay
	flagRelayed
	flagFailed // the failure follows
	flagForce
	flagUser    // whose instructions decide follows
	flagForward // what is sent on follows
)

// Flags of what is sent on.
const (
	flagStanding = 1 << iota // what decided follows
	flagOwner
	flagOwnerDefault
)

// errShort is told of a job or of verdicts that end too soon.
var errShort = errors.New("deliver: what came is cut short")

// wireFailure is a Verdict's Err; Cause carries what JSON leaves out.
type wireFailure struct {
	Err   *reason.Error
	Cause string `json:",omitempty"`
}

// appendHead appends a job without its envelope and body.
func appendHead(p []byte, job *deliver.Job) ([]byte, error) {
	p = append(p, job.Attempt[:]...)
	p = append(p, flag(job.Force, flagForce))
	var next []byte
	if job.Next != nil {
		var err error
		if next, err = json.Marshal(job.Next); err != nil {
			return nil, err
		}
	}
	p = appendPiece(p, next)
	p = binary.AppendUvarint(p, uint64(len(job.Recipients)))
	for i := range job.Recipients {
		r := &job.Recipients[i]
		p = binary.AppendVarint(p, int64(r.N))
		for _, s := range [...]string{r.To.Local, r.To.Domain, r.Dest, r.Final.Local, r.Final.Domain, r.From.Local, r.From.Domain, r.Folder, r.ORcpt} {
			p = appendPiece(p, s)
		}
		p = append(p, byte(r.Notify), flag(r.Again, flagAgain)|flag(r.User != nil, flagUser))
		if r.User != nil {
			p = appendUser(p, r.User)
		}
	}
	return p, nil
}

func appendUser(p []byte, u *route.User) []byte {
	p = binary.AppendUvarint(binary.AppendUvarint(p, uint64(u.UID)), uint64(u.GID))
	for _, s := range [...]string{u.Name, u.Home, u.Dash, u.Ext, u.Local, u.Host, u.Owner.Local, u.Owner.Domain} {
		p = appendPiece(p, s)
	}
	p = binary.AppendUvarint(p, uint64(len(u.Instructions)))
	for _, i := range u.Instructions {
		p = appendPiece(appendPiece(p, i.Line), i.Where)
	}
	return p
}

// decodeHead fills job with what appendHead wrote.
func decodeHead(p []byte, job *deliver.Job) error {
	r := pieces{rest: p}
	copy(job.Attempt[:], r.take(uint64(len(job.Attempt))))
	job.Force = r.byte()&flagForce != 0
	if next := r.piece(); len(next) > 0 {
		job.Next = new(route.NextHop)
		if err := json.Unmarshal(next, job.Next); err != nil {
			return err
		}
	}
	const least = 12 // bytes of a recipient
	n := r.uvarint()
	if n > uint64(len(r.rest)/least) {
		return errShort
	}
	job.Recipients = make([]deliver.Recipient, n)
	for i := range job.Recipients {
		to := &job.Recipients[i]
		*to = deliver.Recipient{N: int(r.varint()), To: r.address(), Dest: r.string(), Final: r.address(), From: r.address(), Folder: r.string(), ORcpt: r.string(), Notify: mail.Notify(r.byte())}
		flags := r.byte()
		to.Again = flags&flagAgain != 0
		if flags&flagUser != 0 {
			to.User = r.user()
		}
	}
	return r.end()
}

func appendVerdicts(p []byte, list []deliver.Verdict) ([]byte, error) {
	p = binary.AppendUvarint(p, uint64(len(list)))
	for i := range list {
		v := &list[i]
		p = append(p, flag(v.Replay, flagReplay)|flag(v.Relayed, flagRelayed)|flag(v.Err != nil, flagFailed)|flag(v.Forward != nil, flagForward))
		for _, s := range [...]string{v.Text, v.Host, v.Addr, v.TLS, v.Transcript} {
			p = appendPiece(p, s)
		}
		p = binary.AppendVarint(p, int64(v.RetryAfter))
		if v.Forward != nil {
			p = appendForward(p, v.Forward)
		}
		if v.Err == nil {
			continue
		}
		f := wireFailure{Err: v.Err}
		if v.Err.Cause != nil {
			f.Cause = v.Err.Cause.Error()
		}
		b, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		p = appendPiece(p, b)
	}
	return p, nil
}

func appendForward(p []byte, f *deliver.Forward) []byte {
	p = appendPiece(appendPiece(p, f.From.Local), f.From.Domain)
	p = binary.AppendUvarint(p, uint64(len(f.To)))
	for _, a := range f.To {
		p = appendPiece(appendPiece(p, a.Local), a.Domain)
	}
	s := f.Standing
	if s == nil {
		return append(p, 0)
	}
	p = append(p, flagStanding|flag(s.Owner, flagOwner)|flag(s.OwnerDefault, flagOwnerDefault))
	return appendPiece(appendPiece(p, s.File), s.Witness)
}

func decodeVerdicts(p []byte) ([]deliver.Verdict, error) {
	r := pieces{rest: p}
	const least = 7 // bytes of a verdict
	n := r.uvarint()
	if n > uint64(len(r.rest)/least) {
		return nil, errShort
	}
	list := make([]deliver.Verdict, n)
	for i := range list {
		flags := r.byte()
		list[i] = deliver.Verdict{Replay: flags&flagReplay != 0, Relayed: flags&flagRelayed != 0,
			Text: r.string(), Host: r.string(), Addr: r.string(), TLS: r.string(), Transcript: r.string(), RetryAfter: time.Duration(r.varint())}
		if flags&flagForward != 0 {
			list[i].Forward = r.forward()
		}
		if flags&flagFailed == 0 {
			continue
		}
		var f wireFailure
		if b := r.piece(); r.failed {
			return nil, errShort
		} else if err := json.Unmarshal(b, &f); err != nil {
			return nil, err
		}
		if f.Err == nil {
			return nil, fmt.Errorf("deliver: a failure without its reason")
		}
		if f.Cause != "" {
			f.Err.Cause = errors.New(f.Cause)
		}
		list[i].Err = f.Err
	}
	return list, r.end()
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

func appendPiece[T string | []byte](p []byte, s T) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

// pieces reads the wire form. After its first failure everything is zero.
type pieces struct {
	rest   []byte
	failed bool
}

func (r *pieces) fail() { r.rest, r.failed = nil, true }

func (r *pieces) end() error {
	if r.failed || len(r.rest) > 0 {
		return errShort
	}
	return nil
}

func (r *pieces) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *pieces) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *pieces) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *pieces) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *pieces) piece() []byte  { return r.take(r.uvarint()) }
func (r *pieces) string() string { return string(r.piece()) }

func (r *pieces) address() mail.Address { return mail.Address{Local: r.string(), Domain: r.string()} }

func (r *pieces) user() *route.User {
	u := &route.User{
		UID: uint32(r.uvarint()), GID: uint32(r.uvarint()),
		Name: r.string(), Home: r.string(), Dash: r.string(), Ext: r.string(), Local: r.string(), Host: r.string(), Owner: r.address(),
	}
	const least = 2 // bytes of an instruction
	n := r.uvarint()
	if n > uint64(len(r.rest)/least) {
		r.fail()
		return u
	}
	for range n {
		u.Instructions = append(u.Instructions, route.Instruction{Line: r.string(), Where: r.string()})
	}
	return u
}

func (r *pieces) forward() *deliver.Forward {
	f := &deliver.Forward{From: r.address()}
	const least = 2 // bytes of an address
	n := r.uvarint()
	if n > uint64(len(r.rest)/least) {
		r.fail()
		return f
	}
	f.To = make([]mail.Address, n)
	for i := range f.To {
		f.To[i] = r.address()
	}
	if flags := r.byte(); flags&flagStanding != 0 {
		f.Standing = &deliver.Standing{Owner: flags&flagOwner != 0, OwnerDefault: flags&flagOwnerDefault != 0, File: r.string(), Witness: r.string()}
	}
	return f
}
