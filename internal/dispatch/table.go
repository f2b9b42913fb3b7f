package dispatch

import (
	"strings"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// This file is the schedule in memory. A message is a few numbers and its tasks; a task
// is the recipients that share a destination and a due time. Envelopes are kept only
// of mail that is about to be worked on.
//
// A lane holds the tasks of one destination and queue group: those waiting for their
// time and those that are due, each in a heap. Due lanes stand in rings that are
// served in turn. So no operation looks at more than one lane, and a destination
// with a million messages costs others nothing.

// instant is a time in nanoseconds since the dispatcher was made, on the monotonic
// clock: a jump of the wall clock moves nothing that is scheduled already.
type instant int64

// kind is the sort of work that a lane's tasks need; each has a limit of its own.
type kind uint8

const (
	routing kind = iota // the address is not resolved yet
	local               // a mailbox, or a forward
	user                // a user of the system: files and programs of the user's choice
	remote
	kinds
)

// message is an unfinished message.
type message struct {
	id      id.ID
	fence   uint64
	birth   instant // when it was accepted; negative for those from before the start
	tasks   []*task // of unfinished recipients that wait, are due or run
	content *content
	group   *group
	left    int32 // recipients not finished
	failed  int32 // of them, those given up whose bounce is not written
	busy    int32 // tasks in work or about to be: the bounce waits for them
	prio    int8
	held    bool
	told    bool // the delay notice is done with
	gone    bool // finished or deleted
}

// sums are kept so that nobody who asks how the queue is walks over a million messages
// while deliveries wait.
type sums struct {
	recipients int // not finished
	held       int // messages
}

func (s *sums) add(m *message)    { s.change(m, 1) }
func (s *sums) remove(m *message) { s.change(m, -1) }

func (s *sums) change(m *message, by int) {
	s.recipients += by * int(m.left)
	if m.held {
		s.held += by
	}
}

// content is what is needed of a message only while it is worked on. Its fields are
// guarded by Dispatcher.mu; env's target is never written to.
type content struct {
	env    *mail.Envelope
	states []queue.RecipientState
	notes  map[int]note // what a bounce will tell beyond the state; lost in a crash
}

// note is the part of a verdict that is not in a RecipientState.
type note struct{ text, transcript string }

// place is where a task is.
type place uint8

const (
	nowhere place = iota // held or parked
	waiting              // in lane.wait until its time
	ready                // in lane.ready, due
	running              // in a goroutine's hands
	dropped              // its recipients are finished, or in other tasks
)

// task is a message's recipients that are worked on together.
type task struct {
	msg    *message
	lane   *lane
	next   instant // due time
	ns     []uint32
	prep   *prep // nil: to be routed (again) when it runs
	pos    int32 // in the heap
	where  place
	busy   bool // counted in msg.busy
	force  bool // an operator wants it tried now: the memory of dead destinations does not count
	giveUp bool // an operator wants no further attempt
	dead   bool // its destination was left alone when it started
	dirty  bool // next is later than the store knows
}

// prep is a task's recipients, routed.
type prep struct {
	recipients []deliver.Recipient
	next       *route.NextHop
	targets    []mail.Address // of a forward
}

// dest is a place that deliveries go to, with what its replies taught.
type dest struct {
	key      string
	domain   string
	kind     kind
	schedule *schedule
	lanes    []*lane
	tasks    int // in its lanes or running
	running  int
	window   float64 // deliveries that may run at once
	failures int     // connection failures in a row
	until    instant // left alone until then
	wait     time.Duration
	err      *reason.Error // of the last connection failure
}

// group is a queue group.
type group struct {
	name    string
	limit   int // 0: none
	running int
	paused  bool
	rings   [kinds][classes]ring
}

// group returns a queue group, made when it is new.
func (d *Dispatcher) group(name string) *group {
	for _, g := range d.groups {
		if g.name == name {
			return g
		}
	}
	g := &group{name: name}
	d.groups = append(d.groups, g)
	return g
}

type laneKey struct {
	dest  *dest // nil for routing
	group *group
}

// lane is the tasks of one destination in one group.
type lane struct {
	key        laneKey
	wait       taskHeap // by time
	ready      taskHeap // by priority, then time
	timer      int32    // place in Dispatcher.timers; -1: not there
	ring       *ring    // nil: nothing due, or the destination is full
	prev, next *lane
}

func (l *lane) kind() kind {
	if l.key.dest == nil {
		return routing
	}
	return l.key.dest.kind
}

// classes of priority: above, at and below normal.
const classes = 3

func class(prio int8) int {
	switch {
	case prio > 0:
		return 0
	case prio == 0:
		return 1
	}
	return 2
}

// ring is the lanes with due tasks, served in turn.
type ring struct{ head *lane }

// add puts l last.
func (r *ring) add(l *lane) {
	l.ring = r
	if r.head == nil {
		r.head, l.prev, l.next = l, l, l
		return
	}
	last := r.head.prev
	l.prev, l.next = last, r.head
	last.next, r.head.prev = l, l
}

func (r *ring) remove(l *lane) {
	if l.next == l {
		r.head = nil
	} else {
		l.prev.next, l.next.prev = l.next, l.prev
		if r.head == l {
			r.head = l.next
		}
	}
	l.ring, l.prev, l.next = nil, nil, nil
}

// taskHeap is a binary heap of tasks that know their place.
type taskHeap []*task

func earlier(a, b *task) bool { return a.next < b.next }

func urgent(a, b *task) bool {
	if a.msg.prio != b.msg.prio {
		return a.msg.prio > b.msg.prio
	}
	return a.next < b.next
}

func (h *taskHeap) push(t *task, less func(a, b *task) bool) {
	t.pos = int32(len(*h))
	*h = append(*h, t)
	h.up(int(t.pos), less)
}

func (h *taskHeap) remove(t *task, less func(a, b *task) bool) {
	i, last := int(t.pos), len(*h)-1
	(*h)[i] = (*h)[last]
	(*h)[i].pos = int32(i)
	(*h)[last] = nil
	*h = (*h)[:last]
	if i < last {
		h.down(i, less)
		h.up(i, less)
	}
	if cap(*h) > 1024 && len(*h) < cap(*h)/4 {
		*h = append(make(taskHeap, 0, cap(*h)/2), *h...)
	}
}

func (h taskHeap) up(i int, less func(a, b *task) bool) {
	for i > 0 {
		p := (i - 1) / 2
		if !less(h[i], h[p]) {
			return
		}
		h.swap(i, p)
		i = p
	}
}

func (h taskHeap) down(i int, less func(a, b *task) bool) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && less(h[c+1], h[c]) {
			c++
		}
		if !less(h[c], h[i]) {
			return
		}
		h.swap(i, c)
		i = c
	}
}

func (h taskHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = int32(i), int32(j)
}

// laneHeap orders lanes by their first waiting task; it implements heap.Interface.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].wait[0].next < h[j].wait[0].next }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = int32(i), int32(j)
}
func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.timer = int32(len(*h))
	*h = append(*h, l)
}
func (h *laneHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.timer = -1
	return l
}

// foldDomain returns the form that domains are compared in here.
func foldDomain(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
