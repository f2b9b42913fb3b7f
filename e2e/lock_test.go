package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A mail reader that keeps its mailbox locked holds up its user's mail, and nobody else's: deliveries that wait for a
// lock take places of that user alone.
func TestALockedMailboxHoldsUpNobodyElsesMail(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := newFolder(t)
	passwd := ""
	for i, name := range []string{"ann", "bob"} {
		home, uid := filepath.Join(dir, name), userUID+1+i
		check(t, os.Mkdir(home, 0o755), os.WriteFile(filepath.Join(home, ".qmail"), []byte("./Mailbox\n"), 0o600), os.WriteFile(filepath.Join(home, "Mailbox"), nil, 0o600))
		for _, path := range []string{"", ".qmail", "Mailbox"} {
			check(t, os.Chown(filepath.Join(home, path), uid, uid))
		}
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, uid, uid, home)
	}
	file := filepath.Join(dir, "passwd")
	check(t, os.WriteFile(file, []byte(passwd), 0o644))
	s := newServer(t, setup{config: map[string]string{
		"route.system_users": "true", "route.locals": fmt.Sprintf("[%q]", userDomain), "route.passwd": strconv.Quote(file),
		"dispatch.local_parallel": "25", "dispatch.user_parallel": "20",
	}})
	locked, err := os.Open(filepath.Join(dir, "ann", "Mailbox"))
	check(t, err)
	defer locked.Close()
	check(t, syscall.Flock(int(locked.Fd()), syscall.LOCK_EX))

	const many = 60
	for range many {
		check(t, s.Send("sender@else.example", "ann@"+userDomain, letter("locked")))
	}
	eventually(t, "as many deliveries wait for the lock as may", func() bool { return len(s.queue("--state", "running")) == 20 })
	messages := func(name string) int {
		p, err := os.ReadFile(filepath.Join(dir, name, "Mailbox"))
		check(t, err)
		return strings.Count("\n"+string(p), "\nFrom ")
	}
	began := time.Now()
	check(t, s.Send("sender@else.example", "bob@"+userDomain, letter("quick")))
	eventually(t, "the other's mail arrives", func() bool { return messages("bob") == 1 })
	if took := time.Since(began); took > 20*time.Second || messages("ann") != 0 { // a lock is waited for for 30 s
		t.Errorf("it took %v; %d messages are in the locked mailbox", took, messages("ann"))
	}
	check(t, syscall.Flock(int(locked.Fd()), syscall.LOCK_UN))
	eventually(t, "the rest arrives once it is unlocked", func() bool {
		s.Must("queue", "retry", "--all", "--yes")
		return messages("ann") == many
	})
	s.drain()
}
