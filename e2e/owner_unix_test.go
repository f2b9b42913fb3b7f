package e2e

import (
	"io/fs"
	"syscall"
)

// ownerOf returns the uid that a file belongs to.
func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
