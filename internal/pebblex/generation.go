package pebblex

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// groupMax bounds how many commits share a sync, and so the wait of the first.
const groupMax = 256

// nudgeAfter is how soon lazy changes are applied when nobody commits.
const nudgeAfter = 200 * time.Millisecond

// generation is one opening of the database. Two goroutines carry its commits: one writes all that wait to
// the log as one record, while the other applies the record before to the database and tells of it. A commit that
// is alone is carried by the first to its end, which spares handing it on. Callers never enter
// Pebble's commit pipeline themselves, since a failure can leave its mutexes locked for ever.
type generation struct {
	e    *Engine
	db   *pebble.DB
	gate *gate
	log  *log

	queue chan *request
	later atomic.Int32  // groups that the second goroutine has not told yet
	tick  chan struct{} // lazy changes wait
	timer *time.Timer   // sends to tick
	armed chan struct{} // holds a token while timer runs
	full  chan struct{} // holds a token when the log may have to be swept
	quit  chan struct{}
	ended sync.WaitGroup
	swept sync.WaitGroup // the sweeper

	views   sync.RWMutex // held for reading by View; bury waits for it
	copying sync.Mutex   // held while bodies are copied
	telling sync.Mutex   // held while callers are told of success: not after dead is closed

	fates  sync.Mutex
	untold map[*request]struct{} // commits whose fate their owners wait for; nil once the generation has failed

	once sync.Once
	err  error         // why it froze; read after dead is closed
	dead chan struct{} // closed at the first failure
	live bool          // under Engine.mu: it is or was the Engine's
}

// request is one waiting commit, or work that must be done when all commits before it have been applied.
type request struct {
	batch    *pebble.Batch
	bodies   []Attachment
	detached []Held
	owner    Owner
	work     func(end) error
	err      error         // of work
	sweep    uint64        // of work: bodies of segments up to this number are moved from now on
	done     chan struct{} // of work: holds a token when it is done
}

var requests = sync.Pool{New: func() any { return new(request) }}

// group is what one record makes durable, and the work that comes after it.
type group struct {
	requests []*request
	rows     *pebble.Batch // nil when there are none
	bodies   []*Attachment
	detached []Held // bodies whose rows rows delete
	synced   func()
	number   uint64 // of the record
	end      end
	work     *request
}

// end is how far the log had come.
type end struct {
	segment uint64
	bytes   int64
}

// open opens the database and makes it the Engine's. Pebble is entered on a
// goroutine of its own, because it may not come back from a broken disk.
func (e *Engine) open(first bool) error {
	g := &generation{
		e: e, queue: make(chan *request, groupMax), dead: make(chan struct{}), quit: make(chan struct{}),
		tick: make(chan struct{}, 1), armed: make(chan struct{}, 1), full: make(chan struct{}, 1),
		untold: map[*request]struct{}{},
	}
	g.gate = &gate{FS: e.opts.FS, dirs: []string{e.opts.Dir, e.opts.LogDir}, froze: g.fail}
	g.log = e.newLog(g.gate)
	g.timer = time.AfterFunc(time.Hour, func() {
		<-g.armed
		select {
		case g.tick <- struct{}{}:
		default: // one is on its way
		}
	})
	g.timer.Stop()
	result := make(chan error, 1)
	go func() { result <- g.start(first) }()
	select {
	case err := <-result:
		if err != nil {
			return err
		}
	case <-g.dead:
		return g.err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if g.failed() {
		return g.err
	}
	g.live = true
	e.opened = time.Now()
	e.cause = nil
	e.gen.Store(g)
	return nil
}

func (g *generation) start(first bool) error {
	o := &pebble.Options{
		FS: g.gate, Cache: g.e.cache, FormatMajorVersion: Format, Logger: logger{g.e.opts.Log, g.fail}, DisableWAL: true,
		EventListener: &pebble.EventListener{
			// Pebble tries a failed flush or compaction again at once; a frozen one does not.
			BackgroundError: g.fail,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				g.e.opts.Log.Error("the database is damaged", "info", fmt.Sprint(info))
			},
		},
	}
	if g.e.opts.Tune != nil {
		g.e.opts.Tune(o)
	}
	if err := g.log.find(); err != nil {
		return errors.Join(err, g.log.close())
	}
	db, err := pebble.Open(g.e.opts.Dir, o)
	if err != nil {
		return errors.Join(err, g.log.close())
	}
	g.db = db
	if err := g.settleFirst(first); err != nil {
		return errors.Join(err, db.Close(), g.log.close())
	}
	g.log.spare.start()
	groups := make(chan group, 2)
	g.ended.Add(2)
	go g.write(groups)
	go g.finish(groups)
	g.swept.Go(g.sweep)
	return nil
}

// settleFirst brings the database to where the log is, and makes durable what the Engine's owner wants true. The record
// that does so begins a segment, which makes void what was written and never acknowledged.
func (g *generation) settleFirst(first bool) error {
	last := uint64(math.MaxUint64)
	if !first {
		last = g.e.told.Load()
	}
	if err := g.log.replay(g.db, last); err != nil {
		return err
	}
	if err := g.log.count(g.db); err != nil {
		return err
	}
	gr := group{rows: g.db.NewBatch()}
	if g.e.opts.Settle != nil {
		var err error
		if gr.synced, err = g.e.opts.Settle(g.db, first, gr.rows); err != nil {
			return err
		}
	}
	if err := g.record(&gr); err != nil {
		return err
	}
	if !g.settle(gr) {
		return g.err
	}
	return nil
}

// write is the goroutine that writes the log.
func (g *generation) write(groups chan<- group) {
	defer g.ended.Done()
	defer close(groups)
	for {
		gr, more := g.gather()
		if g.failed() { // what is lazy belongs to the next generation
			return
		}
		if err := g.build(&gr); err != nil {
			g.fail(err)
			return
		}
		if gr.rows != nil {
			if err := g.record(&gr); err != nil {
				g.fail(err)
				return
			}
		}
		gr.end = end{g.log.now.number, g.log.end}
		// While nobody else waits there is nothing to write.
		if g.later.Load() == 0 && g.waiting() <= 1 {
			if !g.settle(gr) {
				return
			}
		} else {
			g.later.Add(1)
			select {
			case groups <- gr:
			case <-g.dead:
				return
			}
		}
		if !more {
			return
		}
	}
}

// gather waits for the next commit and takes all that wait with it. It reports false when there will be no others.
func (g *generation) gather() (gr group, more bool) {
	select {
	case r := <-g.queue:
		if gr.take(r) {
			return gr, true
		}
	case <-g.tick:
	case <-g.quit:
		return gr, false
	case <-g.dead:
		return gr, false
	}
	for size := 0; len(gr.requests) < groupMax && size < recordRoom; {
		select {
		case r := <-g.queue:
			if gr.take(r) {
				return gr, true
			}
			for i := range r.bodies {
				size += len(r.bodies[i].Data)
			}
		default:
			return gr, true
		}
	}
	return gr, true
}

// take adds a request. It reports whether it is the group's last.
func (gr *group) take(r *request) bool {
	if r.work != nil {
		gr.work = r
		return true
	}
	if gr.requests == nil {
		gr.requests = make([]*request, 0, 8)
	}
	gr.requests = append(gr.requests, r)
	return false
}

// build puts the group's changes together. What is lazy joins them.
func (g *generation) build(gr *group) error {
	if gr.work != nil && gr.work.sweep > g.log.swept {
		g.log.swept = gr.work.sweep
	}
	var rows *pebble.Batch // the first one's grows
	for _, r := range gr.requests {
		if rows == nil {
			rows = r.batch
		} else if err := rows.Apply(r.batch, nil); err != nil {
			return err
		}
		for i := range r.bodies {
			gr.bodies = append(gr.bodies, &r.bodies[i])
		}
		gr.detached = append(gr.detached, r.detached...)
	}
	if rows == nil {
		rows = g.db.NewBatch()
	}
	if g.e.opts.Lazy != nil {
		lazy := Changes{Batch: rows, g: g, detached: gr.detached}
		gr.synced = g.e.opts.Lazy(&lazy)
		gr.detached = lazy.detached
	}
	if !rows.Empty() {
		gr.rows = rows
	} else if len(gr.requests) == 0 {
		return rows.Close()
	}
	return nil
}

// record makes the group durable.
func (g *generation) record(gr *group) error {
	segment := g.log.now
	if err := g.log.write(gr.rows, gr.bodies, &g.copying, g.failed); err != nil {
		return err
	}
	gr.number = g.log.number
	if g.log.now != segment { // one has begun
		select {
		case g.full <- struct{}{}:
		default:
		}
	}
	return nil
}

// finish is the goroutine that applies and tells.
func (g *generation) finish(groups <-chan group) {
	defer g.ended.Done()
	for {
		select {
		case gr, more := <-groups:
			if !more || !g.settle(gr) {
				return
			}
			g.later.Add(-1)
		case <-g.dead: // who writes may not come back
			return
		}
	}
}

// settle applies a durable group and tells of it, and does the work that comes after it, unless the generation has failed.
func (g *generation) settle(gr group) bool {
	defer func() {
		if r := recover(); r != nil {
			g.fail(fmt.Errorf("pebble: %v\n%s", r, debug.Stack()))
		}
	}()
	if gr.rows != nil {
		if err := g.db.Apply(gr.rows, pebble.NoSync); err != nil {
			g.fail(err)
		}
	}
	if !g.tell(gr) {
		return false
	}
	if gr.work != nil {
		gr.work.err = gr.work.work(gr.end)
		gr.work.done <- struct{}{}
	}
	return true
}

// tell reports the success of a group, unless the generation has failed.
func (g *generation) tell(gr group) bool {
	g.telling.Lock()
	defer g.telling.Unlock()
	if g.failed() {
		return false
	}
	if gr.rows != nil {
		g.e.told.Store(gr.number)
		defer gr.rows.Close()
	}
	g.log.detached(gr.detached)
	g.end(gr.requests...)
	for _, r := range gr.requests {
		if r.batch != gr.rows {
			r.batch.Close()
		}
		if r.owner != nil {
			r.owner.Durable()
		}
		g.release(r)
	}
	if gr.synced != nil {
		gr.synced()
	}
	return true
}

// begin counts a commit among those whose fate must be told. It reports false when the generation has failed.
func (g *generation) begin(r *request) bool {
	g.fates.Lock()
	defer g.fates.Unlock()
	if g.untold == nil {
		return false
	}
	g.untold[r] = struct{}{}
	return true
}

// end takes commits out whose fate is about to be told. It reports whether all were there: else they have been told.
func (g *generation) end(list ...*request) bool {
	g.fates.Lock()
	defer g.fates.Unlock()
	before := len(g.untold)
	for _, r := range list {
		delete(g.untold, r)
	}
	return before-len(g.untold) == len(list)
}

// waiting counts the commits whose fate has not been told.
func (g *generation) waiting() int {
	g.fates.Lock()
	defer g.fates.Unlock()
	return len(g.untold)
}

// abandon tells all who wait for a commit in a failed generation.
func (g *generation) abandon() {
	pass(&g.copying) // then nobody reads their bodies
	pass(&g.telling) // and whoever is being told of success has been
	g.fates.Lock()
	untold := g.untold
	g.untold = nil
	g.fates.Unlock()
	for r := range untold {
		// The request stays with the frozen database: it is not used again.
		r.fail(fmt.Errorf("%w: %w", ErrInDoubt, g.err))
		g.e.life.RUnlock()
	}
}

func (r *request) fail(err error) {
	if r.owner != nil {
		r.owner.Failed(err)
	}
}

// release lets go of a request whose owner has been told.
func (g *generation) release(r *request) {
	r.batch, r.bodies, r.detached, r.owner = nil, nil, nil, nil
	requests.Put(r)
	g.e.life.RUnlock()
}

// view lets f read the database, unless the generation has failed.
func (g *generation) view(f func() error) error {
	g.views.RLock()
	defer g.views.RUnlock()
	if g.failed() {
		return fmt.Errorf("%w: %w", ErrDown, g.err)
	}
	return f()
}

// failed reports whether the generation is to be used no more.
func (g *generation) failed() bool {
	select {
	case <-g.dead:
		return true
	default:
		return false
	}
}

// nudge lets apply run within nudgeAfter.
func (g *generation) nudge() {
	select {
	case g.armed <- struct{}{}:
		g.timer.Reset(nudgeAfter)
	default:
	}
}

// fail freezes the generation. Pebble calls it with locks held.
func (g *generation) fail(err error) {
	g.once.Do(func() {
		g.err = err
		close(g.dead)
		go g.e.broken(g)
	})
}

// close ends a healthy generation that nobody uses.
func (g *generation) close() error {
	g.timer.Stop()
	close(g.quit)
	g.log.spare.stop()
	done := make(chan error, 1)
	go func() {
		g.swept.Wait()
		g.ended.Wait()
		// Then the next opening has nothing to apply.
		done <- errors.Join(g.db.Flush(), g.db.Close(), g.log.close())
	}()
	select {
	case err := <-done:
		return err
	case <-g.dead:
		return g.err
	}
}
