package osfs

import (
	"errors"
	stdfs "io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// device is a mounted file system, held open from before the first write, because
// syncfs(2) reports a failed write-back (since Linux 5.8) to every descriptor that
// was open at the time, and only once. Two callers therefore cannot both learn of
// one failure: after the first, sync is unsupported, and callers fall back to a sync
// of each file, which reports to each open file by itself.
type device struct {
	file *os.File

	// mu is held around every syncfs, so that no caller returns between another's
	// failure and the note of it.
	mu     sync.Mutex
	failed bool
}

// sync makes everything on the device durable.
func (d *device) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed {
		return errors.ErrUnsupported
	}
	err := control(d.file, syncfs)
	d.failed = err != nil
	return err
}

// registry holds one descriptor of each device for a tree and all its Subs, of
// which there may be as many as accounts.
type registry struct {
	mu   sync.Mutex
	held map[uint64]*device // by st_dev
}

// hold returns the device with this number, and opens a descriptor if it is new.
func (r *registry) hold(number uint64, open func() (*os.File, error)) (*device, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, ok := r.held[number]; ok {
		return d, nil
	}
	file, err := open()
	if err != nil {
		return nil, err
	}
	d := &device{file: file}
	r.held[number] = d
	return d, nil
}

// devices are those that one tree was seen to lie on: its root's, and those of
// mounts and symbolic links below it once something was written there. syncfs(2)
// speaks for one device only, so SyncAll asks each.
type devices struct {
	registry *registry
	parent   *devices // of the tree this is a Sub of: it lies there too

	mu   sync.Mutex
	seen map[uint64]*device
}

func newDevices() *devices {
	return &devices{registry: &registry{held: map[uint64]*device{}}, seen: map[uint64]*device{}}
}

func (d *devices) sub() *devices {
	return &devices{registry: d.registry, parent: d, seen: map[uint64]*device{}}
}

// noteFolder makes SyncAll cover the device of the folder at path.
func (d *devices) noteFolder(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &stdfs.PathError{Op: "stat", Path: path, Err: err}
	}
	return d.note(uint64(st.Dev), path, syscall.O_DIRECTORY)
}

// noteFile makes SyncAll cover the device of an open file.
func (d *devices) noteFile(file *os.File) error {
	var st unix.Stat_t
	if err := control(file, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return &stdfs.PathError{Op: "fstat", Path: file.Name(), Err: err}
	}
	return d.note(uint64(st.Dev), file.Name(), 0)
}

// note adds a device, of which path is something, here and in the trees above.
func (d *devices) note(number uint64, path string, flag int) error {
	if d.has(number) {
		return nil
	}
	device, err := d.registry.hold(number, func() (*os.File, error) {
		return os.OpenFile(path, os.O_RDONLY|syscall.O_CLOEXEC|flag, 0)
	})
	if err != nil {
		return err
	}
	for ; d != nil; d = d.parent {
		d.mu.Lock()
		d.seen[number] = device
		d.mu.Unlock()
	}
	return nil
}

func (d *devices) has(number uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.seen[number]
	return ok
}

// all returns every device seen.
func (d *devices) all() []*device {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*device, 0, len(d.seen))
	for _, device := range d.seen {
		all = append(all, device)
	}
	return all
}

// sync makes everything on the devices durable. ErrUnsupported says that it may not
// have, and no more.
func (d *devices) sync() error {
	all := d.all()
	for _, device := range all {
		if err := control(device.file, syncable); err != nil {
			return err
		}
	}
	for _, device := range all {
		if err := device.sync(); err != nil {
			return err
		}
	}
	return nil
}
