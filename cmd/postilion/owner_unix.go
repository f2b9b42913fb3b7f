//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// fileOwner returns who owns a file.
func fileOwner(info fs.FileInfo) (uid uint32, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}
