package pebblex

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// System is the operating system's files as Pebble's own vfs.Default gives them, which
// spares the layer of VFS on the hot way. Markers are settled like VFS's: see
// settleMarker there for what a power cut does otherwise.
func System() vfs.FS { return Settled(base()) }

// Settled returns f with markers settled.
func Settled(f vfs.FS) vfs.FS { return settled{f} }

// settled syncs a marker's folder before the marker is made or removed.
type settled struct{ vfs.FS }

// Create implements vfs.FS.
func (s settled) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.settle(name); err != nil {
		return nil, err
	}
	return s.FS.Create(name, c)
}

// Remove implements vfs.FS.
func (s settled) Remove(name string) error {
	if err := s.settle(name); err != nil {
		return err
	}
	return s.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (s settled) Unwrap() vfs.FS { return s.FS }

func (s settled) settle(name string) error {
	if !strings.HasPrefix(s.PathBase(name), "marker.") {
		return nil
	}
	dir, err := s.OpenDir(s.PathDir(name))
	if err != nil {
		return err
	}
	err = dir.Sync()
	if closeErr := dir.Close(); err == nil {
		err = closeErr
	}
	return err
}
