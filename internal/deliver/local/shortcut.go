package local

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
)

// This file saves the way to the user's files to what comes after: where all that a .qmail file does is to
// send on, that is decided once and holds while the system says, at each message, that neither the file nor the
// home was changed. So an edit counts at once. What the system would not say there (folders above the home
// that are closed, mounts) counts within standLife, when the file is looked for again.

const (
	standLife   = time.Second // from a look to the next
	standRetry  = time.Minute // before a file that could not be held is tried again
	maxStanding = 256         // addresses at once, with a descriptor each
	maxStandTo  = 4 << 10     // bytes of the addresses that a standing file sends on to
)

// Shortcut is a deliver.Target before another one, for the part that cannot reach users' files itself.
type Shortcut struct {
	next  deliver.Target
	users runas.Service
	life  time.Duration

	mu      sync.Mutex
	kept    map[served]*order
	sweeps  *time.Timer // nil while nothing is kept
	closed  bool
	holding sync.WaitGroup
}

var _ deliver.Target = (*Shortcut)(nil)

// served is an address by all that decides which file speaks for it.
type served struct {
	who       runas.User
	dash, ext string
}

// order is what a file was found to say. But for until, tried and held it does not change.
type order struct {
	standing deliver.Standing
	to       []mail.Address
	text     string
	until    time.Time
	tried    time.Time   // when it was asked for; zero after the first message, which may be the last
	held     *runas.Held // nil: not yet, or it cannot be
}

// NewShortcut returns a Target that asks next where nothing stands.
func NewShortcut(next deliver.Target, users runas.Service) *Shortcut {
	return &Shortcut{next: next, users: users, life: standLife, kept: map[served]*order{}}
}

// Deliver implements deliver.Target.
func (s *Shortcut) Deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	if len(job.Recipients) != 1 {
		return s.next.Deliver(ctx, job)
	}
	rcpt := &job.Recipients[0]
	user := rcpt.User
	if user == nil || len(user.Instructions) > 0 || user.Local == "" {
		return s.next.Deliver(ctx, job)
	}
	address, began := served{become(user), user.Dash, user.Ext}, time.Now()
	if o, held := s.find(address, began); held != nil {
		switch {
		case !held.Same():
			s.forget(address, o)
		case passes(ctx, job, user.DeliveredTo()):
			return []deliver.Verdict{o.verdict(rcpt)}
		}
	}
	verdicts := s.next.Deliver(ctx, job)
	if len(verdicts) == 1 {
		s.learn(address, &verdicts[0], began)
	}
	return verdicts
}

// passes reports whether a message may be sent on. Why not, the long way tells.
func passes(ctx context.Context, job *deliver.Job, line string) bool {
	if ctx.Err() != nil {
		return false
	}
	body, err := job.Body()
	if err != nil {
		return false
	}
	defer body.Close()
	hops, loops, err := deliver.ScanTrace(body, line)
	return err == nil && !loops && hops <= maxHops
}

func (o *order) verdict(rcpt *deliver.Recipient) deliver.Verdict {
	u := rcpt.User
	sender := dotqmail.NewSender(rcpt.From.String(), u.Local, u.Host, dotqmail.OwnerFiles{Owner: o.standing.Owner, Default: o.standing.OwnerDefault})
	return deliver.Verdict{Text: o.text, Forward: &deliver.Forward{From: mail.ParseAddress(sender), To: o.to}}
}

// find returns what stands for an address; held is nil where nothing does.
func (s *Shortcut) find(address served, now time.Time) (o *order, held *runas.Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o = s.kept[address]; o != nil && now.Before(o.until) {
		held = o.held
	}
	return o, held
}

// forget drops an order, unless another one has taken its place.
func (s *Shortcut) forget(address served, o *order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[address] == o {
		s.drop(address)
	}
}

// drop is called with mu held. Who uses the file meanwhile finds it closed.
func (s *Shortcut) drop(address served) {
	if o := s.kept[address]; o != nil {
		delete(s.kept, address)
		if o.held != nil {
			o.held.Close()
		}
	}
}

// learn takes note of a verdict that a look since began has led to. The file is held from the second message
// on: most addresses get one and no more for a while.
func (s *Shortcut) learn(address served, v *deliver.Verdict, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var standing *deliver.Standing
	if v.Err == nil && v.Forward != nil && length(v.Forward.To) <= maxStandTo {
		standing = v.Forward.Standing
	}
	o := s.kept[address]
	// A program that has the file in its memory (mmap(2)) may change it without the system's telling yet.
	if standing == nil || o != nil && (o.standing != *standing || o.text != v.Text || !slices.Equal(o.to, v.Forward.To)) {
		s.drop(address)
		o = nil
	}
	switch {
	case standing == nil || s.closed:
	case o == nil:
		if len(s.kept) >= maxStanding {
			for other := range s.kept { // any: who has many addresses shall not keep others out
				s.drop(other)
				break
			}
		}
		s.kept[address] = &order{standing: *standing, to: v.Forward.To, text: v.Text, until: began.Add(s.life)}
		if s.sweeps == nil {
			s.sweeps = time.AfterFunc(s.life, s.sweep)
		}
	default:
		if until := began.Add(s.life); until.After(o.until) {
			o.until = until
		}
		if o.held == nil && began.Sub(o.tried) > standRetry {
			o.tried = began
			s.holding.Go(func() { s.hold(address, o) })
		}
	}
}

// length is what addresses take, in bytes.
func length(list []mail.Address) (n int) {
	const each = 32 // what an empty one takes
	for i := range list {
		n += each + len(list[i].Local) + len(list[i].Domain)
	}
	return n
}

// search is the one that finds a file.
func (a *served) search(file string) (q runas.Search) {
	owner, ownerDefault := dotqmail.Owners(a.dash, a.ext)
	q.Exist = []string{owner, ownerDefault}
	for _, n := range dotqmail.Search(a.dash, a.ext) {
		q.Names = append(q.Names, n.File)
		if n.File == file {
			break
		}
	}
	return q
}

// hold gets the file of an order, if it is still what was found.
func (s *Shortcut) hold(address served, o *order) {
	held, err := s.users.Hold(context.Background(), address.who, address.search(o.standing.File))
	if err != nil {
		return // the long way serves, and tells
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if held.Witness != o.standing.Witness || s.kept[address] != o || s.closed {
		held.Close()
		return
	}
	o.held = held
}

// sweep gives up the files of addresses that no message came for lately: nobody's disk is held for long.
func (s *Shortcut) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for address, o := range s.kept {
		if now.Sub(o.until) >= s.life { // the next message had its time to look again
			s.drop(address)
		}
	}
	if s.sweeps = nil; len(s.kept) > 0 {
		s.sweeps = time.AfterFunc(s.life, s.sweep)
	}
}

// Close gives all files up. What is delivered later goes the long way.
func (s *Shortcut) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.sweeps != nil {
		s.sweeps.Stop()
	}
	for address := range s.kept {
		s.drop(address)
	}
	s.mu.Unlock()
	s.holding.Wait()
	return nil
}
