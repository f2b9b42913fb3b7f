package service

import (
	"log/slog"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/config"
)

// setLimits applies softlimit(8)'s idea to this process: descriptors up to the hard
// limit, and memory as configured. What the system refuses is logged.
func setLimits(o config.Process, log *slog.Logger) {
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
