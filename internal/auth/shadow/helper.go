package shadow

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// helpers are where unix_chkpwd(8) is: the program by which PAM checks one password, with the system's own
// crypt(3) and so in forms that are not known here, such as yescrypt, $y$.
var helpers = []string{"/usr/sbin/unix_chkpwd", "/sbin/unix_chkpwd", "/usr/bin/unix_chkpwd"}

const helperTime = 10 * time.Second

// ask has the helper check a password; it must be run as root. known is false where there is no helper.
func (p *Passwords) ask(ctx context.Context, user, password string) (right, known bool, err error) {
	for _, path := range p.helpers {
		if _, err := exec.LookPath(path); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, helperTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, user, "nonull")
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin"}
		cmd.Stdin = strings.NewReader(password + "\x00")
		cmd.WaitDelay = time.Second
		err := cmd.Run()
		const wrong = 7 // PAM_AUTH_ERR
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == wrong {
			return false, true, nil
		}
		if err != nil {
			return false, true, fmt.Errorf("%s: %w", path, err)
		}
		return true, true, nil
	}
	return false, false, nil
}
