package osfs

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

// Adopt makes a file that somebody else opened, or opened for this process, an fs.File that
// goes by name.
func Adopt(file *os.File, name string) fs.File { return &osFile{File: file, name: name} }

// LockFile is FS.Lock on an open file, which it closes when it fails.
func LockFile(file *os.File) (io.Closer, error) { return lockFile(file) }

// Devices are the file systems that files of others were opened on, for a SyncAll that
// covers them all as FS.SyncAll does. The zero value is of no use: see NewDevices.
type Devices struct{ all *devices }

// NewDevices returns none yet.
func NewDevices() *Devices { return &Devices{newDevices()} }

// Has reports whether SyncAll covers the device of this number (stat(2): st_dev).
func (d *Devices) Has(number uint64) bool { return d.all.has(number) }

// Hold makes SyncAll cover a device that is new. open opens a folder or file on it, which stays open. What lies on another
// device is refused with ErrInvalid: a sync of that would promise what it does not keep.
func (d *Devices) Hold(number uint64, open func() (*os.File, error)) error {
	device, err := d.all.registry.hold(number, func() (*os.File, error) {
		file, err := open()
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		err = control(file, func(fd int) error { return unix.Fstat(fd, &st) })
		if err == nil && uint64(st.Dev) != number {
			err = fs.ErrInvalid
		}
		if err != nil {
			return nil, closeAfter(file, err)
		}
		return file, nil
	})
	if err != nil {
		return err
	}
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	d.all.seen[number] = device
	return nil
}

// SyncAll is FS.SyncAll for all devices held.
func (d *Devices) SyncAll() error { return d.all.sync() }

// OnLocalDisk reports whether a file lies on a disk that this host alone has mounted, as far as the system tells: those
// that SyncAll speaks for, and no server's.
func OnLocalDisk(f fs.File) bool {
	file, ok := f.(*osFile)
	return ok && control(file.File, syncable) == nil
}
