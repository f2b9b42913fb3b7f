package supervisor

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/role"
)

// mayGain are the roles that start programs of the operator's, which may be setuid: smtpd a filter such as simscan, runas
// what .qmail files name (where runas.program_setuid allows it) and unix_chkpwd.
var mayGain = map[role.Role]bool{role.SMTPD: true, role.RunAs: true}

// startRole starts a role's process. What the others start, should somebody break into them, gains no rights by setuid files.
func startRole(cmd *exec.Cmd, r role.Role) error {
	if mayGain[r] {
		return cmd.Start()
	}
	done := make(chan error)
	go func() {
		// The promise is a thread's, kept by what that starts and never taken back: the thread ends with this goroutine.
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			done <- fmt.Errorf("no new privileges: %w", err)
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}
