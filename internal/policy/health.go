package policy

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/reason"
)

// FloorOptions say when intake pauses. Mail goes out and is read all the same, and intake
// resumes by itself.
type FloorOptions struct {
	RefuseLoad int   `toml:"refuse_load" default:"12" unit:"load average a processor" min:"-1" doc:"1-minute load a processor above which connections get a temporary answer (sendmail's RefuseLA); -1 is no limit" example:"8"`
	FreeBytes  int64 `toml:"free_bytes" default:"64MiB" unit:"bytes" min:"-1" doc:"free space of the queue's file system below which messages get a temporary answer; -1 is no limit" example:"\"1GiB\""`
	FreeInodes int   `toml:"free_inodes" default:"1000" min:"-1" doc:"free inodes below which messages get a temporary answer; -1 is no limit" example:"10000"`
}

// Floors watches load and disk. What it found is good for a second, so that asking costs nothing
// for each message. Its functions come from outside; a nil one is not asked. It is safe for
// concurrent use.
type Floors struct {
	Options FloorOptions
	// LoadAverage returns the 1-minute load average divided by the number of processors.
	LoadAverage func() (float64, error)
	// Space tells the room on the queue's file system.
	Space func() (fs.Space, error)

	load, space cached
}

// cached is an answer with its age.
type cached struct {
	mu  sync.Mutex
	at  time.Time
	err *reason.Error
}

func (c *cached) get(ask func() *reason.Error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.at.IsZero() || now.Sub(c.at) >= time.Second {
		c.err, c.at = ask(), now
	}
	if c.err == nil {
		return nil
	}
	return c.err
}

// Busy returns reason.LoadTooHigh above the load, and nil else, also when it is not known.
func (f *Floors) Busy() error {
	if f.LoadAverage == nil || f.Options.RefuseLoad < 0 {
		return nil
	}
	return f.load.get(func() *reason.Error {
		most := float64(cmp.Or(int64(f.Options.RefuseLoad), 12))
		if l, err := f.LoadAverage(); err == nil && l > most {
			return reason.LoadTooHigh.Because(fmt.Errorf("load average %.1f a processor, refuse_load %.0f", l, most))
		}
		return nil
	})
}

// Full returns reason.DiskFull below the floors of space or inodes. It is nil where the space is not known.
func (f *Floors) Full() error {
	if f.Space == nil {
		return nil
	}
	return f.space.get(func() *reason.Error {
		s, err := f.Space()
		bytes, inodes := cmp.Or(f.Options.FreeBytes, 64<<20), cmp.Or(int64(f.Options.FreeInodes), 1000)
		switch {
		case err != nil:
			return nil // the write will tell
		case bytes > 0 && s.FreeBytes < uint64(bytes):
			return reason.DiskFull.Because(fmt.Errorf("%d bytes are free, free_bytes %d", s.FreeBytes, bytes))
		case inodes > 0 && s.TotalInodes > 0 && s.FreeInodes < uint64(inodes):
			return reason.DiskFull.Because(fmt.Errorf("%d inodes are free, free_inodes %d", s.FreeInodes, inodes))
		}
		return nil
	})
}
