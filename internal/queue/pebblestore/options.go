// Package pebblestore is the embedded queue: a Pebble database and spool files in
// one folder, for one process.
//
// The folder holds
//
//	log/       what was committed last, with small bodies: a ring of files, see package pebblex
//	db/        Pebble: e/<id> envelope, r/<id><n> recipient with state, b/<id> small body that the log has not any more
//	spool/<n>  larger bodies; recycled, not unlinked
//	reserve.n  room given up when the disk is full, so that mail can still leave
//	lock       held by the process that has the queue open
//	restored   only in a copy made by Backup: see Store.Backup
//
// What Commit and Finish acknowledge has been synced. docs/durability.md names the
// windows in which a crash repeats a delivery.
package pebblestore

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
)

// Options configure a Store. FS must be given, the rest works as zero.
type Options struct {
	// FS is rooted at the queue's folder.
	FS fs.FS
	// VFS and Path, if VFS is given, are where Pebble finds the same folder by itself:
	// pebblex.System() and its path on the running system, which spares a layer on the hot way.
	// Backup's folder is then a path of VFS, else one in FS.
	VFS  vfs.FS
	Path string

	Clock clock.Clock  // nil means the system's
	Log   *slog.Logger // nil means none

	SpoolAbove   int64 `toml:"spool_above" default:"65536" unit:"bytes" doc:"bodies larger than this go to spool files" example:"131072"`
	ReserveBytes int64 `toml:"reserve" default:"67108864" unit:"bytes" min:"-1" doc:"room kept back so that mail can leave when the disk is full; -1 keeps none" example:"134217728"`
	CacheBytes   int64 `toml:"cache" default:"33554432" unit:"bytes" doc:"bodies of new messages kept in memory for their first delivery" example:"134217728"`
	BlockCache   int64 `toml:"block_cache" default:"8388608" unit:"bytes" doc:"cache of the queue's database for messages read back" example:"33554432"`
	MemTable     int64 `toml:"memtable" default:"16777216" unit:"bytes" min:"256KiB" max:"2GiB" doc:"size after which the database writes its memory to disk" example:"4194304"`
	LogBytes     int64 `toml:"log" default:"268435456" unit:"bytes" min:"1048576" doc:"room of the queue's log, in 16 files, and more while old messages fill it: what is delivered soon is written once" example:"67108864"`
	LogFiles     int   `toml:"log_files" default:"12" min:"-1" doc:"files of the log that are written beforehand, so that syncs are cheap from the start; -1 writes none" example:"4"`
	FreeFiles    int   `toml:"free_files" default:"64" doc:"spool files kept for reuse" example:"256"`
	FreeBytes    int64 `toml:"free_bytes" default:"67108864" unit:"bytes" doc:"room that spool files kept for reuse may hold" example:"268435456"`

	// RetryMin and RetryMax bound the back-off between openings after a failure of
	// the disk.
	RetryMin time.Duration `toml:"retry_min" default:"100ms" doc:"shortest wait before the queue is opened again after a failure of the disk" example:"1s"`
	RetryMax time.Duration `toml:"retry_max" default:"30s" doc:"longest wait before the queue is opened again after a failure of the disk" example:"5m"`
}

func (o *Options) defaults() {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.SpoolAbove = cmp.Or(o.SpoolAbove, 64<<10)
	o.ReserveBytes = cmp.Or(o.ReserveBytes, 64<<20)
	o.CacheBytes = cmp.Or(o.CacheBytes, 32<<20)
	o.BlockCache = cmp.Or(o.BlockCache, 8<<20)
	o.MemTable = cmp.Or(o.MemTable, 16<<20)
	o.LogBytes = cmp.Or(o.LogBytes, 256<<20)
	o.LogFiles = cmp.Or(o.LogFiles, 12)
	o.FreeFiles = cmp.Or(o.FreeFiles, 64)
	o.RetryMin = cmp.Or(o.RetryMin, 100*time.Millisecond)
	o.RetryMax = cmp.Or(o.RetryMax, 30*time.Second)
	o.FreeBytes = cmp.Or(o.FreeBytes, 64<<20)
}

// tune sets Pebble up for short-lived rows: most messages are delivered before their memtable is flushed.
// Bodies are separated from the keys, so that compactions move only handles; on a full disk
// they never copy bodies, which would need the room that is missing.
func (s *Store) tune(p *pebble.Options) {
	p.MemTableSize = uint64(s.opts.MemTable)
	p.MemTableStopWritesThreshold = 6
	p.L0CompactionThreshold = 4
	p.L0StopWritesThreshold = 32
	p.MaxOpenFiles = 256
	// What lives for seconds is not worth compressing: it costs more CPU than the write.
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	p.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		v := pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: 512, MaxBlobReferenceDepth: 8,
			RewriteMinimumAge: time.Minute, TargetGarbageRatio: 0.3,
		}
		if s.reserve.gone.Load() {
			v.MaxBlobReferenceDepth, v.TargetGarbageRatio = 1<<20, 1
		}
		return v
	}
	p.Experimental.SpanPolicyFunc = func(start []byte) (pebble.SpanPolicy, []byte, error) {
		if len(start) == 0 || start[0] <= bodyPrefix {
			return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, []byte{bodyPrefix + 1}, nil
		}
		// Envelopes and states stay with their keys: the scan at start reads them all.
		return pebble.SpanPolicy{ValueStoragePolicy: pebble.ValueStorageLowReadLatency}, nil, nil
	}
}
