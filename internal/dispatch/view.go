package dispatch

import (
	"cmp"
	"context"
	"slices"
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
	// Within, where it is not nil, bounds what is seen and changed to these domains, in their compared
	// form: see within.go. An empty one must be refused before: as JSON it would be none.
	Within []string `json:"within,omitempty"`
	// By is who asks, for the events of what is changed.
	By string `json:"by,omitempty"`
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
	id      id.ID
	env     *mail.Envelope
	states  []queue.RecipientState
	running numbers // recipients that are being delivered to; known only where the filter asks
	ns      numbers
}

// Count returns how many messages, and how many of their recipients, f matches.
func (d *Dispatcher) Count(ctx context.Context, f Filter) (messages, recipients int, err error) {
	err = d.each(ctx, f, id.ID{}, func(batch []match) (bool, error) {
		messages += len(batch)
		for i := range batch {
			recipients += len(batch[i].ns)
		}
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
	err = d.each(ctx, f, after, func(batch []match) (bool, error) {
		for i := range batch {
			if len(list) == limit {
				next = list[limit-1].ID.String()
				return false, nil
			}
			list = append(list, batch[i].info())
		}
		return true, nil
	})
	d.addSchedule(list)
	for i := range list {
		f.conceal(&list[i])
	}
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

// info describes the message as far as the store knows it.
func (x *match) info() Info {
	env := x.env
	i := Info{
		ID: env.ID, Parent: env.Parent, From: env.From.String(), Accepted: env.Accepted, Size: env.Size,
		Priority: env.Priority, Group: env.Group, Account: env.Account, Protocol: env.Protocol, EnvelopeID: env.EnvID,
		Recipients: make([]Recipient, len(x.states)),
	}
	if env.Client.IsValid() {
		i.Client = env.Client.String()
	}
	for n := range x.states {
		i.Recipients[n] = recipientInfo(env, &x.states[n], n)
	}
	return i
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
func (d *Dispatcher) addSchedule(list []Info) {
	loaded := d.deps.QueueOnly != nil && d.deps.QueueOnly()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for i := range list {
		if m := d.find(list[i].ID); m != nil {
			d.addScheduleOf(m, &list[i], loaded && !m.held, now)
		}
	}
}

func (d *Dispatcher) addScheduleOf(m *message, x *Info, loaded bool, now instant) {
	x.Held = m.held
	for t := range d.tasksOf(m) {
		x.QueueOnly = x.QueueOnly || loaded && t.where != running && t.next <= now && t.recipients != 0
		for n := range d.recipients.of(t.recipients) {
			r := &x.Recipients[n]
			if r.State == "waiting" {
				r.Next = d.wallAt(t.next, now)
			}
			if t.where == running {
				r.State = "running"
			}
			if l := d.laneOf(t); l != nil && l.key.dest != nil {
				r.Destination = l.key.dest.key
			}
		}
	}
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
		Messages: d.byID.n, RunningLocal: d.running[local] + d.running[user], RunningRemote: d.running[remote], Routing: d.running[routing],
		Recording: d.finishing, OldestAge: d.oldest(now), Loaded: d.claimed, HeldBack: d.heldBack(), Paused: d.paused, Since: d.count,
	}
	s.Recipients, s.Held = d.sums.recipients, d.sums.held
	for name := range d.parked {
		s.PausedDomains = append(s.PausedDomains, name)
	}
	slices.Sort(s.PausedDomains)
	for _, l := range d.lanes.byKey {
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
	x := DestStats{Name: to.key, Tasks: to.tasks, Running: to.running, Window: d.room(to), Failures: to.failures}
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
