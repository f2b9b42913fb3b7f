package pebblex

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A gate stands between one opened Pebble and the disk. At the first write, sync,
// create, rename or remove that fails, it freezes: it tells its owner and never
// returns to Pebble from that call or any later one.
//
// Pebble v2 cannot be handed such an error: a failed commit ends in Fatalf, a log
// that cannot be created panics with a mutex in a state that kills the process,
// a flush that fails is tried again at once, for ever. A frozen Pebble does none of this, and
// its background work can no longer touch files that the next one has opened. Its open
// files are closed, so that the room of removed ones comes free. What it holds in memory is
// not given back before the process ends; the owner backs off between openings, which
// bounds that.
type gate struct {
	vfs.FS
	dirs   []string // only failures below them freeze: a backup's disk may be full
	froze  func(error)
	frozen atomic.Bool
	// flying is held for reading by every operation under way: freeze waits for them.
	flying sync.RWMutex
	buried bool // under flying: reads end too

	mu    sync.Mutex
	files map[*gatedFile]struct{} // the open ones
}

// freeze stops all later operations and returns when none is under way.
func (g *gate) freeze() {
	g.frozen.Store(true)
	pass(&g.flying)
}

// pass waits until whoever holds l has let go.
func pass(l sync.Locker) {
	l.Lock()
	defer l.Unlock()
}

// bury closes all files after a freeze, and removes tables that were being written: they may hold the
// very room that the next opening needs, and no manifest names them yet. Reads park from then on, since Pebble would
// try a compaction again whose read failed: nobody must be reading who is waited for.
func (g *gate) bury() {
	g.flying.Lock()
	defer g.flying.Unlock()
	g.buried = true
	g.mu.Lock()
	defer g.mu.Unlock()
	for f := range g.files {
		f.closeAll()
		if f.output {
			g.FS.Remove(f.name)
		}
	}
	clear(g.files)
}

// read runs an operation that changes nothing.
func (g *gate) read(op func()) {
	g.flying.RLock()
	if g.buried {
		g.flying.RUnlock()
		park()
	}
	defer g.flying.RUnlock()
	op()
}

// do runs an operation that changes the disk.
func (g *gate) do(name string, op func() error) error {
	g.flying.RLock()
	if g.frozen.Load() {
		g.flying.RUnlock()
		park()
	}
	err := op()
	if err == nil || errors.Is(err, os.ErrNotExist) || !g.inside(name) {
		g.flying.RUnlock()
		return err
	}
	g.frozen.Store(true)
	g.flying.RUnlock()
	g.froze(err)
	park()
	return err
}

func (g *gate) inside(name string) bool {
	for _, dir := range g.dirs {
		if dir == "" || dir == "." || name == dir || strings.HasPrefix(name, dir) && os.IsPathSeparator(name[len(dir)]) {
			return true
		}
	}
	return false
}

// park keeps the goroutine for ever. It may hold Pebble's locks: unwinding it is
// worse, see gate.
func park() { select {} }

func (g *gate) open(name string, op func() (vfs.File, error)) (f vfs.File, err error) {
	err = g.do(name, func() (err error) {
		f, err = op()
		f, err = g.opened(f, name, err)
		return err
	})
	return f, err
}

func (g *gate) opened(f vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	gated := &gatedFile{File: f, g: g, name: name}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.files == nil {
		g.files = map[*gatedFile]struct{}{}
	}
	g.files[gated] = struct{}{}
	return gated, nil
}

// Open opens a file for reading.
func (g *gate) Open(name string, opts ...vfs.OpenOption) (f vfs.File, err error) {
	g.read(func() {
		f, err = g.FS.Open(name, opts...)
		f, err = g.opened(f, name, err)
	})
	return f, err
}

func (g *gate) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.open(name, func() (vfs.File, error) { return g.FS.Create(name, c) })
	if gated, ok := f.(*gatedFile); ok {
		g.mu.Lock()
		gated.output = strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
		g.mu.Unlock()
	}
	return f, err
}

func (g *gate) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.open(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, opts...) })
}

func (g *gate) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.open(newname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir opens a folder: its Sync is a change.
func (g *gate) OpenDir(name string) (f vfs.File, err error) {
	g.read(func() {
		f, err = g.FS.OpenDir(name)
		f, err = g.opened(f, name, err)
	})
	return f, err
}

func (g *gate) Link(oldname, newname string) error {
	return g.do(newname, func() error { return g.FS.Link(oldname, newname) })
}

func (g *gate) Remove(name string) error {
	return g.do(name, func() error { return g.FS.Remove(name) })
}

func (g *gate) RemoveAll(name string) error {
	return g.do(name, func() error { return g.FS.RemoveAll(name) })
}

func (g *gate) Rename(oldname, newname string) error {
	return g.do(newname, func() error { return g.FS.Rename(oldname, newname) })
}

func (g *gate) MkdirAll(dir string, perm os.FileMode) error {
	return g.do(dir, func() error { return g.FS.MkdirAll(dir, perm) })
}

// GetDiskUsage tells Pebble only how eagerly to compact: a failure is no reason to stop.
func (g *gate) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := g.FS.GetDiskUsage(path)
	if err != nil {
		return u, vfs.ErrUnsupported
	}
	return u, nil
}

// Lock takes no lock: the owner holds one of its own over all openings.
func (g *gate) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Unwrap returns nil, so that nothing reaches around the gate.
func (g *gate) Unwrap() vfs.FS { return nil }

type noLock struct{}

func (noLock) Close() error { return nil }

// gatedFile is an open file whose changes pass the gate.
type gatedFile struct {
	vfs.File
	g      *gate
	name   string
	output bool     // a table or blob file being written
	buf    []byte   // of an output: written next. Pebble uses an output from one goroutine at a time
	direct *os.File // of a file for WriteDurable: opened to write past the cache; nil elsewhere
}

// outputBuffer is how much of an output is written at once, in bytes: Pebble writes a table
// block by block and a blob file value by value, each with a trailer of its own.
const outputBuffer = 128 << 10

func (f *gatedFile) Write(p []byte) (n int, err error) {
	if !f.output {
		err = f.g.do(f.name, func() (err error) {
			n, err = f.File.Write(p)
			return err
		})
		return n, err
	}
	if len(f.buf)+len(p) > outputBuffer {
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	if f.buf == nil {
		f.buf = make([]byte, 0, outputBuffer)
	}
	f.buf = append(f.buf, p...)
	return len(p), nil
}

// flush writes what is buffered of an output.
func (f *gatedFile) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	err := f.g.do(f.name, func() error {
		_, err := f.File.Write(f.buf)
		return err
	})
	f.buf = f.buf[:0]
	return err
}

func (f *gatedFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.g.do(f.name, func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

// Preallocate is a hint that some file systems do not take: it may fail.
func (f *gatedFile) Preallocate(off, length int64) (err error) {
	f.g.read(func() { err = f.File.Preallocate(off, length) })
	return err
}

// Sync makes the file durable, what is buffered included.
func (f *gatedFile) Sync() error { return f.sync(f.File.Sync) }

// SyncData is Sync without the times.
func (f *gatedFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *gatedFile) sync(op func() error) error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.g.do(f.name, op)
}

func (f *gatedFile) SyncTo(length int64) (full bool, err error) {
	if err := f.flush(); err != nil {
		return false, err
	}
	err = f.g.do(f.name, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *gatedFile) Read(p []byte) (n int, err error) {
	f.g.read(func() { n, err = f.File.Read(p) })
	return n, err
}

func (f *gatedFile) ReadAt(p []byte, off int64) (n int, err error) {
	f.g.read(func() { n, err = f.File.ReadAt(p, off) })
	return n, err
}

func (f *gatedFile) Stat() (info vfs.FileInfo, err error) {
	f.g.read(func() { info, err = f.File.Stat() })
	return info, err
}

func (f *gatedFile) Prefetch(off, length int64) (err error) {
	f.g.read(func() { err = f.File.Prefetch(off, length) })
	return err
}

// Close closes the file, unless bury did. Pebble syncs an output that it keeps before.
func (f *gatedFile) Close() (err error) {
	if err := f.flush(); err != nil {
		return err
	}
	f.g.read(func() {
		f.g.mu.Lock()
		delete(f.g.files, f)
		f.g.mu.Unlock()
		err = f.closeAll()
	})
	return err
}
