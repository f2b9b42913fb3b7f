package pebblex

import (
	"fmt"
	"time"
)

// healthy is how long a database must have lived for its next failure to be met
// with the shortest back-off again.
const healthy = 10 * time.Minute

// broken takes a failed generation out of use and brings up the next.
func (e *Engine) broken(g *generation) {
	g.abandon()
	e.mu.Lock()
	if !g.live || e.closed {
		e.gen.CompareAndSwap(g, nil)
		e.cause = g.err
		e.mu.Unlock()
		g.bury()
		return
	}
	e.cause = g.err
	e.gen.CompareAndSwap(g, nil)
	if time.Since(e.opened) > healthy {
		e.wait = e.opts.RetryMin
	}
	e.revival.Add(1)
	e.mu.Unlock()
	defer e.revival.Done()

	e.opts.Log.Error("the database is closed until the disk works again", "folder", e.opts.Dir, "err", g.err)
	if e.opts.Broken != nil {
		e.opts.Broken(g.err)
	}
	g.bury()
	for {
		select {
		case <-e.stop:
			return
		case <-time.After(e.wait):
		}
		e.wait = min(2*e.wait, e.opts.RetryMax)
		err := e.reopen()
		if err == nil {
			e.opts.Log.Info("the database is open again", "folder", e.opts.Dir)
			return
		}
		if e.opts.Broken != nil {
			e.opts.Broken(err)
		}
		e.opts.Log.Warn("the database cannot be opened yet", "folder", e.opts.Dir, "err", err, "again", e.wait)
	}
}

// bury ends the generation's hold on the disk.
func (g *generation) bury() {
	g.log.spare.stop()
	g.gate.freeze()
	pass(&g.views) // whoever reads has read
	g.gate.bury()
}

func (e *Engine) reopen() error {
	if e.opts.Probe != nil {
		if err := e.opts.Probe(); err != nil {
			return fmt.Errorf("probe of the disk: %w", err)
		}
	}
	return e.open(false)
}
