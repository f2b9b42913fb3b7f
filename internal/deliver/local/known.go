package local

import (
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
	"github.com/postilion/postilion/internal/route"
)

// This file remembers what was found for an address, to save a delivery into a Maildir one call: whoever looks
// for the instructions then makes the message's file as well, if it finds all as it was, to the byte. So nothing
// that is remembered is ever obeyed: a file that was edited a moment ago counts, and only the saving is lost.

const (
	maxKnown        = 10_000  // addresses that are remembered
	maxKnownContent = 1 << 10 // bytes of instructions that are worth sending
)

// known is what was found for an address, where that leads to a Maildir of the user's home first.
type known struct {
	found runas.Found
	box   string // as place names it
}

// memory is what is known, by address.
type memory struct {
	mu   sync.Mutex
	kept map[string]*known
}

// address is whose instructions, by all that a search for them depends on.
func address(who runas.User, u *route.User) string {
	return key(who) + "\x00" + u.Dash + "\x00" + u.Ext
}

func (m *memory) get(address string) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[address]
}

// learn keeps what was found, or forgets the address.
func (m *memory) learn(address string, who runas.User, found *runas.Found, p *Plan) {
	k := &known{found: *found}
	k.found.File, k.found.Witness = nil, ""
	first := p != nil && len(p.Instructions) > 0 && p.Instructions[0].Kind == dotqmail.Maildir
	if first && len(found.Content) <= maxKnownContent && filepath.IsLocal(path.Clean(p.Instructions[0].Text)) {
		k.box = place(who, p.Instructions[0].Text)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k.box == "" {
		delete(m.kept, address)
		return
	}
	if m.kept == nil || len(m.kept) >= maxKnown {
		m.kept = map[string]*known{}
	}
	m.kept[address] = k
}

// guess is what a delivery takes for likely before it looks.
type guess struct {
	address string
	known   *known      // nil: nothing
	tmp     maildir.Tmp // of the delivery into known.box; its File is nil until it was made
}

// guess returns what is known of a delivery that was not made before.
func (d *delivery) guess() *guess {
	if d.service == nil || d.again || len(d.user.Instructions) > 0 {
		return &guess{}
	}
	g := &guess{address: address(d.who, d.user)}
	if g.known = d.memory.get(g.address); g.known != nil {
		g.tmp.Path = d.boxes.TmpPath(g.known.box, d.job.Envelope.ID, d.rcpt.N, 0)
	}
	return g
}

// ask adds the guess to a search.
func (g *guess) ask(s *runas.Search) {
	if g.known != nil {
		s.Known = &g.known.found
		_, s.Make, _ = strings.Cut(g.tmp.Path, "/") // below the home
	}
}

// take returns the file for the first delivery into a Maildir, where it was made, and gives it up.
func (g *guess) take(box string) (t maildir.Tmp) {
	if g.tmp.File != nil && g.known.box == box {
		t, g.tmp.File = g.tmp, nil
	}
	return t
}

// drop removes a file that no instruction took.
func (d *delivery) drop(g *guess) {
	if g.tmp.File != nil {
		g.tmp.File.Close()
		_ = d.trees.Remove(g.tmp.Path) // the cleaner finds what stays
	}
}
