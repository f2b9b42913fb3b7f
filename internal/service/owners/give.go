package owners

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What lies in the data folder is given to its roles by root, while a process of such a role, or a user's of its group, may still be
// at work in there. The rule here: no name is looked up twice. Each is opened without following links, and what is open is
// looked at, given, and gone into, so that nothing put in its place meanwhile, a link out of the data folder least of
// all, is given away.

// heir is who a tree is given to.
type heir struct {
	uid, gid int
	seen     map[inode]uint64 // names met of each file with several
}

type inode struct{ dev, ino uint64 }

// maxDepth bounds the folders in one another, each of which is held open.
const maxDepth = 100

// tree gives what is at path and below. The folder that path is in is the operator's.
func (h *heir) tree(path string) error {
	above, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &iofs.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(above)
	h.seen = map[inode]uint64{}
	return h.entry(above, path, 0)
}

// entry gives what path is in the open folder dir. What is gone meanwhile is nobody's.
func (h *heir) entry(dir int, path string, depth int) error {
	wrong := func(op string, err error) error { return &iofs.PathError{Op: op, Path: path, Err: err} }
	fd, err := unix.Openat(dir, filepath.Base(path), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) && depth > 0 {
		return nil
	}
	if err != nil {
		return wrong("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return wrong("stat", err)
	}
	if (int(st.Uid) != h.uid || int(st.Gid) != h.gid) && h.hasAllNames(&st) {
		if err := unix.Fchownat(fd, "", h.uid, h.gid, unix.AT_EMPTY_PATH); err != nil {
			return wrong("chown", err)
		}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil
	case depth == maxDepth:
		return wrong("open", fmt.Errorf("more than %d folders in one another", maxDepth))
	}
	return h.content(fd, path, depth+1)
}

// content gives what is in an open folder.
func (h *heir) content(dir int, path string, depth int) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &iofs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			if err := h.entry(fd, path+"/"+name, depth); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// hasAllNames keeps from giving what lies elsewhere too: a file with several names is given at the last of them. Where the
// kernel lets anybody link to others' files (fs.protected_hardlinks=0), one may have been put here.
func (h *heir) hasAllNames(st *unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Nlink <= 1 {
		return true
	}
	i := inode{uint64(st.Dev), st.Ino}
	h.seen[i]++
	return h.seen[i] == uint64(st.Nlink)
}
