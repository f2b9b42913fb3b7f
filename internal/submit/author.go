package submit

import (
	"bytes"
	"context"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mime"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// This file keeps accounts from writing in others' names: the fields of a header that tell who
// wrote a message may hold the account's own addresses only (RFC 6409 8.1), as its
// reverse-path may. The fields are kept as they pass by, up to a bound, and judged at Commit.

// authorFields are the fields that readers take for the sender (RFC 5322 3.6.2, 3.6.6).
var authorFields = [...]string{"from", "sender", "resent-from", "resent-sender"}

const (
	maxAuthorBytes = 16 << 10 // of all author fields of a message
	maxAuthors     = 100      // addresses in them
)

// authorScanner keeps the author fields of a header.
type authorScanner struct {
	fields  [][]byte // whole fields, folds included
	field   []byte   // the one at hand
	keep    bool     // the line at hand may belong to an author field
	sure    bool     // its name and colon have been seen
	within  bool     // in the midst of a line
	size    int      // bytes of fields
	tooLong bool
}

// part takes the next part of a header line, without its end.
func (a *authorScanner) part(p []byte) {
	if len(p) == 0 {
		return
	}
	if !a.within {
		a.within = true
		if p[0] != ' ' && p[0] != '\t' {
			a.finish()
			a.keep = true
		}
	}
	if !a.keep {
		return
	}
	if !a.sure {
		const enough = 32 // bytes to know most names by
		known := len(a.field)
		head := append(a.field, p[:min(len(p), enough)]...)
		a.field = head[:known]
		if a.keep, a.sure = nameOf(head); !a.keep {
			a.field = a.field[:0]
			return
		}
	}
	if a.size+len(a.field)+len(p) > maxAuthorBytes {
		a.tooLong, a.keep = true, false
		return
	}
	if a.field = append(a.field, p...); !a.sure { // many blanks may stand before the colon
		if a.keep, a.sure = nameOf(a.field); !a.keep {
			a.field = a.field[:0]
		}
	}
}

// end ends a line; the field may go on in the next one.
func (a *authorScanner) end() { a.within = false }

// finish ends the field at hand.
func (a *authorScanner) finish() {
	if a.sure {
		a.fields = append(a.fields, bytes.Clone(a.field))
		a.size += len(a.field)
	}
	a.field, a.keep, a.sure = a.field[:0], false, false
}

// nameOf tells whether a field that begins with head can be an author field, and whether it
// certainly is one.
func nameOf(head []byte) (maybe, sure bool) {
	for _, name := range authorFields {
		n := min(len(head), len(name))
		if !bytes.EqualFold(head[:n], []byte(name)[:n]) {
			continue
		}
		if n < len(name) {
			maybe = true
			continue
		}
		switch rest := bytes.TrimLeft(head[n:], " \t"); { // blanks before the colon: RFC 5322 4.5
		case len(rest) == 0:
			maybe = true
		case rest[0] == ':':
			return true, true
		}
	}
	return maybe, false
}

// authors decides about the author fields of a message.
func (t *Transaction) authors(ctx context.Context) *reason.Error {
	a := t.header.authors
	if a == nil {
		return nil
	}
	a.finish()
	if a.tooLong {
		return reason.AuthorUnreadable.With("From", "it is too long")
	}
	seen := 0
	for _, field := range a.fields {
		name, value, _ := bytes.Cut(field, []byte(":"))
		name = bytes.TrimRight(name, " \t")
		list := mime.ParseAddresses(string(value))
		if seen += len(list); len(list) == 0 || seen > maxAuthors {
			return reason.AuthorUnreadable.With(smtp.Text(string(name), 20), smtp.Text(string(bytes.TrimSpace(value)), 200))
		}
		for i := range list {
			if err := t.author(ctx, string(name), &list[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// author decides about one address of a field.
func (t *Transaction) author(ctx context.Context, field string, a *mime.Address) *reason.Error {
	address := mail.Address{Local: a.Local, Domain: a.Domain}
	if a.Empty || a.Invalid != "" || a.Local == "" || a.Domain == "" {
		return reason.AuthorUnreadable.With(smtp.Text(field, 20), smtp.Text(a.Local, 200))
	}
	r, err := t.s.d.Router.Route(ctx, address)
	if err != nil {
		return reason.As(err)
	}
	if t.s.d.Policy.Owns(t.client.Account, address, &r) != nil {
		return reason.AuthorNotYours.With(smtp.Text(field, 20), smtp.Text(address.String(), 200))
	}
	return nil
}
