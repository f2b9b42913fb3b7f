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
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/workers"
)

// Dispatcher works a queue off. It is safe for concurrent use.
type Dispatcher struct {
	opt       Options
	deps      Deps
	schedules *schedules
	epoch     time.Time // when made; instants count from here

	// mu guards everything below, and all messages, tasks, lanes, destinations and
	// groups. It is never held over a call to another part, but for QueueOnly.
	mu         sync.Mutex
	messages   arena[message]
	tasks      arena[task]
	recipients lists // of tasks: their recipients' numbers
	byID       index
	contents   map[number]*content // of messages
	preps      map[number]*prep    // of tasks; those without one are routed (again) when they run
	givenUp    map[number]numbers  // recipients of running tasks that an operator wants no further attempt for
	dests      map[string]*dest
	lanes      lanes
	groups     []*group // served in turn
	turn       int      // of groups
	picks      int      // counts, so that low priorities get their share
	timers     heap[*lane]
	running    [kinds]int
	limits     [kinds]int
	long       int // deliveries into mailboxes that take long
	finishing  int // results on their way to the store
	flushes    int // since the start
	paused     bool
	parked     map[string]*lane // what waits for the end of a domain's pause
	claimed    bool             // all that was unfinished at start has been handed over
	stopped    bool             // start nothing
	count      Counters

	pausing sync.Mutex // held while what is paused changes; taken before mu

	sums       sums
	listing    *listing // nil: none is being read
	first      number   // the oldest message when it was last looked for; 0: look again
	byTime     order[number]
	byUrgency  order[number]
	seed       maphash.Seed // of marks
	giveBack   instant      // when memory may be given back to the system again
	wake       chan struct{}
	jobs       sync.WaitGroup
	workers    workers.Pool    // they own what runs
	work       context.Context // of deliveries; outlives Run's
	endWork    context.CancelFunc
	records    context.Context // of results on their way to the store; outlives work
	endRecords context.CancelFunc
}

// New returns a Dispatcher that Run starts. The error names a wrong option.
func New(o Options, deps Deps) (*Dispatcher, error) {
	o = o.withDefaults()
	schedules, wrong := newSchedules(o)
	limits, err := parseGroups(o.Groups)
	if err = errors.Join(wrong, err); err != nil {
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
		contents:  make(map[number]*content),
		preps:     make(map[number]*prep),
		givenUp:   make(map[number]numbers),
		dests:     make(map[string]*dest),
		lanes:     lanes{byKey: make(map[laneKey]*lane)},
		limits:    [kinds]int{routing: o.RouteParallel, local: o.LocalParallel, user: o.LocalParallel, remote: o.RemoteParallel},
		parked:    make(map[string]*lane),
		seed:      maphash.MakeSeed(),
		wake:      make(chan struct{}, 1),
	}
	times := byTime{&d.tasks}
	d.byTime, d.byUrgency = times, byUrgency{times, &d.messages}
	d.byID = newIndex(func(n number) id.ID { return d.messages.at(n).id })
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
		many := d.messages.n >= manyMessages
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
	self := d.messages.add(message{
		id:    env.ID,
		fence: c.Lease.Fence,
		birth: birth,
		group: d.group(env.Group).number,
		prio:  env.Priority,
		held:  c.Message.Held,
	})
	m := d.messages.at(self)
	m.self = self
	for i := range env.Recipients {
		m.domains |= d.marks(env.Recipients[i].To.Domain)
	}
	d.byID.add(m.self)
	d.plan(m, c.Message.States, now, wall)
	d.sums.add(m)
	if d.first != 0 && m.birth < d.messages.at(d.first).birth {
		d.first = m.self
	}
	if m.left == 0 {
		// The store has it as unfinished, so there is a removal to catch up with.
		d.addTask(m, nil, now)
	}
	if len(d.contents) < d.opt.EnvelopesInMem && !m.held && d.dueAt(m, now) {
		d.keep(m, c.Message)
	}
	d.pump()
}

// find returns a message that is here; nil when it is not.
func (d *Dispatcher) find(v id.ID) *message {
	if n := d.byID.find(v); n != 0 {
		return d.messages.at(n)
	}
	return nil
}

// renewed gives a message that is here already its new lease.
func (d *Dispatcher) renewed(c queue.Claimed) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.find(c.Message.Envelope.ID)
	if m != nil {
		m.fence = c.Lease.Fence
	}
	return m != nil
}

// plan makes m's tasks from its recipients' states: one for each due time.
func (d *Dispatcher) plan(m *message, states []queue.RecipientState, now instant, wall time.Time) {
	var few [16]uint32
	ns, due, open := few[:0], instant(0), false
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
		if open && at != due {
			d.addTask(m, ns, due)
			ns = ns[:0]
		}
		due, open = at, true
		if s.State == queue.Waiting {
			ns = append(ns, uint32(s.N))
		}
	}
	if open {
		d.addTask(m, ns, due)
	}
}

// now returns the present instant.
func (d *Dispatcher) now() instant { return instant(time.Since(d.epoch)) }

// wallAt returns the wall clock's time of an instant.
func (d *Dispatcher) wallAt(at, now instant) time.Time {
	return d.deps.Clock.Now().Add(time.Duration(at - now)).UTC()
}

// keep holds a message's content in memory.
func (d *Dispatcher) keep(m *message, c *queue.Message) {
	if d.contents[m.self] == nil {
		d.contents[m.self] = &content{env: c.Envelope, states: c.States}
	}
}

// shed forgets the content of a message that is not in work; what is due of it will
// be routed when its turn comes.
func (d *Dispatcher) shed(m *message) {
	for t := range d.tasksOf(m) {
		if t.where == running {
			return
		}
	}
	for t := range d.tasksOf(m) {
		d.unprepare(t)
	}
	if m.busy > 0 {
		return // its bounce is being made
	}
	d.dropContent(m)
}

// The content of a message to many recipients is large, and so is what was made of it: its memory is given back
// to the system soon, not when the collector finds the time.
const (
	manyRecipients = 10_000
	giveBackEvery  = instant(10 * time.Second)
)

// dropContent forgets a message's content.
func (d *Dispatcher) dropContent(m *message) {
	c := d.contents[m.self]
	if c == nil {
		return
	}
	delete(d.contents, m.self)
	if now := d.now(); len(c.states) >= manyRecipients && now >= d.giveBack {
		d.giveBack = now + giveBackEvery
		time.AfterFunc(time.Second, debug.FreeOSMemory) // what was done with it has ended
	}
}

// unprepare has a task routed again when it runs.
func (d *Dispatcher) unprepare(t *task) {
	delete(d.preps, t.self)
	d.setBusy(t, false)
}

func (d *Dispatcher) dueAt(m *message, now instant) bool {
	for t := range d.tasksOf(m) {
		if t.next <= now {
			return true
		}
	}
	return false
}

func (d *Dispatcher) setBusy(t *task, busy bool) {
	if t.busy == busy {
		return
	}
	t.busy = busy
	if busy {
		d.msg(t).busy++
	} else {
		d.msg(t).busy--
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
		s = min(s, max(time.Duration(d.timers[0].due-d.now()), 0))
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
	for n := range d.contents {
		leases = append(leases, d.messages.at(n).lease())
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
		if m := d.find(l.Message); m != nil && m.fence == l.Fence && m.busy == 0 {
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
			d.lanes.remove(l)
		}
	}
}

// forget removes a message from memory: it is finished, deleted or another's. Whoever is at work
// on it sees that it is gone.
func (d *Dispatcher) forget(m *message) {
	if m.gone {
		return
	}
	m.gone = true
	for t := range d.tasksOf(m) {
		if t.where != running {
			d.unplace(t)
			d.drop(t)
		}
	}
	if d.first == m.self {
		d.first = 0
	}
	d.dropContent(m)
	d.byID.remove(m.id)
	d.sums.remove(m)
	d.free(m)
}

// free gives back the number of a message that is gone, once nobody is at work on it.
func (d *Dispatcher) free(m *message) {
	if m.gone && m.busy == 0 {
		d.messages.remove(m.self)
	}
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
		d.workers.Close()
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
	for _, batch := range d.late() {
		err := d.deps.Store.Revise(ctx, batch, func(q *queue.Message) queue.Revision {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.setTimes(q)
		})
		if err != nil {
			d.deps.Log.Warn("retry times were not stored", "error", err)
			return
		}
	}
}

// late returns the messages with due times that only memory knows, in batches.
func (d *Dispatcher) late() (batches [][]id.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var batch []id.ID
	weight := 0
	for m := range d.messages.all() {
		for t := range d.tasksOf(m) {
			if t.dirty {
				batch = append(batch, m.id)
				weight += int(m.left)
				break
			}
		}
		if len(batch) == batchMessages || weight >= batchRecipients {
			batches = append(batches, batch)
			batch, weight = nil, 0
		}
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches
}

// setTimes brings the due times that only memory knows into q.
func (d *Dispatcher) setTimes(q *queue.Message) queue.Revision {
	m, r := d.find(q.Envelope.ID), queue.Keep
	if m == nil {
		return r
	}
	now := d.now()
	for t := range d.tasksOf(m) {
		for n := range d.recipients.of(t.recipients) {
			if t.dirty && int(n) < len(q.States) && q.States[n].State == queue.Waiting {
				q.States[n].Next, r = d.wallAt(t.next, now), queue.Change
			}
		}
	}
	return r
}
