//go:build !race

package serve

import (
	"syscall"
	"unsafe"
)

// readNow and writeNow are read(2) and write(2) on a descriptor that does not block. Go's scheduler is not told.
func readNow(fd uintptr, p []byte) (int, syscall.Errno)  { return callNow(syscall.SYS_READ, fd, p) }
func writeNow(fd uintptr, p []byte) (int, syscall.Errno) { return callNow(syscall.SYS_WRITE, fd, p) }

func callNow(call, fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}
