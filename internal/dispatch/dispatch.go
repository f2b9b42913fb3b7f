// Package dispatch is what qmail-send is: it works the queue off. It claims messages
// from the store, routes their recipients, has them delivered, records the results
// and bounces what failed for good.
//
// The rule it keeps: each recipient ends exactly once, delivered or told of in a
// bounce. A result is recorded together with the messages it makes (bounces, delay
// notices, forwards) in one atomic Finish, so the only windows in which a crash can
// repeat something are these two:
//
//   - between a target's success and the Finish that records it, the delivery is made
//     again after the restart (mailboxes find it already made, see deliver.Verdict.Replay);
//   - a message with several recipients in work records its failures first (state
//     Failed) and bounces them when the others have been tried; a crash between the two only
//     delays the bounce to the restart, and costs it the session's transcript.
package dispatch

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/trace"
)

// Dispatcher works a queue off. It is safe for concurrent use.
type Dispatcher struct {
	opt       Options
	deps      Deps
	schedules *schedules
	epoch     time.Time // when made; instants count from here

	// mu guards everything below, and all messages, tasks, lanes, destinations and
	// groups. It is never held over a call to another part, but for QueueOnly.
	mu        sync.Mutex
	messages  map[id.ID]*message
	dests     map[string]*dest
	lanes     map[laneKey]*lane
	groups    []*group // served in turn
	turn      int      // of groups
	picks     int      // counts, so that low priorities get their share
	timers    laneHeap
	running   [kinds]int
	limits    [kinds]int
	finishing int // results on their way to the store
	flushes   int // since the start
	contents  int // messages whose content is held
	paused    bool
	parked    map[string][]*task // by paused domain
	claimed   bool               // all that was unfinished at start has been handed over
	stopped   bool               // start nothing
	count     Counters

	pausing sync.Mutex // held while what is paused changes; taken before mu

	sums       sums
	listing    *listing // nil: none is being read
	first      *message // the oldest when it was last looked for
	wake       chan struct{}
	jobs       sync.WaitGroup
	handoff    chan *task // to idle workers
	idle       atomic.Int32
	work       context.Context // of deliveries; outlives Run's
	endWork    context.CancelFunc
	records    context.Context // of results on their way to the store; outlives work
	endRecords context.CancelFunc
}

// New returns a Dispatcher that Run starts. The error names a wrong option.
func New(o Options, deps Deps) (*Dispatcher, error) {
	o = o.withDefaults()
	schedules, err := newSchedules(o)
	if err != nil {
		return nil, err
	}
	limits, err := parseGroups(o.Groups)
	if err != nil {
		return nil, err
	}
	if deps.Recorder == nil {
		deps.Recorder = trace.Discard
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dispatcher{
		opt:       o,
		deps:      deps,
		schedules: schedules,
		epoch:     time.Now(),
		messages:  make(map[id.ID]*message),
		dests:     make(map[string]*dest),
		lanes:     make(map[laneKey]*lane),
		limits:    [kinds]int{routing: o.RouteParallel, local: o.LocalParallel, user: o.LocalParallel, remote: o.RemoteParallel},
		parked:    make(map[string][]*task),
		wake:      make(chan struct{}, 1),
		handoff:   make(chan *task),
	}
	d.group("")
	for name, limit := range limits {
		d.group(name).limit = limit
	}
	d.loadPauses()
	d.work, d.endWork = context.WithCancel(context.Background())
	d.records, d.endRecords = context.WithCancel(context.Background())
	return d, nil
}

// claimRetry is the pause before a failed Claim is made again.
const claimRetry = time.Second

// Run works until ctx ends; then it starts nothing new, waits for running deliveries
// up to Options.StopWait, interrupts the rest, and stores retry times. It returns
// nil after such a stop. It is called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stopped = true
	})()
	claims := make(chan struct{})
	go func() {
		defer close(claims)
		d.claim(ctx)
	}()
	d.loop(ctx)
	<-claims
	d.stop()
	return nil
}

// claim takes messages from the store, again whenever the store comes back.
func (d *Dispatcher) claim(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.deps.Store.Claim(ctx, d.take)
		if ctx.Err() != nil {
			return
		}
		d.deps.Log.Warn("the queue's store ended the claim, trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(claimRetry):
		}
	}
}

// take accepts one message from the store. It never blocks. Messages that are here
// already (after the store was reopened) only get their new lease.
func (d *Dispatcher) take(c queue.Claimed) {
	if c.Message == nil {
		d.mu.Lock()
		d.claimed = true
		many := len(d.messages) >= manyMessages
		d.mu.Unlock()
		if many {
			// The scan passed all envelopes through memory: give back what they took.
			go debug.FreeOSMemory()
		}
		return
	}
	if d.renewed(c) {
		return
	}
	env := c.Message.Envelope
	now, wall := d.now(), d.deps.Clock.Now()
	birth := now - instant(max(wall.Sub(env.Accepted), 0))
	if birth >= 0 { // accepted since the start, not found in the queue
		d.acceptedEvent(env)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := &message{
		id:    env.ID,
		fence: c.Lease.Fence,
		birth: birth,
		group: d.group(env.Group),
		prio:  env.Priority,
		held:  c.Message.Held,
	}
	d.messages[m.id] = m
	d.plan(m, c.Message.States, now, wall)
	d.sums.add(m)
	if d.first != nil && m.birth < d.first.birth {
		d.first = m
	}
	if m.left == 0 {
		// The store has it as unfinished, so there is a removal to catch up with.
		d.addTask(m, nil, now)
	}
	if d.contents < d.opt.EnvelopesInMem && !m.held && m.dueAt(now) {
		d.keep(m, c.Message)
	}
	d.pump()
}

// renewed gives a message that is here already its new lease.
func (d *Dispatcher) renewed(c queue.Claimed) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.messages[c.Message.Envelope.ID]
	if m != nil {
		m.fence = c.Lease.Fence
	}
	return m != nil
}

// plan makes m's tasks from its recipients' states: one for each due time.
func (d *Dispatcher) plan(m *message, states []queue.RecipientState, now instant, wall time.Time) {
	var last *task
	for i := range states {
		s := &states[i]
		m.told = m.told || s.Delayed
		at := now
		switch s.State {
		case queue.Waiting:
			if !s.Next.IsZero() {
				at += instant(min(max(s.Next.Sub(wall), 0), d.schedules.gap))
			}
			m.left++
		case queue.Failed: // its bounce is not yet written
			m.left++
			m.failed++
		default:
			continue
		}
		if last == nil || last.next != at {
			last = d.addTask(m, nil, at)
		}
		if s.State == queue.Waiting {
			last.ns = append(last.ns, uint32(s.N))
		}
	}
}

// addTask makes a task of m in its group's routing lane, unless m is held.
func (d *Dispatcher) addTask(m *message, ns []uint32, at instant) *task {
	t := &task{msg: m, ns: ns, next: at}
	m.tasks = append(m.tasks, t)
	if !m.held {
		d.place(t, d.lane(nil, m.group))
	}
	return t
}

// now returns the present instant.
func (d *Dispatcher) now() instant { return instant(time.Since(d.epoch)) }

// wallAt returns the wall clock's time of an instant.
func (d *Dispatcher) wallAt(at, now instant) time.Time {
	return d.deps.Clock.Now().Add(time.Duration(at - now)).UTC()
}

// keep holds a message's content in memory.
func (d *Dispatcher) keep(m *message, c *queue.Message) {
	if m.content == nil {
		d.contents++
		m.content = &content{env: c.Envelope, states: c.States}
	}
}

// shed forgets the content of a message that is not in work; what is due of it will
// be routed when its turn comes.
func (d *Dispatcher) shed(m *message) {
	if m.content == nil {
		return
	}
	for _, t := range m.tasks {
		if t.where == running {
			return
		}
	}
	for _, t := range m.tasks {
		t.prep = nil
		setBusy(t, false)
	}
	if m.busy > 0 {
		return // its bounce is being made
	}
	m.content = nil
	d.contents--
}

func (m *message) dueAt(now instant) bool {
	for _, t := range m.tasks {
		if t.next <= now {
			return true
		}
	}
	return false
}

func setBusy(t *task, busy bool) {
	if t.busy == busy {
		return
	}
	t.busy = busy
	if busy {
		t.msg.busy++
	} else {
		t.msg.busy--
	}
}

// tick is the longest that the loop sleeps; a lost wake-up costs no more.
const tick = 15 * time.Second

// pollQueueOnly is how often a condition that holds everything back is asked again.
const pollQueueOnly = time.Second

// loop moves tasks whose time has come, until ctx ends.
func (d *Dispatcher) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	beat := d.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.wake:
		}
		d.mu.Lock()
		d.pump()
		sleep := d.sleep()
		if now := d.now(); now-beat >= instant(tick) {
			beat = now
			d.tidy(now)
			d.mu.Unlock()
			d.heartbeat(ctx)
		} else {
			d.mu.Unlock()
		}
		timer.Reset(sleep)
	}
}

// sleep returns how long nothing will be due.
func (d *Dispatcher) sleep() time.Duration {
	s := tick
	if d.heldBack() {
		s = pollQueueOnly
	}
	if len(d.timers) > 0 {
		s = min(s, max(time.Duration(d.timers[0].wait[0].next-d.now()), 0))
	}
	return s
}

// nudge wakes the loop.
func (d *Dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// heartbeat extends the leases of messages whose content is held. What is lost is forgotten,
// unless it is in work: then the record finds out, see finish.
func (d *Dispatcher) heartbeat(ctx context.Context) {
	var leases []queue.Lease
	d.mu.Lock()
	if d.contents > 0 {
		for _, m := range d.messages {
			if m.content != nil {
				leases = append(leases, m.lease())
			}
		}
	}
	d.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	lost, err := d.deps.Store.Heartbeat(ctx, leases)
	if err != nil && ctx.Err() == nil {
		d.deps.Log.Warn("leases could not be extended", "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range lost {
		if m := d.messages[l.Message]; m != nil && m.fence == l.Fence && m.busy == 0 {
			d.forget(m)
		}
	}
}

func (m *message) lease() queue.Lease { return queue.Lease{Message: m.id, Fence: m.fence} }

// tidy drops lanes and destinations that hold nothing worth knowing.
func (d *Dispatcher) tidy(now instant) {
	for key, t := range d.dests {
		if t.tasks > 0 || t.running > 0 || now < t.until+instant(d.opt.DeadWaitMost) && t.failures > 0 {
			continue
		}
		delete(d.dests, key)
		for _, l := range t.lanes {
			delete(d.lanes, l.key)
		}
	}
}

// forget removes a message from memory: it is finished, deleted or another's.
func (d *Dispatcher) forget(m *message) {
	if m.gone {
		return
	}
	m.gone = true
	for _, t := range m.tasks {
		d.unplace(t)
	}
	if m.content != nil {
		m.content = nil
		d.contents--
	}
	delete(d.messages, m.id)
	d.sums.remove(m)
}

// manyMessages is the number at start above which memory is given back to the system once
// all are scheduled.
const manyMessages = 50_000

// lastRecords is how long results of interrupted deliveries may take to be recorded.
const lastRecords = 10 * time.Second

// stop ends the work: nothing new starts, running deliveries get their time, and retry
// times that the store does not know are stored.
func (d *Dispatcher) stop() {
	d.mu.Lock()
	d.stopped = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.jobs.Wait()
	}()
	select {
	case <-done:
	case <-time.After(d.opt.StopWait):
		d.endWork() // targets return soon after
		select {
		case <-done:
		case <-time.After(lastRecords):
			d.endRecords()
			<-done
		}
	}
	d.storeTimes()
	d.endWork()
	d.endRecords()
}

// storeTimes writes the due times that only memory knows. It stops after StopWait:
// what it misses is tried again sooner after the next start, no more.
func (d *Dispatcher) storeTimes() {
	ctx, cancel := context.WithTimeout(context.Background(), d.opt.StopWait)
	defer cancel()
	d.mu.Lock()
	now := d.now()
	times := make(map[id.ID]map[uint32]time.Time)
	for _, m := range d.messages {
		for _, t := range m.tasks {
			if !t.dirty {
				continue
			}
			if times[m.id] == nil {
				times[m.id] = make(map[uint32]time.Time)
			}
			for _, n := range t.ns {
				times[m.id][n] = d.wallAt(t.next, now)
			}
		}
	}
	d.mu.Unlock()
	for message, next := range times {
		err := d.deps.Store.Update(ctx, message, func(m *queue.Message) error {
			for n, at := range next {
				if int(n) < len(m.States) && m.States[n].State == queue.Waiting {
					m.States[n].Next = at
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			d.deps.Log.Warn("retry times were not stored", "message", message.String(), "error", err)
			return
		}
	}
}

// lane returns the lane of a destination (nil for routing) and group.
func (d *Dispatcher) lane(to *dest, g *group) *lane {
	key := laneKey{to, g}
	l := d.lanes[key]
	if l == nil {
		l = &lane{key: key, timer: -1}
		d.lanes[key] = l
		if to != nil {
			to.lanes = append(to.lanes, l)
		}
	}
	return l
}

// place puts t into a lane, by its time.
func (d *Dispatcher) place(t *task, l *lane) {
	if t.lane != l {
		if t.lane != nil && t.lane.key.dest != nil {
			t.lane.key.dest.tasks--
		}
		if l.key.dest != nil {
			l.key.dest.tasks++
		}
		t.lane = l
	}
	if t.next <= d.now() {
		d.makeReady(t)
		return
	}
	t.where = waiting
	l.wait.push(t, earlier)
	d.setTimer(l)
}

// setTimer puts l where its first waiting task belongs.
func (d *Dispatcher) setTimer(l *lane) {
	switch {
	case len(l.wait) == 0 && l.timer >= 0:
		// The heap must not compare an empty lane: it is moved out by its place.
		d.removeTimer(l)
	case len(l.wait) == 0:
	case l.timer < 0:
		heap.Push(&d.timers, l)
	default:
		heap.Fix(&d.timers, int(l.timer))
	}
	if l.timer == 0 {
		d.nudge()
	}
}

func (d *Dispatcher) removeTimer(l *lane) {
	i, last := int(l.timer), len(d.timers)-1
	d.timers.Swap(i, last)
	d.timers.Pop()
	if i < last {
		heap.Fix(&d.timers, i)
	}
}

// makeReady puts t among its lane's due tasks.
func (d *Dispatcher) makeReady(t *task) {
	t.where = ready
	t.lane.ready.push(t, urgent)
	d.activate(t.lane)
}

// activate puts l into the ring of its most urgent due task.
func (d *Dispatcher) activate(l *lane) {
	var want *ring
	if len(l.ready) > 0 {
		want = &l.key.group.rings[l.kind()][class(l.ready[0].msg.prio)]
	}
	if l.ring == want {
		return
	}
	if l.ring != nil {
		l.ring.remove(l)
	}
	if want != nil {
		want.add(l)
	}
}

// unplace takes t out of its lane and its lane's destination.
func (d *Dispatcher) unplace(t *task) {
	switch l := t.lane; t.where {
	case waiting:
		l.wait.remove(t, earlier)
		d.setTimer(l)
	case ready:
		l.ready.remove(t, urgent)
		d.activate(l)
	case running:
		return // whoever runs it sees that its message is gone
	}
	d.detach(t)
}
