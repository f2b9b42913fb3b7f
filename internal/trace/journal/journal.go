// Package journal keeps events on disk, in one segment file a UTC day.
//
// A segment is a row of frames, each a compressed batch of events with the times it
// spans and a filter of the words in it (see frame.go), so that a search reads only the frames
// that may answer. Frames are written and synced together about once a second. The path of a
// message never waits: when the disk is slower than the events, events are dropped and
// the next frame begins with a gap marker that counts them.
package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/trace"
)

// Options steer a Journal. Zero values mean the defaults.
type Options struct {
	Keep     time.Duration `toml:"keep" default:"2160h" doc:"how long events are kept" example:"720h"`
	Sync     time.Duration `toml:"sync" default:"1s" doc:"longest time until an event is on disk" example:"5s"`
	MaxBytes int64         `toml:"max_bytes" default:"2GiB" unit:"bytes" doc:"disk space for the events of one role; the oldest days go first" example:"10GiB"`
}

func (o Options) withDefaults() Options {
	o.Keep = cmp.Or(o.Keep, 90*24*time.Hour)
	o.Sync = cmp.Or(o.Sync, time.Second)
	o.MaxBytes = cmp.Or(o.MaxBytes, 2<<30)
	return o
}

// maxBuffered bounds the encoded events that wait for the disk, in bytes.
const maxBuffered = 4 << 20

// Journal is a Recorder that writes to a folder.
type Journal struct {
	fs      fs.FS
	options Options
	clock   clock.Clock
	log     *slog.Logger

	mu      sync.Mutex
	pending batch
	lost    int64
	kick    chan struct{}

	// Of the writer alone:
	spare   batch
	day     string
	segment fs.File
	size    int64 // of the segment
	encoder *frameEncoder
}

// New returns a Journal over the folder that is fsys's root. Run writes it.
func New(fsys fs.FS, options Options, c clock.Clock, log *slog.Logger) *Journal {
	return &Journal{fs: fsys, options: options.withDefaults(), clock: c, log: log, kick: make(chan struct{}, 1), encoder: newFrameEncoder()}
}

// Record takes an event in. It never blocks on the disk.
func (j *Journal) Record(e trace.Event) {
	if e.Time.IsZero() {
		e.Time = j.clock.Now()
	}
	j.mu.Lock()
	if len(j.pending.lines) >= maxBuffered {
		j.lost++
		j.mu.Unlock()
		return
	}
	if j.lost > 0 {
		gap := trace.Event{Time: e.Time, Kind: trace.Gap, Count: j.lost}
		j.lost = 0
		j.pending.add(&gap)
	}
	j.pending.add(&e)
	full := len(j.pending.lines) >= maxFrame
	j.mu.Unlock()
	if full {
		select {
		case j.kick <- struct{}{}:
		default:
		}
	}
}

// Run writes events until ctx ends, then what is left, and returns.
func (j *Journal) Run(ctx context.Context) error {
	defer j.closeSegment()
	tick := time.NewTicker(j.options.Sync)
	defer tick.Stop()
	var failed error
	for {
		select {
		case <-ctx.Done():
			return j.flush()
		case <-tick.C:
		case <-j.kick:
		}
		err := j.flush()
		if err != nil && (failed == nil || err.Error() != failed.Error()) {
			j.log.Warn("events cannot be written", "error", err)
		}
		failed = err
	}
}

// flush writes and syncs the pending events. Those of a failed write are lost, and counted.
func (j *Journal) flush() error {
	j.mu.Lock()
	work := j.pending
	j.pending = j.spare
	j.mu.Unlock()
	defer func() {
		work.reset()
		j.spare = work
	}()
	if work.count == 0 {
		return nil
	}
	if err := j.write(&work); err != nil {
		j.mu.Lock()
		j.lost += work.count
		j.mu.Unlock()
		j.closeSegment() // what is in doubt is cut off when it is opened again
		return err
	}
	return nil
}

func (j *Journal) write(b *batch) error {
	if day := j.clock.Now().UTC().Format(dayForm); day != j.day || j.segment == nil {
		if err := j.open(day); err != nil {
			return err
		}
	}
	frame := j.encoder.encode(b)
	if _, err := j.segment.WriteAt(frame, j.size); err != nil {
		return err
	}
	if err := j.segment.SyncData(); err != nil {
		return err
	}
	j.size += int64(len(frame))
	return nil
}

const (
	dayForm   = "2006-01-02"
	extension = ".events"
)

// open switches to a day's segment, cutting off the torn end that a crash left, and
// removes segments that are too old or too many.
func (j *Journal) open(day string) error {
	j.closeSegment()
	name := day + extension
	f, err := j.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	size, err := wholeFrames(f)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = j.fs.SyncDir(".")
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", name, err)
	}
	j.segment, j.size, j.day = f, size, day
	if err := j.expire(); err != nil {
		j.log.Warn("old events cannot be removed", "error", err)
	}
	return nil
}

func (j *Journal) closeSegment() {
	if j.segment != nil {
		j.segment.Close()
		j.segment = nil
	}
}

// expire removes segments past Keep, and the oldest beyond MaxBytes, never today's.
func (j *Journal) expire() error {
	days, err := segments(j.fs)
	if err != nil {
		return err
	}
	oldest := j.clock.Now().UTC().Add(-j.options.Keep).Format(dayForm)
	var total int64
	var errs []error
	for i := len(days) - 1; i >= 0; i-- {
		name := days[i] + extension
		info, err := j.fs.Stat(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		total += info.Size()
		if days[i] != j.day && (days[i] < oldest || total > j.options.MaxBytes) {
			errs = append(errs, j.fs.Remove(name))
		}
	}
	return errors.Join(errs...)
}

// segments returns the days that have a segment, oldest first.
func segments(fsys fs.FS) ([]string, error) {
	list, err := fsys.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var days []string
	for _, d := range list {
		day, ok := strings.CutSuffix(d.Name(), extension)
		if _, err := time.Parse(dayForm, day); ok && err == nil {
			days = append(days, day)
		}
	}
	return days, nil
}
