package osfs

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

// syncable tells whether syncfs(2) on the descriptor keeps SyncAll's promise: it
// waits until the disk has everything, and reports a write-back that failed. That
// is known of the file systems named here. NFS, SMB and FUSE leave data with the
// server; overlayfs keeps the errors of the layer below it to itself.
func syncable(fd int) error {
	if !reportsErrors() {
		return errors.ErrUnsupported
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC,
		unix.F2FS_SUPER_MAGIC, unix.BCACHEFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return nil
	}
	return errors.ErrUnsupported
}

// Reserve implements fs.File. btrfs writes elsewhere even what makes a file shorter, and a quota that a write
// has met forbids that too (EDQUOT).
func (f *osFile) Reserve(at, size int64) error {
	err := control(f.File, func(fd int) error {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil || uint32(st.Type) != unix.BTRFS_SUPER_MAGIC {
			return nil
		}
		return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, at, size)
	})
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINTR) {
		return nil
	}
	return &os.PathError{Op: "fallocate", Path: f.File.Name(), Err: err}
}

// reportsErrors tells whether syncfs(2) reports failed write-backs: Linux 5.8 and
// later, see its man page.
func reportsErrors() bool {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return false
	}
	return releaseAtLeast(unix.ByteSliceToString(uts.Release[:]), 5, 8)
}

// releaseAtLeast compares the first two numbers of a kernel release, "6.1.0-25-amd64".
func releaseAtLeast(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	gotMajor, err := strconv.Atoi(first)
	if err != nil {
		return false
	}
	gotMinor, err := strconv.Atoi(second)
	if err != nil {
		return false
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

func syncfs(fd int) error { return unix.Syncfs(fd) }

// rename is os.Rename with one system call instead of two where the new name is free,
// as it is for every message delivered: package os looks first whether it is a folder's.
func rename(from, to string) error {
	if unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE) == nil {
		return nil
	}
	return os.Rename(from, to)
}

// SyncData implements fs.File.
func (f *osFile) SyncData() error {
	if err := control(f.File, unix.Fdatasync); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.File.Name(), Err: err}
	}
	return nil
}

func space(path string) (fs.Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fs.Space{}, err
	}
	unit := uint64(st.Frsize) // statvfs(3): blocks are counted in fragments
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return fs.Space{
		TotalBytes: st.Blocks * unit, FreeBytes: st.Bavail * unit,
		TotalInodes: st.Files, FreeInodes: st.Ffree,
	}, nil
}
