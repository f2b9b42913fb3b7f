package runas

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A copy of the server that has become the user may be stopped by the user before it is the
// program. A shell's part in parentheses is such a copy: of the same command line, and no program yet.
func TestACopyThatIsStoppedBeforeItIsAProgramIsEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ child, want string }{
		"a copy":    {"(while :; do :; done) &", "137"}, // 128 + SIGKILL
		"a program": {"sleep 1000 &", "143"},            // SIGTERM, by the test
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/bin/sh", "-c", c.child+" wait $!; echo $?")
			var out strings.Builder
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			server := strconv.Itoa(cmd.Process.Pid)
			child := 0
			a := attendant{proc: "/proc/" + server}
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				child = youngest("/proc/" + server + "/task/" + server + "/children")
				if child != 0 && a.isCopy(child) == (name == "a copy") {
					break
				}
			}
			stop := Attend(cmd.Process.Pid)
			if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if name == "a program" {
				for deadline := time.Now().Add(time.Minute); !isStopped(child); time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("a signal stops it not")
					}
				}
				time.Sleep(2 * stuckLook) // it is left alone
				for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGCONT} {
					if err := syscall.Kill(child, s); err != nil {
						t.Fatal(err)
					}
				}
			}
			err := cmd.Wait()
			stop()
			if have := strings.TrimSpace(out.String()); err != nil || have != c.want {
				t.Errorf("have %q, %v", have, err)
			}
		})
	}
}
