// Package srs is the Sender Rewriting Scheme: the reverse-path of a message that is sent on becomes
// one of our own domain, so that the next host's check of the sender's domain (SPF) is about us, and
// a bounce comes back here and finds its way to the sender.
//
// SRS0=HASH=TT=DOMAIN=LOCAL@ours holds the sender; SRS1=HASH=DOMAIN==…@ours leads to another
// forwarder's SRS0 address. HASH is made with our secret, TT is the day, so that nobody can make
// addresses of his own and none leads anywhere for ever.
package srs

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/mail"
)

// Rewriter rewrites for one domain. Domain and Secret are needed.
type Rewriter struct {
	Domain string // ours, which the rewritten addresses are at
	Secret string
	// MaxDays is how long an address leads back, in days; 0 means 21.
	MaxDays int
	Now     func() time.Time // nil is the system's
}

// Errors of Reverse.
var (
	ErrForged  = errors.New("this SRS address is not one that this host has made")
	ErrExpired = errors.New("this SRS address has expired")
)

// letters are those of base32 in lower case: addresses lose their case on the way.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

var encoding = base32.NewEncoding(letters).WithPadding(base32.NoPadding)

// hashLength is the characters of a hash: 40 bits, of which a guess costs a message each.
const hashLength = 8

// days is the number that dates are counted up to, before they begin again: what two letters hold.
const days = 32 * 32

// Ours reports whether an address is of the form that Reverse reads.
func (r *Rewriter) Ours(a mail.Address) bool {
	return strings.EqualFold(a.Domain, r.Domain) && (hasTag(a.Local, "SRS0") || hasTag(a.Local, "SRS1"))
}

func hasTag(local, tag string) bool {
	return len(local) > 5 && strings.EqualFold(local[:4], tag) && strings.IndexByte("=+-", local[4]) >= 0
}

// Forward returns the reverse-path to send a message on with. The null one, one without a domain, and one of
// our own stay as they are.
func (r *Rewriter) Forward(from mail.Address) mail.Address {
	if from.Local == "" || from.Domain == "" || from.Domain == "[]" || strings.EqualFold(from.Domain, r.Domain) {
		return from
	}
	switch {
	case hasTag(from.Local, "SRS0"):
		rest := from.Domain + "=" + from.Local[4:] // the separator of the other stays: "==" or "=+"
		return mail.Address{Local: "SRS1=" + r.hash(rest) + "=" + rest, Domain: r.Domain}
	case hasTag(from.Local, "SRS1"):
		// The first forwarder is the one that bounces go to: the ones between are left out.
		if _, rest, ok := strings.Cut(from.Local[5:], "="); ok {
			return mail.Address{Local: "SRS1=" + r.hash(rest) + "=" + rest, Domain: r.Domain}
		}
	}
	rest := r.day() + "=" + from.Domain + "=" + from.Local
	return mail.Address{Local: "SRS0=" + r.hash(rest) + "=" + rest, Domain: r.Domain}
}

// Reverse returns where a bounce to one of Ours goes. The error is ErrForged or ErrExpired.
func (r *Rewriter) Reverse(to mail.Address) (mail.Address, error) {
	if !r.Ours(to) {
		return to, ErrForged
	}
	hash, rest, ok := strings.Cut(to.Local[5:], "=")
	if !ok || !hmac.Equal([]byte(strings.ToLower(hash)), []byte(r.hash(rest))) {
		return to, ErrForged
	}
	if hasTag(to.Local, "SRS1") {
		domain, local, ok := strings.Cut(rest, "=")
		if !ok || domain == "" || local == "" {
			return to, ErrForged
		}
		return mail.Address{Local: "SRS0" + local, Domain: domain}, nil
	}
	f := strings.SplitN(rest, "=", 3)
	if len(f) != 3 || f[1] == "" || f[2] == "" {
		return to, ErrForged
	}
	if r.expired(f[0]) {
		return to, ErrExpired
	}
	return mail.Address{Local: f[2], Domain: f[1]}, nil
}

// hash signs what stands behind it, letters' case apart.
func (r *Rewriter) hash(rest string) string {
	mac := hmac.New(sha256.New, []byte(r.Secret))
	mac.Write([]byte(strings.ToLower(rest)))
	return encoding.EncodeToString(mac.Sum(nil))[:hashLength]
}

func (r *Rewriter) today() int {
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	return int(now().Unix()/86400) % days
}

func (r *Rewriter) day() string {
	d := r.today()
	return string([]byte{letters[d/32], letters[d%32]})
}

func (r *Rewriter) expired(day string) bool {
	if day = strings.ToLower(day); len(day) != 2 {
		return true
	}
	high, low := strings.IndexByte(letters, day[0]), strings.IndexByte(letters, day[1])
	most := cmp.Or(r.MaxDays, 21)
	return high < 0 || low < 0 || (r.today()-(high*32+low)+days)%days > most
}
