package runas

import (
	stdfs "io/fs"
	"path"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// info is a stat(2) as an fs.FileInfo.
type info struct {
	name string
	st   syscall.Stat_t
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.st.Size }
func (i *info) Mode() fs.FileMode  { return modeOf(i.st.Mode) }
func (i *info) ModTime() time.Time { return time.Unix(i.st.Mtim.Unix()) }
func (i *info) IsDir() bool        { return i.Mode().IsDir() }
func (i *info) Sys() any           { return &i.st }

// modeOf translates a mode of stat(2).
func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & syscall.S_IFMT {
	case syscall.S_IFBLK:
		mode |= stdfs.ModeDevice
	case syscall.S_IFCHR:
		mode |= stdfs.ModeDevice | stdfs.ModeCharDevice
	case syscall.S_IFDIR:
		mode |= stdfs.ModeDir
	case syscall.S_IFIFO:
		mode |= stdfs.ModeNamedPipe
	case syscall.S_IFLNK:
		mode |= stdfs.ModeSymlink
	case syscall.S_IFSOCK:
		mode |= stdfs.ModeSocket
	}
	if m&syscall.S_ISGID != 0 {
		mode |= stdfs.ModeSetgid
	}
	if m&syscall.S_ISUID != 0 {
		mode |= stdfs.ModeSetuid
	}
	if m&syscall.S_ISVTX != 0 {
		mode |= stdfs.ModeSticky
	}
	return mode
}

// entry is one name of a folder. Its type is that of the listing where the file system
// tells it there.
type entry struct {
	name string
	kind byte // DT_* of getdents(2)
	dir  string
	of   *files
}

func (e *entry) Name() string { return e.name }
func (e *entry) IsDir() bool  { return e.Type().IsDir() }

func (e *entry) Type() fs.FileMode {
	switch e.kind {
	case syscall.DT_REG:
		return 0
	case syscall.DT_DIR:
		return stdfs.ModeDir
	case syscall.DT_LNK:
		return stdfs.ModeSymlink
	case syscall.DT_FIFO:
		return stdfs.ModeNamedPipe
	case syscall.DT_SOCK:
		return stdfs.ModeSocket
	case syscall.DT_BLK:
		return stdfs.ModeDevice
	case syscall.DT_CHR:
		return stdfs.ModeDevice | stdfs.ModeCharDevice
	}
	info, err := e.Info()
	if err != nil {
		return stdfs.ModeIrregular
	}
	return info.Mode().Type()
}

func (e *entry) Info() (fs.FileInfo, error) { return e.of.Lstat(path.Join(e.dir, e.name)) }

func (e *entry) String() string { return e.name }
