//go:build race

package rpc

import "sync"

var order sync.Mutex

// ordered tells the race detector, which knows nothing of shared memory, that what a side does after it has read comes after what the
// other did before it wrote: in tests both are in one process.
func ordered() {
	order.Lock()
	order.Unlock() //nolint:staticcheck // nothing is to be done between
}
