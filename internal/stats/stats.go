// Package stats counts messages, bytes and connections by mailer, as sendmail's
// mailstats shows them, and failures by reason. It learns everything from events, so that
// counting is on nobody's way. Counts survive a restart; those of the last seconds before
// a crash may be missing.
package stats

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/trace"
)

// The mailers that messages are counted by, in the order of tables.
const (
	Local  = "local"  // mailboxes, programs and what the host itself writes
	SMTP   = "smtp"   // other hosts
	Submit = "submit" // authenticated clients
)

// Mailer is what one mailer has moved.
type Mailer struct {
	MessagesFrom int64 `json:"messages_from"`
	BytesFrom    int64 `json:"bytes_from"`
	MessagesTo   int64 `json:"messages_to"` // recipients
	BytesTo      int64 `json:"bytes_to"`
	Rejected     int64 `json:"rejected"`  // recipients and messages refused in session
	Discarded    int64 `json:"discarded"` // triple bounces, and others that go nowhere by design
	Deferred     int64 `json:"deferred"`  // attempts
	Failed       int64 `json:"failed"`    // recipients given up
}

func (m *Mailer) add(o Mailer) {
	m.MessagesFrom += o.MessagesFrom
	m.BytesFrom += o.BytesFrom
	m.MessagesTo += o.MessagesTo
	m.BytesTo += o.BytesTo
	m.Rejected += o.Rejected
	m.Discarded += o.Discarded
	m.Deferred += o.Deferred
	m.Failed += o.Failed
}

// Snapshot is the counts at one time.
type Snapshot struct {
	Since       time.Time         `json:"since"`
	Mailers     map[string]Mailer `json:"mailers"`
	Connections map[string]int64  `json:"connections"` // sessions ended, by protocol; "remote" are those made
	Reasons     map[string]int64  `json:"reasons"`     // refusals, deferrals and failures, by reason
	Rules       map[string]int64  `json:"rules"`       // messages that content rules met, by the file and line of the rule
	Warnings    int64             `json:"warnings"`    // owners warned that a mailbox is nearly full
	Logins      map[string]int64  `json:"logins"`      // "ok" and "failed"
	Bounces     int64             `json:"bounces"`
	LostEvents  int64             `json:"lost_events"`
}

// Merge returns the sums of snapshots, such as those of all roles, since the earliest.
func Merge(all ...Snapshot) Snapshot {
	sum := empty(time.Time{})
	for _, s := range all {
		if sum.Since.IsZero() || !s.Since.IsZero() && s.Since.Before(sum.Since) {
			sum.Since = s.Since
		}
		for name, m := range s.Mailers {
			t := sum.Mailers[name]
			t.add(m)
			sum.Mailers[name] = t
		}
		addAll(sum.Connections, s.Connections)
		addAll(sum.Reasons, s.Reasons)
		addAll(sum.Rules, s.Rules)
		sum.Warnings += s.Warnings
		addAll(sum.Logins, s.Logins)
		sum.Bounces += s.Bounces
		sum.LostEvents += s.LostEvents
	}
	return sum
}

func addAll(to, from map[string]int64) {
	for k, n := range from {
		to[k] += n
	}
}

func empty(since time.Time) Snapshot {
	return Snapshot{Since: since, Mailers: map[string]Mailer{}, Connections: map[string]int64{}, Reasons: map[string]int64{}, Rules: map[string]int64{}, Logins: map[string]int64{}}
}

func (s Snapshot) clone() Snapshot {
	s.Mailers = maps.Clone(s.Mailers)
	s.Connections = maps.Clone(s.Connections)
	s.Reasons = maps.Clone(s.Reasons)
	s.Rules = maps.Clone(s.Rules)
	s.Logins = maps.Clone(s.Logins)
	return s
}

// Counters is a Recorder that counts.
type Counters struct {
	mu sync.Mutex
	s  Snapshot
}

// New returns counters that begin at zero now.
func New(c clock.Clock) *Counters { return &Counters{s: empty(c.Now().UTC())} }

// Snapshot returns the counts.
func (c *Counters) Snapshot() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.clone()
}

// maxReasons bounds the reasons, and the rules, that are told apart; they are ours and the operator's, never
// a peer's, so this is a seat belt.
const maxReasons = 1000

// Record counts e.
func (c *Counters) Record(e trace.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.s.Mailers[mailer(&e)]
	switch e.Kind {
	case trace.Accepted:
		m.MessagesFrom++
		m.BytesFrom += e.Size
	case trace.Delivered:
		m.MessagesTo++
		m.BytesTo += e.Size
	case trace.Refused:
		m.Rejected++
	case trace.Deferred:
		m.Deferred++
	case trace.Failed:
		m.Failed++
	case trace.Discarded:
		m.Discarded++
	default:
		c.recordOther(&e)
		return
	}
	c.s.Mailers[mailer(&e)] = m
	c.reason(&e)
}

func (c *Counters) recordOther(e *trace.Event) {
	switch e.Kind {
	case trace.SessionEnd:
		c.s.Connections[e.Role]++
	case trace.Login:
		if e.Reason == "" {
			c.s.Logins["ok"]++
		} else {
			c.s.Logins["failed"]++
		}
	case trace.Bounced:
		c.s.Bounces++
	case trace.Matched:
		count(c.s.Rules, e.Rule)
	case trace.Warned:
		c.s.Warnings++
	case trace.Gap:
		c.s.LostEvents += e.Count
	}
}

func (c *Counters) reason(e *trace.Event) { count(c.s.Reasons, e.Reason) }

func count(in map[string]int64, name string) {
	if name == "" {
		return
	}
	if _, known := in[name]; known || len(in) < maxReasons {
		in[name]++
	}
}

// mailer tells which mailer an event is counted by.
func mailer(e *trace.Event) string {
	switch {
	case e.Kind == trace.Accepted || e.Kind == trace.Refused:
		switch {
		case e.Account != "":
			return Submit
		case e.Client != "":
			return SMTP
		}
		return Local
	case e.Role == "remote":
		return SMTP
	}
	return Local
}

// Names returns the mailers of a snapshot: the well-known first, then others by name.
func (s Snapshot) Names() []string {
	order := map[string]int{Local: 1, SMTP: 2, Submit: 3}
	return slices.SortedFunc(maps.Keys(s.Mailers), func(a, b string) int {
		return cmp.Or(cmp.Compare(cmp.Or(order[a], 9), cmp.Or(order[b], 9)), cmp.Compare(a, b))
	})
}

// WriteMailstats writes the table that sendmail's mailstats prints (qmail reference
// 25.2), with its rule that every message counts as whole KiB left out: sums are exact.
func (s Snapshot) WriteMailstats(w io.Writer) error {
	b := fmt.Appendf(nil, "Statistics from %s\n", s.Since.UTC().Format(time.ANSIC))
	b = append(b, " M   msgsfr  bytes_from   msgsto    bytes_to  msgsrej msgsdis  Mailer\n"...)
	var total Mailer
	for i, name := range s.Names() {
		m := s.Mailers[name]
		total.add(m)
		b = row(b, fmt.Sprint(i), m, name)
	}
	b = append(b, "=============================================================\n"...)
	b = row(b, "T", total, "")
	in, out := int64(0), s.Connections["remote"]
	for protocol, n := range s.Connections {
		if protocol != "remote" {
			in += n
		}
	}
	b = fmt.Appendf(b, " C %8d %11s %8d\n", in, "", out)
	_, err := w.Write(b)
	return err
}

func row(b []byte, number string, m Mailer, name string) []byte {
	kib := func(n int64) int64 { return (n + 1023) / 1024 }
	line := fmt.Sprintf("%2s %8d %10dK %8d %10dK   %6d  %6d  %s", number, m.MessagesFrom, kib(m.BytesFrom), m.MessagesTo, kib(m.BytesTo), m.Rejected, m.Discarded, name)
	for line[len(line)-1] == ' ' {
		line = line[:len(line)-1]
	}
	return append(append(b, line...), '\n')
}

// Load returns the counters saved as name, or new ones where there is no such file. The error is of the system, or of what the
// file holds.
func Load(fsys fs.FS, name string, c clock.Clock) (*Counters, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return New(c), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	counters := New(c)
	if err := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&counters.s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	counters.s = Merge(counters.s) // fills maps that the file lacks
	return counters, nil
}

// Save writes the counters to name, replacing it whole. The error is of the system; the file is then as it was, or
// new.
func (c *Counters) Save(fsys fs.FS, name string) error {
	p, err := json.Marshal(c.Snapshot())
	if err != nil {
		return err
	}
	f, err := fsys.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fsys.Rename(name+".new", name)
}
