// Package unixaddr makes paths of Unix sockets fit into their addresses, which hold less than a path may have (unix(7)).
// Small programs that start in milliseconds use it too: it imports little.
package unixaddr

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Most is how many bytes of a path an address holds.
const Most = 107

// oPath is O_PATH of open(2), which package syscall lacks: a folder so opened need not be readable. That of the server's sockets
// is so for root alone.
const oPath = 0x200000

// Fit calls use with a name of path that fits: path itself, or where that is too long one through its folder's descriptor,
// which is good until use returns.
func Fit(path string, use func(short string) error) error {
	if len(path) <= Most {
		return use(path)
	}
	dir, err := os.OpenFile(filepath.Dir(path), oPath|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return use("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path))
}
