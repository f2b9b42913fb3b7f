// Package record writes down whole dialogues on demand: of sessions by client address, account or recipient,
// for a time, as recordio(1) writes them (qmail reference 22.4).
//
// Its rules: while nothing is asked for a session costs one load of a pointer; no password and no answer
// to a challenge is ever written; what is written is text that no terminal minds; files have a bound.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/serve"
)

// Rule says whose sessions are recorded: those that match every field that is set.
type Rule struct {
	ID      string    `json:"id"`                // set by who asks, the same in all roles
	Client  string    `json:"client,omitempty"`  // an address or range: of the client, or of the host that mail goes to
	Account string    `json:"account,omitempty"` // who logs in
	To      string    `json:"to,omitempty"`      // a recipient: user@domain, or *@domain
	Until   time.Time `json:"until"`
	MaxSize int64     `json:"max_size"` // bytes of the file
}

// Check names what is wrong with a rule.
func (r *Rule) Check() error {
	switch {
	case r.ID == "" || strings.Trim(r.ID, "0123456789abcdefghijklmnopqrstuvwxyz-") != "":
		return fmt.Errorf("id %q: want small letters, digits and hyphens", r.ID)
	case r.Client == "" && r.Account == "" && r.To == "":
		return errors.New("want a client, an account or a recipient whose sessions are recorded")
	case r.MaxSize <= 0 || r.MaxSize > 1<<30:
		return fmt.Errorf("size %d: want 1 byte to 1 GiB", r.MaxSize)
	}
	if r.Client != "" {
		if _, err := serve.ParsePrefix(r.Client); err != nil {
			return fmt.Errorf("client %w", err)
		}
	}
	return nil
}

// Status is a rule with what came of it.
type Status struct {
	Rule
	File     string `json:"file"` // below the role's folder
	Size     int64  `json:"size"`
	Sessions int    `json:"sessions"`
	Trouble  string `json:"trouble,omitempty"` // why nothing more is written
}

// Bounds.
const (
	maxRules   = 20
	maxPending = 64 << 10 // bytes of a session that are kept until its account or recipient is known
	maxPiece   = 1000     // bytes of a line of the file
)

// Book is a role's rules and their files. A nil Book records nothing. It is safe for concurrent use.
type Book struct {
	dir   fs.FS
	clock clock.Clock

	rules atomic.Pointer[[]*rule] // nil while there are none
	mu    sync.Mutex              // of changes
}

// New returns a Book that writes into a folder.
func New(dir fs.FS, c clock.Clock) *Book { return &Book{dir: dir, clock: c} }

// rule is one Rule at work.
type rule struct {
	Rule
	net netip.Prefix // valid where Client is set

	mu       sync.Mutex
	file     fs.File
	size     int64
	sessions int
	trouble  string
}

// Add begins to record. Sessions under way are left out. The error is Rule.Check's, of the system, or tells that there are too many
// or one of that id.
func (b *Book) Add(r Rule) error {
	if err := r.Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	list := b.list()
	switch {
	case len(list) >= maxRules:
		return fmt.Errorf("there are %d recordings, which is the most at once: remove one first (`postilion record remove ID`)", maxRules)
	case slices.ContainsFunc(list, func(x *rule) bool { return x.ID == r.ID }):
		return fmt.Errorf("there is a recording %s already: remove it first, or take another id", r.ID)
	}
	x := &rule{Rule: r}
	if r.Client != "" {
		x.net, _ = serve.ParsePrefix(r.Client) // checked
	}
	f, err := b.dir.OpenFile(x.name(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	x.file = f
	list = append(slices.Clone(list), x)
	b.rules.Store(&list)
	return nil
}

func (r *rule) name() string { return r.ID + ".txt" }

func (b *Book) list() []*rule {
	if p := b.rules.Load(); p != nil {
		return *p
	}
	return nil
}

// expire ends what is over. Called with the lock held.
func (b *Book) expire() {
	now := b.clock.Now()
	b.keep(func(r *rule) bool { return now.Before(r.Until) })
}

// keep ends the rules that keep does not want; their files stay. Called with the lock held.
func (b *Book) keep(keep func(*rule) bool) {
	var left []*rule
	for _, r := range b.list() {
		if keep(r) {
			left = append(left, r)
			continue
		}
		r.stop("")
	}
	if len(left) == 0 {
		b.rules.Store(nil)
		return
	}
	b.rules.Store(&left)
}

// stop closes the file. Whoever still writes to it is ignored.
func (r *rule) stop(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		r.file.Close()
		r.file = nil
		r.trouble = why
	}
}

// Remove ends a recording; its file stays. It reports whether there was one.
func (b *Book) Remove(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.list())
	b.keep(func(r *rule) bool { return r.ID != id })
	return len(b.list()) < n
}

// List tells what is recorded.
func (b *Book) List() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	list := []Status{}
	for _, r := range b.list() {
		r.mu.Lock()
		list = append(list, Status{r.Rule, r.name(), r.size, r.sessions, r.trouble})
		r.mu.Unlock()
	}
	return list
}

// Close ends all recordings.
func (b *Book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep(func(*rule) bool { return false })
	return nil
}

// Tap takes one session's dialogue. A nil Tap takes nothing. It is used by one goroutine.
type Tap struct {
	book    *Book
	prefix  string // "SESSION "
	waiting []*rule
	writing []*rule
	pending []byte // until a rule matches
	cut     bool   // pending is full
	begun   []byte // a line whose end has not yet come
	from    byte   // its direction

	account, to []string
}

// Begin returns the Tap of a session; nil while no rule can concern it.
func (b *Book) Begin(protocol string, session id.ID, client netip.Addr) *Tap {
	if b == nil || b.rules.Load() == nil {
		return nil
	}
	now := b.clock.Now()
	client = client.Unmap().WithZone("")
	t := &Tap{book: b, prefix: session.String() + " "}
	for _, r := range b.list() {
		if now.Before(r.Until) && (!r.net.IsValid() || r.net.Contains(client)) {
			t.waiting = append(t.waiting, r)
		}
	}
	if t.waiting == nil {
		return nil
	}
	t.note(protocol + " " + client.String())
	t.decide()
	return t
}

// decide moves rules that match now to writing.
func (t *Tap) decide() {
	var still []*rule
	for _, r := range t.waiting {
		if r.Account != "" && !has(t.account, r.Account) || r.To != "" && !has(t.to, r.To) {
			still = append(still, r)
			continue
		}
		r.mu.Lock()
		r.sessions++
		r.mu.Unlock()
		r.write(t.pending)
		t.writing = append(t.writing, r)
	}
	if t.waiting = still; still == nil {
		t.pending = nil
	}
}

func has(list []string, want string) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		if domain, ok := strings.CutPrefix(want, "*@"); ok {
			_, d, _ := strings.Cut(s, "@")
			return strings.EqualFold(d, domain)
		}
		return strings.EqualFold(s, want)
	})
}

// Account tells who logged in.
func (t *Tap) Account(a string) {
	if t != nil && len(t.waiting) > 0 {
		t.account = append(t.account, a)
		t.decide()
	}
}

// To tells a recipient.
func (t *Tap) To(a string) {
	if t != nil && len(t.waiting) > 0 && len(t.to) < 1000 {
		t.to = append(t.to, a)
		t.decide()
	}
}

// In writes what the other side sent, Out what was sent to it.
func (t *Tap) In(p []byte) {
	if t == nil {
		return
	}
	t.pieces('<', p)
}

// Out writes what was sent to the other side.
func (t *Tap) Out(p []byte) {
	if t != nil {
		t.pieces('>', p)
	}
}

// notRecorded stands for what is secret.
const notRecorded = "[not recorded]"

// InSecret notes a line that the other side sent, OutSecret one that was sent to it, without what it said.
func (t *Tap) InSecret() { t.In([]byte(notRecorded + "\n")) }

// OutSecret is InSecret for the other direction.
func (t *Tap) OutSecret() { t.Out([]byte(notRecorded + "\n")) }

// InCommand writes a command that the other side sent, without the secrets that it may hold.
func (t *Tap) InCommand(line []byte) {
	if t == nil {
		return
	}
	t.In(append(Masked(line), '\n'))
}

// Masked returns a command line without a password or an initial response: AUTH (SMTP and POP3), PASS
// and APOP. Tabs and blanks that no server takes for what they were meant part words here too.
func Masked(line []byte) []byte {
	verb, end := word(line, 0)
	keep := 0
	switch strings.ToUpper(string(verb)) {
	case "AUTH", "APOP":
		keep = 2
	case "PASS":
		keep = 1
	}
	if keep == 2 {
		_, end = word(line, end)
	}
	if keep == 0 || end == len(line) {
		return bytes.Clone(line)
	}
	return append(bytes.Clone(line[:end]), " "+notRecorded...)
}

// word returns the word at or after a place of a line, and where it ends.
func word(line []byte, at int) (word []byte, end int) {
	blank := func(i int) bool { return line[i] == ' ' || line[i] == '\t' }
	for at < len(line) && blank(at) {
		at++
	}
	end = at
	for end < len(line) && !blank(end) {
		end++
	}
	return line[at:end], end
}

// note writes a line about the session.
func (t *Tap) note(s string) { t.emit(t.line('*', []byte(s), ' ')) }

// End tells that the session is over.
func (t *Tap) End() {
	if t != nil {
		t.broken()
		t.note("[EOF]")
	}
}

// pieces writes each line when it is complete; one that the other side cuts short, and one that
// is long, has a "+" behind it.
func (t *Tap) pieces(direction byte, p []byte) {
	if t.from != direction {
		t.broken()
		t.from = direction
	}
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n')
		rest := n + 1
		if n < 0 {
			n, rest = len(p), len(p)
		}
		if room := maxPiece - len(t.begun); n > room {
			t.begun = append(t.begun, p[:room]...)
			t.broken()
			p = p[room:]
			continue
		}
		t.begun = append(t.begun, p[:n]...)
		if rest > n {
			t.emit(t.line(direction, bytes.TrimSuffix(t.begun, []byte{'\r'}), ' '))
			t.begun = t.begun[:0]
		}
		p = p[rest:]
	}
}

// broken writes a line whose end has not come.
func (t *Tap) broken() {
	if len(t.begun) > 0 {
		t.emit(t.line(t.from, t.begun, '+'))
		t.begun = t.begun[:0]
	}
}

func (t *Tap) line(direction byte, p []byte, mark byte) []byte {
	b := qmail.AppendTAI64N(make([]byte, 0, len(p)+80), t.book.clock.Now())
	b = append(b, ' ')
	b = append(b, t.prefix...)
	b = append(b, direction, ' ')
	for _, c := range p {
		if c < ' ' && c != '\t' || c >= 0x7f {
			c = '?'
		}
		b = append(b, c)
	}
	return append(b, mark, '\n')
}

func (t *Tap) emit(line []byte) {
	for _, r := range t.writing {
		r.write(line)
	}
	if len(t.waiting) == 0 && t.prefixed() || t.cut {
		return
	}
	if len(t.pending)+len(line) > maxPending {
		t.cut = true
		t.pending = append(t.pending, "[cut]\n"...)
		return
	}
	t.pending = append(t.pending, line...)
}

// prefixed reports whether decide has been asked: before that the first line waits in pending.
func (t *Tap) prefixed() bool { return len(t.writing) > 0 }

// write appends to the file while there is room.
func (r *rule) write(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil || len(p) == 0 {
		return
	}
	full := r.size+int64(len(p)) > r.MaxSize
	if full {
		p = []byte("[the file is full]\n")
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	if err == nil && !full {
		return
	}
	r.trouble = "the file is full"
	if err != nil {
		r.trouble = err.Error()
	}
	r.file.Close()
	r.file = nil
}
