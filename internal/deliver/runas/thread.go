package runas

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rights lends users' rights over files to the thread of a goroutine. With root's file system uid
// changed to a user's, the kernel takes the rights over files that root has from the thread (credentials(7),
// capabilities(7)); its real and effective uids stay, so that the user may neither signal nor trace it.
//
// The thread is the goroutine's alone meanwhile. One that could not be given back as it was is
// never used again: its goroutine keeps it and ends, and the runtime destroys it.
type rights struct {
	self   bool // nothing is to be changed: the process is the user
	gid    uint32
	groups []uint32 // the process's own supplementary groups
}

// newRights takes note of what this process has, which is root's or, with self, its user's.
func newRights(self bool) (rights, error) {
	r := rights{self: self, gid: uint32(unix.Getegid())}
	groups, err := unix.Getgroups()
	for _, g := range groups {
		r.groups = append(r.groups, uint32(g))
	}
	return r, err
}

// lend calls f with a user's rights over files. After an error the goroutine must end; called tells
// whether f was.
func (r *rights) lend(uid, gid uint32, f func()) (called bool, err error) {
	if r.self {
		f()
		return true, nil
	}
	runtime.LockOSThread()
	if err := become(uid, gid, nil, len(r.groups) > 0); err != nil {
		return false, err
	}
	f()
	if err := become(0, r.gid, r.groups, len(r.groups) > 0); err != nil {
		return true, err
	}
	runtime.UnlockOSThread()
	return true, nil
}

// As calls f with the rights over files of a uid with its groups, on a thread that ends with it: f asks the system itself what
// that one may do, which knows of more than modes. Only root can be others.
func As(uid, gid int, groups []int, f func() error) error {
	answer := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread is not given back
		list := make([]uint32, len(groups))
		for i, g := range groups {
			list[i] = uint32(g)
		}
		if err := become(uint32(uid), uint32(gid), list, true); err != nil {
			answer <- err
			return
		}
		answer <- f()
	}()
	return <-answer
}

// become gives the calling thread another file system uid and gid, and groups if they are to be set: a
// user's one group is the gid already.
func become(uid, gid uint32, groups []uint32, set bool) error {
	// Raw calls, since those of package syscall change all threads of the process.
	if set {
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); e != 0 {
			return fmt.Errorf("setgroups: %w", e)
		}
	}
	if err := setfs(unix.SYS_SETFSGID, gid); err != nil {
		return fmt.Errorf("setfsgid: %w", err)
	}
	if err := setfs(unix.SYS_SETFSUID, uid); err != nil {
		return fmt.Errorf("setfsuid: %w", err)
	}
	return nil
}

// setfs sets an id and looks whether it took: the calls tell of no failure, only what was
// before (setfsuid(2)).
func setfs(call uintptr, id uint32) error {
	unix.RawSyscall(call, uintptr(id), 0, 0)
	if now, _, _ := unix.RawSyscall(call, ^uintptr(0), 0, 0); uint32(now) != id {
		return unix.EPERM
	}
	return nil
}
