package runas

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// thread is the credentials of one operating system thread that a goroutine has locked. With
// root's file system uid changed to a user's, the kernel takes the rights over files that
// root has from the thread (credentials(7), capabilities(7)); its real and effective
// uids stay, so that the user may neither signal nor trace it.
//
// A thread that was changed is never given back: its goroutine ends without unlocking it, and the
// runtime destroys it.
type thread struct {
	self bool // nothing is to be changed: the process is the user
	uid  uint32
	gid  uint32
	set  bool
}

// become takes on a user's rights. After an error the thread must not be used.
func (t *thread) become(uid, gid uint32) error {
	if t.self || t.set && t.uid == uid && t.gid == gid {
		return nil
	}
	t.set = false
	// Raw calls, since those of package syscall change all threads of the process.
	group := gid
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&group)), 0); e != 0 {
		return fmt.Errorf("setgroups: %w", e)
	}
	if err := setfs(unix.SYS_SETFSGID, gid); err != nil {
		return fmt.Errorf("setfsgid: %w", err)
	}
	if err := setfs(unix.SYS_SETFSUID, uid); err != nil {
		return fmt.Errorf("setfsuid: %w", err)
	}
	t.uid, t.gid, t.set = uid, gid, true
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
