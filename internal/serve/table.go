package serve

import "sync/atomic"

// entry is a connection's row in the table of connections.
type entry struct {
	account, state atomic.Pointer[string]
}
