package pebblex

import (
	"errors"
	"fmt"
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

// generation is one opening of the database. Two goroutines carry its commits: one
// applies all that wait, asking for a sync with the last, while the other waits for
// the sync before. A commit that is alone is carried by the first to its end, which spares
// handing it on. Callers never enter Pebble's commit pipeline themselves, since a failure can
// leave its mutexes locked for ever.
type generation struct {
	e    *Engine
	db   *pebble.DB
	gate *gate
	logs *logs // nil without LogFiles

	queue chan *request
	calls atomic.Int32  // under way: until they have been told
	later atomic.Int32  // groups that the second goroutine has not told yet
	tick  chan struct{} // lazy changes wait
	timer *time.Timer   // sends to tick
	armed chan struct{} // holds a token while timer runs
	quit  chan struct{}
	ended sync.WaitGroup

	views   sync.RWMutex // held for reading by View; bury waits for it
	telling sync.Mutex   // held while callers are told of success: not after dead is closed

	once sync.Once
	err  error         // why it froze; read after dead is closed
	dead chan struct{} // closed at the first failure
	live bool          // under Engine.mu: it is or was the Engine's
}

// request is one waiting commit.
type request struct {
	batch     *pebble.Batch
	onDurable interface{ Durable() }
	done      chan struct{} // holds a token when the batch is durable
}

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// group is what one sync makes durable.
type group struct {
	requests []*request
	synced   []func()
}

// open opens the database and makes it the Engine's. Pebble is entered on a
// goroutine of its own, because it may not come back from a broken disk.
func (e *Engine) open(first bool) error {
	g := &generation{
		e: e, queue: make(chan *request, groupMax), dead: make(chan struct{}), quit: make(chan struct{}),
		tick: make(chan struct{}, 1), armed: make(chan struct{}, 1),
	}
	g.gate = &gate{FS: e.opts.FS, dir: e.opts.Dir, froze: g.fail}
	if n := e.opts.LogFiles; n > 0 {
		g.logs = &logs{FS: e.opts.FS, dir: e.opts.Dir, size: e.opts.LogBytes, most: n, quit: make(chan struct{})}
		g.gate.FS = g.logs
	}
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
		FS: g.gate, Cache: g.e.cache, FormatMajorVersion: Format, Logger: logger{g.e.opts.Log, g.fail},
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
	if err := g.logs.find(); err != nil {
		return err
	}
	db, err := pebble.Open(g.e.opts.Dir, o)
	if err != nil {
		return err
	}
	g.db = db
	if g.e.opts.Settle != nil {
		if err := g.e.opts.Settle(db, first); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	g.logs.start()
	groups := make(chan group, 2)
	g.ended.Add(2)
	go g.apply(groups)
	go g.finish(groups)
	return nil
}

// apply is the goroutine that feeds Pebble.
func (g *generation) apply(groups chan<- group) {
	defer g.ended.Done()
	defer close(groups)
	defer func() {
		if r := recover(); r != nil {
			g.fail(fmt.Errorf("pebble: %v\n%s", r, debug.Stack()))
		}
	}()
	var synced []func()
	for {
		var gr group
		select {
		case r := <-g.queue:
			gr.requests = append(make([]*request, 0, 8), r)
		case <-g.tick:
		case <-g.quit:
			g.lazy()
			return
		case <-g.dead:
			return
		}
		if g.failed() { // what is lazy belongs to the next generation
			return
		}
	more:
		for len(gr.requests) < groupMax {
			select {
			case r := <-g.queue:
				gr.requests = append(gr.requests, r)
			default:
				break more
			}
		}
		if f := g.lazy(); f != nil {
			synced = append(synced, f)
		}
		if len(gr.requests) == 0 {
			continue
		}
		gr.synced, synced = synced, nil
		last := len(gr.requests) - 1
		for i, r := range gr.requests {
			var err error
			if i < last {
				err = g.db.Apply(r.batch, pebble.NoSync)
			} else {
				err = g.db.ApplyNoSyncWait(r.batch, pebble.Sync)
			}
			if err != nil {
				g.fail(err)
				return
			}
		}
		// Who is alone in calling is alone in waiting: nothing can be applied beside its sync.
		if g.calls.Load() == 1 && g.later.Load() == 0 {
			if !g.settle(gr) {
				return
			}
			continue
		}
		g.later.Add(1)
		groups <- gr
	}
}

// lazy applies the lazy changes.
func (g *generation) lazy() (synced func()) {
	if g.e.opts.Lazy == nil {
		return nil
	}
	b := g.db.NewBatch()
	synced = g.e.opts.Lazy(b)
	if !b.Empty() {
		if err := g.db.Apply(b, pebble.NoSync); err != nil {
			g.fail(err)
			return nil
		}
	}
	b.Close()
	return synced
}

// finish is the goroutine that waits for the syncs. The log is written in order: the sync
// of a group's last batch covers all before it.
func (g *generation) finish(groups <-chan group) {
	defer g.ended.Done()
	for gr := range groups {
		if !g.settle(gr) {
			return
		}
		g.later.Add(-1)
	}
}

// settle waits for a group's sync and tells of it, unless the generation has failed.
func (g *generation) settle(gr group) bool {
	if err := gr.requests[len(gr.requests)-1].batch.SyncWait(); err != nil {
		g.fail(err)
	}
	return g.tell(gr)
}

// tell reports the success of a group, unless the generation has failed.
func (g *generation) tell(gr group) bool {
	g.telling.Lock()
	defer g.telling.Unlock()
	if g.failed() {
		return false
	}
	for _, r := range gr.requests {
		r.batch.Close()
		if r.onDurable != nil {
			r.onDurable.Durable()
		}
		r.batch, r.onDurable = nil, nil
		r.done <- struct{}{}
	}
	for _, f := range gr.synced {
		f()
	}
	return true
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
	g.logs.stop()
	done := make(chan error, 1)
	go func() {
		g.ended.Wait()
		done <- g.db.Close()
	}()
	select {
	case err := <-done:
		return err
	case <-g.dead:
		return g.err
	}
}
