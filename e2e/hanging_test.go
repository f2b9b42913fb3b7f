package e2e

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// A disk that does not answer, as a server's that is gone, holds up the mailboxes on it and no others; and it
// keeps neither the operator from stopping the server nor a new one from coming up.
func TestAMailboxOnADiskThatDoesNotAnswerDelaysNoOther(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needProgram(t, "fsfreeze")
	s := newServer(t, setup{config: map[string]string{"dispatch.local_parallel": "3", "dispatch.stop_wait": `"1s"`, "process.stop_timeout": `"5s"`}})
	far, near := "far@"+domain, "near@"+domain
	s.addAccount(far)
	password := s.addAccount(near)
	check(t, s.Send("sender@else.example", far, letter("before")))
	s.drain()

	d := newDisk(t, 32)
	home := filepath.Join(s.Data, "mail", domain, "far")
	output(t, "cp", "-a", home+"/.", d.mount)
	output(t, "chown", "--reference", home, d.mount)
	output(t, "chmod", "--reference", home, d.mount)
	output(t, "mount", "--bind", d.mount, home)
	t.Cleanup(func() { exec.Command("umount", "-l", home).Run() })
	thaw := freeze(t, d.mount)

	for range 6 {
		check(t, s.Send("sender@else.example", far, letter("far")))
	}
	eventually(t, "all places are taken", func() bool { return len(s.queue("--to", far, "--state", "running")) >= 3 })
	check(t, s.Send("sender@else.example", near, letter("near")))
	began := time.Now()
	e2etest.Within(t, 90*time.Second, "the other mailbox has its mail", func() bool {
		time.Sleep(500 * time.Millisecond)
		messages, err := s.Read(near, password)
		return err == nil && len(messages) == 1
	})
	t.Logf("the other mailbox had its mail after %v", time.Since(began))
	eventually(t, "the operator is told why mail waits", func() bool { return len(s.queue("--to", far, "--reason", "mailbox-hangs")) > 0 })

	s.Stop()
	s.serve()
	check(t, s.Send("sender@else.example", near, letter("after")))
	thaw()
	eventually(t, "all is delivered", func() bool {
		s.Must("flush")
		time.Sleep(200 * time.Millisecond)
		return s.empty()
	})
	delivered, err := filepath.Glob(filepath.Join(home, "Maildir/new/*"))
	if check(t, err); len(delivered) != 7 {
		t.Errorf("%d messages are in the mailbox, want 7", len(delivered))
	}
}

// freeze has everything that would write to a file system wait until what it returns is called.
func freeze(t *testing.T, mount string) (thaw func()) {
	t.Helper()
	// Whatever becomes of this test, the disk answers again: who waits for it could not even be killed.
	guard := exec.Command("sh", "-c", `sleep 300; exec fsfreeze -u "$1"`, "sh", mount)
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(t, guard.Start())
	thawed := false
	thaw = func() {
		if !thawed {
			thawed = true
			output(t, "fsfreeze", "-u", mount)
			syscall.Kill(-guard.Process.Pid, syscall.SIGKILL)
			guard.Wait()
		}
	}
	t.Cleanup(thaw)
	if out, err := exec.Command("fsfreeze", "-f", mount).CombinedOutput(); err != nil {
		thawed = true
		syscall.Kill(-guard.Process.Pid, syscall.SIGKILL)
		guard.Wait()
		t.Skipf("skipped: no file system can be frozen here: %s", out)
	}
	return thaw
}
