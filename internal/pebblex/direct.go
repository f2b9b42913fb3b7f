package pebblex

import (
	"errors"
	"syscall"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The log is written in whole blocks, from memory that begins at a multiple of a block, which lets the system write past
// its cache: one write to the disk, durable when it returns, in place of a copy, a search for what is to be written, the write and a
// sync. A block that a record fills in part is written again with the next record: what it held stays as it was.

// block is the unit of such writes in bytes: what the blocks of disks and file systems divide.
const block = 4096

// align fills b up with zeros to whole blocks, in memory that can be written from past the cache.
func align(b []byte) []byte {
	size := (len(b) + block - 1) &^ (block - 1)
	if cap(b) < size || address(b)%block != 0 {
		room := make([]byte, 2*size+block)
		start := int(-address(room) & (block - 1))
		b = append(room[start:start:len(room)], b...)
	}
	written := len(b)
	b = b[:size]
	clear(b[written:])
	return b
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// WriteDurable writes p, which align returned, at the start of a block, and returns when it is durable.
func (f *gatedFile) WriteDurable(p []byte, off int64) error {
	return f.g.do(f.name, func() error {
		if f.direct != nil {
			_, err := f.direct.WriteAt(p, off)
			if !errors.Is(err, syscall.EINVAL) {
				return err
			}
			f.direct.Close()
			f.direct = nil // the file system knows of it, but does not do it
		}
		if _, err := f.File.WriteAt(p, off); err != nil {
			return err
		}
		return f.File.SyncData()
	})
}

// CreateDurable makes the file name, of the file old where that is not "", for WriteDurable.
func (g *gate) CreateDurable(old, name string) (*gatedFile, error) {
	var f vfs.File
	var err error
	if old != "" {
		f, err = g.ReuseForWrite(old, name, vfs.WriteCategoryUnspecified)
	} else {
		f, err = g.Create(name, vfs.WriteCategoryUnspecified)
	}
	if err != nil {
		return nil, err
	}
	gated := f.(*gatedFile) // as all files of a gate are
	g.read(func() { gated.direct = openDirect(gated.File) })
	return gated, nil
}

// closeAll closes the file and its second opening.
func (f *gatedFile) closeAll() error {
	var err error
	if f.direct != nil {
		err = f.direct.Close()
	}
	return errors.Join(f.File.Close(), err)
}
