package pebblex_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postilion/postilion/internal/pebblex"
)

// watched notes each marker that is made or removed while names of its folder are not
// durable yet. It lies below the vfs under test.
type watched struct {
	vfs.FS
	mu      sync.Mutex
	dirty   map[string]bool // folders with names that are not synced
	markers int
	early   []string
}

func (w *watched) changed(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	dir, base := filepath.Split(name)
	dir = filepath.Clean(dir)
	if strings.HasPrefix(base, "marker.") {
		w.markers++
		if w.dirty[dir] {
			w.early = append(w.early, base)
		}
	}
	w.dirty[dir] = true
}

func (w *watched) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	w.changed(name)
	return w.FS.Create(name, c)
}

// Remove notes a marker's only: Pebble removes old files at any time, on a goroutine of its own.
func (w *watched) Remove(name string) error {
	if strings.HasPrefix(filepath.Base(name), "marker.") {
		w.changed(name)
	}
	return w.FS.Remove(name)
}

func (w *watched) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	return &watchedDir{f, w, filepath.Clean(name)}, err
}

type watchedDir struct {
	vfs.File
	w    *watched
	name string
}

func (d *watchedDir) Sync() error {
	d.w.mu.Lock()
	d.w.dirty[d.name] = false
	d.w.mu.Unlock()
	return d.File.Sync()
}

// markersOf runs a store that begins a new manifest again and again.
func markersOf(t *testing.T, wrap func(vfs.FS) vfs.FS) *watched {
	w := &watched{FS: vfs.Default, dirty: map[string]bool{}}
	db, err := pebble.Open(filepath.Join(t.TempDir(), "db"), &pebble.Options{
		FS: wrap(w), Logger: quiet{t}, MaxManifestFileSize: 1, FormatMajorVersion: pebble.FormatNewest,
	})
	check(t, err)
	for i := range 10 {
		check(t, db.Set(fmt.Append(nil, i), nil, pebble.Sync), db.Flush())
	}
	check(t, db.Close())
	return w
}

func TestMarkersMoveOnlyOverDurableNames(t *testing.T) {
	t.Parallel()
	w := markersOf(t, pebblex.Settled)
	if w.markers < 20 || len(w.early) > 0 {
		t.Errorf("of %d markers %d moved before the names they rely on were durable: %q", w.markers, len(w.early), w.early)
	}
	if w := markersOf(t, func(f vfs.FS) vfs.FS { return f }); len(w.early) == 0 {
		t.Errorf("Pebble alone settles its %d markers: the wrapper is not needed any more", w.markers)
	}
}
