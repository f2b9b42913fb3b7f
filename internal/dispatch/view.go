package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// This file is what operators see of the queue: filters, lists and sums. It answers from
// memory where it can and reads envelopes where it must.

// Filter chooses messages; a zero field chooses all. A message matches when its own
// fields do and at least one unfinished recipient has all that is asked of recipients
// (To, Domain, Reason, State).
type Filter struct {
	IDs     []id.ID       `json:"ids,omitempty"`
	From    string        `json:"from,omitempty"`   // an address, or *@DOMAIN; "<>" is the empty one
	To      string        `json:"to,omitempty"`     // an address, or *@DOMAIN
	Domain  string        `json:"domain,omitempty"` // of the recipient
	Reason  reason.ID     `json:"reason,omitempty"` // of the last attempt
	Older   time.Duration `json:"older,omitempty"`  // at least this old
	State   string        `json:"state,omitempty"`  // waiting, running, failed or held
	Group   string        `json:"group,omitempty"`  // "default" is that of mail without a group
	Account string        `json:"account,omitempty"`
}

// Info is one message as operators see it. Texts may hold any bytes that a peer sent:
// escape them before a terminal sees them.
type Info struct {
	ID         id.ID       `json:"id"`
	Parent     id.ID       `json:"parent,omitzero"`
	From       string      `json:"from"`
	Accepted   time.Time   `json:"accepted"`
	Size       int64       `json:"size"` // bytes
	Priority   int8        `json:"priority,omitempty"`
	Group      string      `json:"group,omitempty"`
	Account    string      `json:"account,omitempty"`
	Client     string      `json:"client,omitempty"`
	Protocol   string      `json:"protocol,omitempty"`
	EnvelopeID string      `json:"envelope_id,omitempty"`
	Held       bool        `json:"held,omitempty"`
	QueueOnly  bool        `json:"queue_only,omitempty"` // it is due, and waits for the load to fall
	Recipients []Recipient `json:"recipients"`
	More       int         `json:"more,omitempty"` // recipients that were left out: there are too many to tell
}

// Recipient is one recipient as operators see it.
type Recipient struct {
	N           int       `json:"n"`
	To          string    `json:"to"`
	State       string    `json:"state"` // waiting, running, failed, delivered or done
	Attempts    int       `json:"attempts"`
	Last        time.Time `json:"last,omitzero"`
	Next        time.Time `json:"next,omitzero"`
	Code        int       `json:"code,omitempty"`
	Status      string    `json:"status,omitempty"` // RFC 3463
	Reason      reason.ID `json:"reason,omitempty"`
	Error       string    `json:"error,omitempty"`
	Host        string    `json:"host,omitempty"`
	Destination string    `json:"destination,omitempty"` // once it is known
	Delayed     bool      `json:"delayed,omitempty"`     // its sender was told that it waits
}

// match is one message that a filter chose, with the recipients that did it.
type match struct {
	id   id.ID
	ns   numbers
	info Info
}

// Count returns how many messages, and how many of their recipients, f matches.
func (d *Dispatcher) Count(ctx context.Context, f Filter) (messages, recipients int, err error) {
	err = d.each(ctx, f, id.ID{}, func(x *match) (bool, error) {
		messages++
		recipients += len(x.ns)
		return true, nil
	})
	return messages, recipients, err
}

// List returns up to limit messages that f matches, oldest first, from after the
// message cursor on ("" begins), and the cursor of what follows, "" at the end.
func (d *Dispatcher) List(ctx context.Context, f Filter, limit int, cursor string) (list []Info, next string, err error) {
	var after id.ID
	if cursor != "" {
		if after, err = id.Parse(cursor); err != nil {
			return nil, "", err
		}
	}
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	err = d.each(ctx, f, after, func(x *match) (bool, error) {
		if len(list) == limit {
			next = list[limit-1].ID.String()
			return false, nil
		}
		list = append(list, x.info)
		return true, nil
	})
	return list, next, err
}

// Show returns one unfinished message in full. The error is queue.ErrNotFound when there
// is none.
func (d *Dispatcher) Show(ctx context.Context, message id.ID) (Info, error) {
	list, _, err := d.List(ctx, Filter{IDs: []id.ID{message}}, 1, "")
	switch {
	case err != nil:
		return Info{}, err
	case len(list) == 0:
		return Info{}, queue.ErrNotFound
	}
	return list[0], nil
}

// each calls yield with every message that f matches, in order of their IDs, after one.
func (d *Dispatcher) each(ctx context.Context, f Filter, after id.ID, yield func(*match) (bool, error)) error {
	switch f.State {
	case "", "waiting", "running", "failed", "held":
	default:
		return errors.New("state: want waiting, running, failed or held")
	}
	ids := d.candidates(&f, after)
	from, _ := slices.BinarySearchFunc(ids, after, compareIDs)
	for _, message := range ids[from:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if message == after {
			continue
		}
		x, err := d.look(ctx, message, &f)
		if err != nil {
			return err
		}
		if x == nil || !f.matches(x) {
			continue
		}
		if more, err := yield(x); err != nil || !more {
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

// listing is the IDs of all messages, in order, as they were at a time. A list of many pages
// is read from one, so that a page of a million messages does not sort them all again.
type listing struct {
	ids []id.ID
	at  instant
}

// listingKept is how long a listing serves the pages that follow its first.
const listingKept = instant(time.Minute)

func compareIDs(a, b id.ID) int { return bytes.Compare(a[:], b[:]) }

// candidates returns the IDs of messages that may match, in order; those up to after as well.
func (d *Dispatcher) candidates(f *Filter, after id.ID) []id.ID {
	if len(f.IDs) > 0 {
		ids := slices.Clone(f.IDs)
		slices.SortFunc(ids, compareIDs)
		return slices.Compact(ids)
	}
	d.mu.Lock()
	if l := d.listing; l != nil && !after.IsZero() && d.now()-l.at < listingKept {
		d.mu.Unlock()
		return l.ids
	}
	d.listing = nil
	ids := make([]id.ID, 0, len(d.messages))
	for v := range d.messages {
		ids = append(ids, v)
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
		d.listing = &listing{ids, d.now()}
	}
}

// mayMatch reports whether a message may match, by what memory knows.
func (d *Dispatcher) mayMatch(f *Filter, m *message) bool {
	return (f.Older <= 0 || d.now()-m.birth >= instant(f.Older)) &&
		(f.Group == "" || m.group.name == groupName(f.Group)) &&
		(f.State != "held" || m.held)
}

// look describes one message; nil when it is finished, or memory knows that f does not match it.
func (d *Dispatcher) look(ctx context.Context, message id.ID, f *Filter) (*match, error) {
	d.mu.Lock()
	m := d.messages[message]
	if m != nil && !d.mayMatch(f, m) {
		m = nil
	}
	var env *mail.Envelope
	var states []queue.RecipientState
	if m != nil && m.content != nil {
		env, states = m.content.env, slices.Clone(m.content.states)
	}
	d.mu.Unlock()
	if m == nil {
		return nil, nil
	}
	if env == nil {
		q, err := d.deps.Store.Load(ctx, message)
		if errors.Is(err, queue.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		env, states = q.Envelope, q.States
	}
	x := &match{id: message, ns: numbers{}, info: Info{
		ID: env.ID, Parent: env.Parent, From: env.From.String(), Accepted: env.Accepted, Size: env.Size,
		Priority: env.Priority, Group: env.Group, Account: env.Account, Protocol: env.Protocol, EnvelopeID: env.EnvID,
	}}
	if env.Client.IsValid() {
		x.info.Client = env.Client.String()
	}
	for i := range states {
		x.info.Recipients = append(x.info.Recipients, recipientInfo(env, &states[i], i))
	}
	d.addSchedule(m, x)
	return x, nil
}

func recipientInfo(env *mail.Envelope, s *queue.RecipientState, n int) Recipient {
	r := Recipient{
		N: n, To: env.Recipients[n].To.String(), State: [...]string{"waiting", "delivered", "failed", "done"}[s.State&3],
		Attempts: s.Attempts, Last: s.Last, Next: s.Next, Host: s.Host, Delayed: s.Delayed,
	}
	if s.Err != nil {
		r.Code, r.Status, r.Reason, r.Error = s.Err.Code, s.Err.Enhanced, s.Err.Reason, s.Err.Error()
	}
	return r
}

// addSchedule adds what only memory knows: due times, destinations, what runs.
func (d *Dispatcher) addSchedule(m *message, x *match) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x.info.Held = m.held
	now := d.now()
	loaded := !m.held && d.deps.QueueOnly != nil && d.deps.QueueOnly()
	for _, t := range m.tasks {
		for _, n := range t.ns {
			r := &x.info.Recipients[n]
			x.info.QueueOnly = x.info.QueueOnly || loaded && t.where != running && t.next <= now
			if r.State == "waiting" {
				r.Next = d.wallAt(t.next, now)
			}
			if t.where == running {
				r.State = "running"
			}
			if t.lane != nil && t.lane.key.dest != nil {
				r.Destination = t.lane.key.dest.key
			}
		}
	}
}

// matches decides what candidates left open and sets x.ns.
func (f *Filter) matches(x *match) bool {
	if f.From != "" && !addressMatches(f.From, x.info.From) || f.Account != "" && f.Account != x.info.Account {
		return false
	}
	for i := range x.info.Recipients {
		r := &x.info.Recipients[i]
		if r.State == "delivered" || r.State == "done" ||
			f.To != "" && !addressMatches(f.To, r.To) ||
			f.Domain != "" && foldDomain(mail.ParseAddress(r.To).Domain) != foldDomain(f.Domain) ||
			f.Reason != "" && f.Reason != r.Reason ||
			f.State != "" && f.State != "held" && f.State != r.State {
			continue
		}
		x.ns[uint32(r.N)] = struct{}{}
	}
	return len(x.ns) > 0
}

// addressMatches compares an address with a pattern: an address, *@DOMAIN, or <>.
func addressMatches(pattern, address string) bool {
	if pattern == "<>" {
		return address == ""
	}
	if domain, ok := strings.CutPrefix(pattern, "*@"); ok {
		return foldDomain(mail.ParseAddress(address).Domain) == foldDomain(domain)
	}
	return strings.EqualFold(pattern, address)
}

// Stats sums the queue up.
type Stats struct {
	Messages      int           `json:"messages"`
	Recipients    int           `json:"recipients"`
	Held          int           `json:"held"`  // messages
	Ready         int           `json:"ready"` // due, waiting for a slot
	RunningLocal  int           `json:"running_local"`
	RunningRemote int           `json:"running_remote"`
	Routing       int           `json:"routing"`
	Recording     int           `json:"recording"` // results on their way to the disk
	OldestAge     time.Duration `json:"oldest_age"`
	Loaded        bool          `json:"loaded"`    // all that was queued at start is scheduled
	HeldBack      bool          `json:"held_back"` // nothing starts: paused, stopping, load, or the disk
	Paused        bool          `json:"paused"`
	PausedDomains []string      `json:"paused_domains,omitempty"`
	Groups        []GroupStats  `json:"groups,omitempty"`
	Top           []DestStats   `json:"top,omitempty"` // the destinations with most to do
	Since         Counters      `json:"since_start"`
}

// GroupStats is one queue group.
type GroupStats struct {
	Name    string `json:"name"`
	Limit   int    `json:"limit,omitempty"`
	Running int    `json:"running"`
	Paused  bool   `json:"paused,omitempty"`
}

// DestStats is one destination.
type DestStats struct {
	Name     string    `json:"name"`
	Tasks    int       `json:"tasks"` // messages, counted once for each due time
	Running  int       `json:"running"`
	Window   int       `json:"window"`             // deliveries that may run at once now
	Failures int       `json:"failures,omitempty"` // connections in a row that failed
	Until    time.Time `json:"until,omitzero"`     // left alone until then
	Error    string    `json:"error,omitempty"`    // of the last failed connection
}

// Loaded reports whether all that was unfinished at start is known. Until then what
// is said of the queue, or done to it, leaves messages out.
func (d *Dispatcher) Loaded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.claimed
}

// Stats returns the present state with the top destinations.
func (d *Dispatcher) Stats(top int) Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	s := Stats{
		Messages: len(d.messages), RunningLocal: d.running[local] + d.running[user], RunningRemote: d.running[remote], Routing: d.running[routing],
		Recording: d.finishing, OldestAge: d.oldest(now), Loaded: d.claimed, HeldBack: d.heldBack(), Paused: d.paused, Since: d.count,
	}
	s.Recipients, s.Held = d.sums.recipients, d.sums.held
	for name := range d.parked {
		s.PausedDomains = append(s.PausedDomains, name)
	}
	slices.Sort(s.PausedDomains)
	for _, l := range d.lanes {
		s.Ready += len(l.ready)
	}
	for _, g := range d.groups {
		s.Groups = append(s.Groups, GroupStats{Name: cmp.Or(g.name, "default"), Limit: g.limit, Running: g.running, Paused: g.paused})
	}
	for _, to := range d.dests {
		s.Top = append(s.Top, d.destStats(to, now))
	}
	slices.SortFunc(s.Top, func(a, b DestStats) int {
		return cmp.Or(cmp.Compare(b.Tasks, a.Tasks), cmp.Compare(a.Name, b.Name))
	})
	s.Top = s.Top[:min(len(s.Top), max(top, 0))]
	return s
}

func (d *Dispatcher) destStats(to *dest, now instant) DestStats {
	x := DestStats{Name: to.key, Tasks: to.tasks, Running: to.running, Window: to.room(), Failures: to.failures}
	if to.dead(now) {
		x.Until = d.wallAt(to.until, now)
	}
	if to.err != nil {
		x.Error = to.err.Error()
	}
	return x
}

// Failing returns up to most destinations whose last connections failed, those that are left alone
// longest first.
func (d *Dispatcher) Failing(most int) []DestStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	list := []DestStats{}
	for _, to := range d.dests {
		if to.failures > 0 {
			list = append(list, d.destStats(to, now))
		}
	}
	slices.SortFunc(list, func(a, b DestStats) int {
		return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(a.Name, b.Name))
	})
	return list[:min(len(list), max(most, 0))]
}
