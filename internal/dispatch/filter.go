package dispatch

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// This file finds the messages that a filter chooses. Memory excludes what it can; the
// envelopes of the rest are read in the order of their IDs, in batches of bounded size, and
// nobody waits for that: what changes meanwhile is judged by what it is when it is acted on.

// The bounds of a batch: it ends with the message that reaches one.
const (
	batchMessages   = 512
	batchRecipients = 10_000
)

// each calls yield with batches of the messages that f matches, in order of their IDs, after one.
func (d *Dispatcher) each(ctx context.Context, f Filter, after id.ID, yield func([]match) (bool, error)) error {
	switch f.State {
	case "", "waiting", "running", "failed", "held":
	default:
		return errors.New("state: want waiting, running, failed or held")
	}
	ids := d.candidates(&f, after)
	from, found := slices.BinarySearchFunc(ids, after, compareIDs)
	if found {
		from++
	}
	for rest := ids[from:]; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, n, err := d.read(ctx, &f, rest[:min(len(rest), batchMessages)])
		if err != nil {
			return err
		}
		rest = rest[n:]
		if len(batch) == 0 {
			continue
		}
		if more, err := yield(batch); err != nil || !more {
			d.keepListing(&f, ids)
			return err
		}
	}
	if !after.IsZero() {
		d.mu.Lock()
		d.listing = nil
		d.mu.Unlock()
	}
	return nil
}

// listing is the IDs of the messages that may match a filter, in order, as they were at a time. A list
// of many pages is read from one, so that a page of a million messages does not sort them all again.
type listing struct {
	filter Filter
	ids    []id.ID
	at     instant
}

// listingKept is how long a listing serves the pages that follow its first.
const listingKept = instant(time.Minute)

func compareIDs(a, b id.ID) int { return bytes.Compare(a[:], b[:]) }

// blocksAtOnce is how many blocks of messages are looked through while deliveries wait.
const blocksAtOnce = 64

// candidates returns the IDs of messages that may match, in order; those up to after as well.
func (d *Dispatcher) candidates(f *Filter, after id.ID) []id.ID {
	if len(f.IDs) > 0 {
		ids := slices.Clone(f.IDs)
		slices.SortFunc(ids, compareIDs)
		return slices.Compact(ids)
	}
	d.mu.Lock()
	if l := d.listing; l != nil && !after.IsZero() && d.now()-l.at < listingKept && reflect.DeepEqual(*f, l.filter) {
		d.mu.Unlock()
		return l.ids
	}
	d.listing = nil
	var ids []id.ID
	want := d.hints(f)
	for b := 0; b < len(d.messages.blocks); b++ {
		if b%blocksAtOnce == blocksAtOnce-1 {
			d.mu.Unlock()
			d.mu.Lock()
		}
		for m := range d.messages.block(b) {
			if d.mayMatch(f, want, m) {
				ids = append(ids, m.id)
			}
		}
	}
	d.mu.Unlock()
	slices.SortFunc(ids, compareIDs) // which takes long: deliveries do not wait for it
	return ids
}

// keepListing keeps the IDs of a list that was not read to its end.
func (d *Dispatcher) keepListing(f *Filter, ids []id.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(f.IDs) == 0 && d.listing == nil {
		d.listing = &listing{*f, ids, d.now()}
	}
}

// hints returns the marks of the domains that f asks of recipients.
func (d *Dispatcher) hints(f *Filter) (m marks) {
	if f.Domain != "" {
		m |= d.marks(f.Domain)
	}
	if to := mail.ParseAddress(f.To); to.Domain != "" {
		m |= d.marks(to.Domain)
	}
	return m
}

// mayMatch reports whether a message may match, by what memory knows.
func (d *Dispatcher) mayMatch(f *Filter, want marks, m *message) bool {
	return !m.gone && m.domains&want == want &&
		(f.Older <= 0 || d.now()-m.birth >= instant(f.Older)) &&
		(f.Group == "" || d.groups[m.group].name == groupName(f.Group)) &&
		(f.State != "held" || m.held) &&
		(f.State != "failed" || m.failed > 0) &&
		(f.State != "running" || m.busy > 0)
}

// read returns those of the messages that f matches, and how many of them it has looked at.
func (d *Dispatcher) read(ctx context.Context, f *Filter, ids []id.ID) (batch []match, n int, err error) {
	found := make([]match, len(ids)) // without an envelope: not (yet) read
	missing, n := d.recall(f, ids, found)
	if len(missing) > 0 {
		i, weight := 0, 0
		err = d.deps.Store.LoadEach(ctx, missing, func(m *queue.Message) bool {
			for ids[i] != m.Envelope.ID {
				i++
			}
			found[i].env, found[i].states = m.Envelope, m.States
			if weight += len(m.States); weight < batchRecipients {
				return true
			}
			n = i + 1
			return false
		})
		if err != nil {
			return nil, 0, err
		}
	}
	if f.State == "waiting" || f.State == "running" {
		d.addRunning(found[:n])
	}
	for i := range found[:n] {
		if x := &found[i]; x.env != nil && f.matches(x) {
			batch = append(batch, *x)
		}
	}
	return batch, n, nil
}

// recall fills in what memory knows, and returns the messages that must be read, and how many it has
// looked at.
func (d *Dispatcher) recall(f *Filter, ids []id.ID, found []match) (missing []id.ID, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	want, weight := d.hints(f), 0
	for i, v := range ids {
		if weight >= batchRecipients {
			return missing, i
		}
		m := d.find(v)
		if m == nil || !d.mayMatch(f, want, m) {
			continue
		}
		found[i].id = v
		if c := d.contents[m.self]; c != nil {
			found[i].env, found[i].states = c.env, slices.Clone(c.states)
			weight += len(c.states)
		} else {
			missing = append(missing, v)
		}
	}
	return missing, len(ids)
}

// addRunning adds what is being delivered now.
func (d *Dispatcher) addRunning(found []match) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range found {
		m := d.find(found[i].id)
		if m == nil || m.busy == 0 {
			continue
		}
		for t := range d.tasksOf(m) {
			if t.where == running {
				found[i].running = slices.AppendSeq(found[i].running, d.recipients.of(t.recipients))
			}
		}
		slices.Sort(found[i].running)
	}
}

// matches decides what memory left open and sets x.ns.
func (f *Filter) matches(x *match) bool {
	env := x.env
	if f.From != "" && !addressMatches(f.From, env.From) || f.Account != "" && !strings.EqualFold(f.Account, env.Account) {
		return false
	}
	domain := foldDomain(f.Domain)
	x.ns = x.ns[:0]
	for n := range x.states {
		s, to := &x.states[n], env.Recipients[n].To
		if s.State.Final() || !f.owns(env.Account, to) ||
			f.To != "" && !addressMatches(f.To, to) ||
			f.Domain != "" && foldDomain(to.Domain) != domain ||
			f.Reason != "" && (s.Err == nil || f.Reason != s.Err.Reason) ||
			!f.stateMatches(s.State, x.running.has(uint32(n))) {
			continue
		}
		x.ns = append(x.ns, uint32(n))
	}
	return len(x.ns) > 0
}

// stateMatches compares a recipient's state; "held" is one of messages.
func (f *Filter) stateMatches(s queue.State, runs bool) bool {
	switch f.State {
	case "waiting":
		return s == queue.Waiting && !runs
	case "running":
		return runs
	case "failed":
		return s == queue.Failed && !runs
	}
	return true
}

// stillMatches reports whether f matches a message that it has chosen before, by what the store knows now.
func (f *Filter) stillMatches(x *match, held bool) bool {
	now := *f
	switch {
	case f.State == "held" && !held, f.Group != "" && x.env.Group != groupName(f.Group):
		return false
	case f.State == "running", f.State == "waiting": // what runs may have ended, which changes no recipient's choice
		now.State = ""
	}
	return now.matches(x)
}

// addressMatches compares an address with a pattern: an address, *@DOMAIN, or <>.
func addressMatches(pattern string, a mail.Address) bool {
	if pattern == "<>" {
		return a.IsZero()
	}
	if domain, ok := strings.CutPrefix(pattern, "*@"); ok {
		return foldDomain(a.Domain) == foldDomain(domain)
	}
	return strings.EqualFold(pattern, a.String())
}
