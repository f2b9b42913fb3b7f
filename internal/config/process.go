package config

import (
	"errors"
	"fmt"
)

// Limits below which roles do not start: measured, with some room.
const (
	leastFiles  = 64      // descriptors
	leastMemory = 2 << 30 // bytes of address space, most of which a Go program and SQLite only reserve
)

// check refuses limits with which the server would only say that it serves.
func (p Process) check() error {
	var errs []error
	if p.MaxFiles != 0 && p.MaxFiles < leastFiles {
		errs = append(errs, fmt.Errorf("max_files: %d: want %d or more, without which roles do not start, or 0 for the system's hard limit", p.MaxFiles, leastFiles))
	}
	if p.MaxMemory != 0 && p.MaxMemory < leastMemory {
		errs = append(errs, fmt.Errorf("max_memory: %s: want 2GiB or more: it is address space, of which a role takes that much without using it; memory_limit bounds what it uses", FormatSize(p.MaxMemory)))
	}
	return errors.Join(errs...)
}
