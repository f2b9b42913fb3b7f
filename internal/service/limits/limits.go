// Package limits is what a process of the server allows itself, as softlimit(8) would: descriptors and memory.
package limits

import (
	"log/slog"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/config"
)

// heapFloor is the heap below which the collector has no need to run, in bytes. A process that
// takes thousands of messages a second with a few MiB alive would collect some hundred times a
// second: a tenth of its processor time.
const heapFloor = 32 << 20

// FloorHeap returns memory to be kept alive. It is never touched, so it takes up
// addresses only, but the collector, which runs when the heap has doubled, counts it.
// With a limit of memory there is none: the limit is meant to be kept.
func FloorHeap(o config.Process) []byte {
	if o.MemoryLimit > 0 || o.MaxMemory > 0 || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, heapFloor)
}

// Set applies softlimit(8)'s idea to this process: descriptors up to the hard
// limit, and memory as configured. What the system refuses is logged.
func Set(o config.Process, log *slog.Logger) {
	var files unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	if err == nil {
		files.Cur = files.Max
		if o.MaxFiles > 0 {
			files.Cur = min(files.Max, uint64(o.MaxFiles))
		}
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &files)
	}
	if err != nil {
		log.Warn("the limit of descriptors stays as it was", "error", err)
	}
	if o.MemoryLimit > 0 {
		debug.SetMemoryLimit(o.MemoryLimit)
	}
	if o.MaxMemory > 0 {
		limit := unix.Rlimit{Cur: uint64(o.MaxMemory), Max: uint64(o.MaxMemory)}
		if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
			log.Warn("the limit of memory stays as it was", "error", err)
		}
	}
}
