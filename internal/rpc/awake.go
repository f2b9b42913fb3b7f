package rpc

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A call whose reply waits for no more than a sync of a quick disk comes back sooner than a processor that was
// let fall asleep is up again. So who waits alone, with nothing else to do meanwhile, looks for a moment before it sleeps.
// With others about, each wakes the next ones, and looking would take the processor from them.

const (
	// awakeTime is how long it looks.
	awakeTime = 150 * time.Microsecond
	// asleepFor is how many calls sleep at once after one that looked in vain: there the disk is slow.
	asleepFor = 63
)

// vigil tells the calls of one client whether to look.
type vigil struct {
	waiting atomic.Int32 // calls that wait for such a reply
	asleep  atomic.Int32 // calls left that sleep at once
}

// await returns when something has come on the connection, or it is time to sleep.
func (v *vigil) await(c *Conn) {
	alone := v.waiting.Add(1) == 1
	defer v.waiting.Add(-1)
	if !alone || runtime.GOMAXPROCS(0) == 1 || c.r.Buffered() > 0 {
		return
	}
	if v.asleep.Load() > 0 {
		v.asleep.Add(-1)
		return
	}
	end := time.Now().Add(awakeTime)
	late := false
	look(c.c, func() bool {
		late = !time.Now().Before(end)
		return !late && v.waiting.Load() == 1
	})
	if late {
		v.asleep.Store(asleepFor)
	}
}
