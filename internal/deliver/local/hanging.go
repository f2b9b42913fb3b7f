package local

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// A file system that does not answer, such as a server's that is gone, holds whoever calls it, and nothing can be done about
// that. What can: few more are let near a mailbox once one takes long, and when those hang, the rest is put off at once, so
// that deliveries into other mailboxes find their places free and the host's load stays low.

const (
	// atOnce is how many messages are written into one mailbox at once when one of them has taken longer than quick; others wait
	// their turn here.
	atOnce = 10
	quick  = 500 * time.Millisecond
	// hangAfter is how long one may take until it counts as hanging.
	hangAfter = 30 * time.Second
	// stuckMost is how many of them hang when nothing more is tried.
	stuckMost = 3
	// stuckBoxes is how many mailboxes of a domain hang when the others are taken to do so too.
	stuckBoxes = 4
)

var errHanging = errors.New("deliveries into this mailbox, or into others of its domain, hang in the file system")

// hanging are the mailboxes that messages are being written into.
type hanging struct {
	tell func(mailbox string, n int) // is called when deliveries into one hang

	mu      sync.Mutex
	boxes   map[string]*box
	domains map[string]int // how many mailboxes in a domain's folder hang
}

// box is a mailbox that messages are being written into.
type box struct {
	name    string
	visits  []*visit // in the order that they began
	stuck   int      // of them
	waiting []*visit // those whose turn it is not yet
}

// visit is one message that is being written, or will be.
type visit struct {
	h     *hanging
	box   *box
	turn  chan error // tells who waits: nil, or errHanging
	began time.Time
	timer *time.Timer
	stuck bool
	over  bool
}

func newHanging(tell func(mailbox string, n int)) *hanging {
	return &hanging{tell: tell, boxes: map[string]*box{}, domains: map[string]int{}}
}

// folderOf is the folder of a mailbox's domain.
func folderOf(mailbox string) string {
	folder, _, _ := strings.Cut(mailbox, "/")
	return folder
}

// check returns errHanging where deliveries into a mailbox hang.
func (h *hanging) check(mailbox string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hangs(mailbox)
}

// hangs is check with mu held.
func (h *hanging) hangs(mailbox string) error {
	if b := h.boxes[mailbox]; b != nil && b.stuck >= stuckMost || h.domains[folderOf(mailbox)] >= stuckBoxes {
		return errHanging
	}
	return nil
}

// enter waits for the turn of a message that is to be written into a mailbox, and has it count as one of those until it leaves.
// The error is errHanging, or ctx's.
func (h *hanging) enter(ctx context.Context, mailbox string) (*visit, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.hangs(mailbox); err != nil {
		return nil, err
	}
	b := h.boxes[mailbox]
	if b == nil {
		b = &box{name: mailbox}
		h.boxes[mailbox] = b
	}
	v := &visit{h: h, box: b}
	if b.room() {
		v.begin()
		return v, nil
	}
	v.turn = make(chan error, 1)
	b.waiting = append(b.waiting, v)
	h.mu.Unlock()
	var err error
	select {
	case err = <-v.turn:
	case <-ctx.Done():
		err = ctx.Err()
	}
	h.mu.Lock()
	if i := slices.Index(b.waiting, v); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	if err != nil {
		v.end() // where its turn has come just now
		return nil, err
	}
	return v, nil
}

// room reports whether one more may be written.
func (b *box) room() bool { return len(b.visits) < atOnce || time.Since(b.visits[0].began) < quick }

// begin lets a message be written. It is called with mu held, as end is.
func (v *visit) begin() {
	v.began = time.Now()
	v.box.visits = append(v.box.visits, v)
	v.timer = time.AfterFunc(hangAfter, v.hangs)
}

// hangs counts a message as one that hangs.
func (v *visit) hangs() {
	h, b := v.h, v.box
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.over {
		return
	}
	v.stuck = true
	b.stuck++
	if b.stuck != stuckMost {
		return
	}
	h.domains[folderOf(b.name)]++
	for _, other := range b.waiting {
		other.turn <- errHanging
	}
	b.waiting = nil
	h.tell(b.name, b.stuck)
}

// leave ends the visit: the message was written, or was not.
func (v *visit) leave() {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	v.end()
}

// end is begin's opposite, and lets others have their turn. It does nothing without begin.
func (v *visit) end() {
	h, b := v.h, v.box
	i := slices.Index(b.visits, v)
	if i < 0 {
		return
	}
	b.visits = slices.Delete(b.visits, i, i+1)
	v.timer.Stop()
	v.over = true
	if v.stuck {
		v.recover()
	}
	for len(b.waiting) > 0 && b.room() {
		next := b.waiting[0]
		b.waiting = b.waiting[1:]
		next.begin()
		next.turn <- nil
	}
	if len(b.visits) == 0 {
		delete(h.boxes, b.name)
	}
}

// recover is the opposite of hangs.
func (v *visit) recover() {
	v.box.stuck--
	if v.box.stuck != stuckMost-1 {
		return
	}
	folder := folderOf(v.box.name)
	if v.h.domains[folder]--; v.h.domains[folder] == 0 {
		delete(v.h.domains, folder)
	}
}
