package pebblex

import (
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// openDirect opens f's file a second time, so that each write passes the system's cache and is durable when it returns (open(2), O_DIRECT
// and O_DSYNC). It returns nil where the file is none of the system's or its file system cannot do so.
func openDirect(f vfs.File) *os.File {
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return nil
	}
	direct, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_WRONLY|unix.O_DIRECT|unix.O_DSYNC, 0)
	if err != nil {
		return nil
	}
	return direct
}
