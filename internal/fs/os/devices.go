package osfs

import (
	"errors"
	stdfs "io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// devices are the file systems that a tree was seen to lie on: the root's, and
// those of mounts and symbolic links below it once something was written there.
// syncfs(2) speaks for one file system only, so SyncAll asks each.
//
// Each is held open from before the first write, because syncfs reports a failed
// write-back (since Linux 5.8) to every descriptor that was open at the time, and
// only once. Two callers therefore cannot both learn of one failure: after the
// first, sync is unsupported, and callers fall back to a sync of each file, which
// reports to each open file by itself.
type devices struct {
	// syncing is held around every syncfs, so that no caller returns between another's
	// failure and the note of it.
	syncing sync.Mutex
	failed  bool // of syncing

	mu   sync.Mutex
	held map[uint64]*os.File // by st_dev
}

func newDevices() *devices { return &devices{held: map[uint64]*os.File{}} }

// holdFolder opens the folder at path and keeps it if its device is new.
func (d *devices) holdFolder(path string) error {
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := control(dir, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return closeAfter(dir, &stdfs.PathError{Op: "fstat", Path: path, Err: err})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.held[uint64(st.Dev)]; ok {
		return dir.Close()
	}
	d.held[uint64(st.Dev)] = dir
	return nil
}

// noteFolder makes SyncAll cover the device of the folder at path.
func (d *devices) noteFolder(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &stdfs.PathError{Op: "stat", Path: path, Err: err}
	}
	if d.knows(uint64(st.Dev)) {
		return nil
	}
	return d.holdFolder(path)
}

// noteFile makes SyncAll cover the device of an open file, found in folder. Where a
// symbolic link led to another device the file itself is kept open for it.
func (d *devices) noteFile(file *os.File, folder string) error {
	var st unix.Stat_t
	if err := control(file, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return &stdfs.PathError{Op: "fstat", Path: file.Name(), Err: err}
	}
	dev := uint64(st.Dev)
	if d.knows(dev) {
		return nil
	}
	if err := d.holdFolder(folder); err != nil {
		return err
	}
	if d.knows(dev) {
		return nil
	}
	again, err := os.OpenFile(file.Name(), os.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.held[dev]; ok {
		return again.Close()
	}
	d.held[dev] = again
	return nil
}

func (d *devices) knows(dev uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.held[dev]
	return ok
}

// sync makes everything on the devices durable, or answers ErrUnsupported before
// it has synced anything.
func (d *devices) sync() error {
	d.syncing.Lock()
	defer d.syncing.Unlock()
	if d.failed {
		return errors.ErrUnsupported
	}
	held := d.all()
	for _, f := range held {
		if err := control(f, syncable); err != nil {
			return err
		}
	}
	for _, f := range held {
		if err := control(f, syncfs); err != nil {
			d.failed = true
			return err
		}
	}
	return nil
}

// all returns the descriptors of every device.
func (d *devices) all() []*os.File {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := make([]*os.File, 0, len(d.held))
	for _, f := range d.held {
		held = append(held, f)
	}
	return held
}
