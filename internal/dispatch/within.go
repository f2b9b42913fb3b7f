package dispatch

import (
	"slices"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// This file is what a filter leaves to those who may see and change a part of the queue only. Theirs is a
// message that an account of their domains sent, and of any other message the recipients in them.

// ownsMessage reports whether a whole message is within f's bounds, by the account that sent it.
func (f *Filter) ownsMessage(account string) bool {
	return f.Within == nil || account != "" && slices.Contains(f.Within, foldDomain(mail.ParseAddress(account).Domain))
}

// owns reports whether a recipient is within f's bounds.
func (f *Filter) owns(account string, to mail.Address) bool {
	return f.ownsMessage(account) || slices.Contains(f.Within, foldDomain(to.Domain))
}

// mayHurry reports whether f's bounds allow to try or give up recipients of a message. One that is held is in the
// hands of whoever runs the server.
func (f *Filter) mayHurry(held bool) bool { return f.Within == nil || !held }

// mayRevise reports whether f's bounds allow to change a whole message: all of its recipients must be within.
func (f *Filter) mayRevise(m *queue.Message) bool {
	if !f.mayHurry(m.Held) {
		return false
	}
	outside := func(r mail.Recipient) bool { return !f.owns(m.Envelope.Account, r.To) }
	return f.Within == nil || !slices.ContainsFunc(m.Envelope.Recipients, outside)
}

// conceal takes out of a description what is not within f's bounds.
func (f *Filter) conceal(m *Info) {
	if f.ownsMessage(m.Account) {
		return
	}
	m.Recipients = slices.DeleteFunc(m.Recipients, func(r Recipient) bool { return !f.owns(m.Account, mail.ParseAddress(r.To)) })
	m.Account, m.Parent, m.EnvelopeID = "", id.ID{}, ""
}
