package pebblex

import (
	"sync"
	"testing"
)

// A disk may fail, and its log's files be given up, while they are only about to be written. The race detector looks on.
func TestSpareFilesMayBeStoppedWhileTheyStart(t *testing.T) {
	t.Parallel()
	for range 100 {
		p := &spares{fs: System(), dir: t.TempDir(), bytes: 64 << 10, ahead: 2, quit: make(chan struct{})}
		var started sync.WaitGroup
		started.Go(p.start)
		p.stop()
		started.Wait()
		p.stop()
		p.start()
		if !p.stopped() {
			t.Fatal("they start again")
		}
	}
}
