package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/e2e/e2etest"
)

// host is a server with one user of the system, who is a number in users/assign and need not be in passwd.
type host struct {
	*server
	home string
	uid  int
}

func newHost(t *testing.T, uid int, more ...string) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it becomes a user of the system")
	}
	top := t.TempDir()
	h := &host{home: filepath.Join(top, "home"), uid: uid}
	users := filepath.Join(top, "users")
	assign := fmt.Sprintf("=tim:tim:%[1]d:%[1]d:%[2]s:::\n+tim-:tim:%[1]d:%[1]d:%[2]s:-::\n=zero:zero:0:0:%[2]s:::\n.\n", uid, h.home)
	check(t, os.Chmod(filepath.Dir(top), 0o755), os.Chmod(top, 0o755), os.Mkdir(h.home, 0o700), os.Chown(h.home, uid, uid),
		os.Mkdir(users, 0o755), os.WriteFile(filepath.Join(users, "assign"), []byte(assign), 0o644))
	h.server = quickstart(t, dataFolder(t), append([]string{"--set", "route.system_users=true", "--set", "route.locals=users.example",
		"--set", "route.users=" + users, "--set", "runas.program_time=10s"}, more...)...)
	h.status()
	return h
}

// write makes one of the user's files.
func (h *host) write(name, content string) {
	h.T.Helper()
	path := filepath.Join(h.home, name)
	check(h.T, os.WriteFile(path, []byte(content), 0o600), os.Chown(path, h.uid, h.uid))
}

func (h *host) read(name string) string {
	p, _ := os.ReadFile(filepath.Join(h.home, name))
	return string(p)
}

// role returns one role's state.
func (h *host) role(name string) (role e2etest.Role) {
	h.T.Helper()
	for _, r := range h.Status().Roles {
		if r.Name == name {
			role = r
		}
	}
	return role
}

func TestUsersOfTheSystemGetTheirMailByTheirFiles(t *testing.T) {
	t.Parallel()
	h := newHost(t, 713001)
	check(t, h.send("you@example.org", "tim@users.example", "by default"))
	eventually(t, "it lies in the Maildir", func() bool {
		list, _ := filepath.Glob(h.home + "/Maildir/new/*")
		if len(list) != 1 {
			return false
		}
		st, err := os.Stat(list[0])
		return err == nil && int(st.Sys().(*syscall.Stat_t).Uid) == h.uid
	})
	h.write(".qmail-prog", "|id -u >who; cat >mail; ls /proc/self/fd | wc -l >files\n")
	check(t, h.send("you@example.org", "tim-prog@users.example", "to a program"))
	eventually(t, "the program has it", func() bool { return h.read("files") != "" })
	if h.read("who") != fmt.Sprintln(h.uid) || !strings.Contains(h.read("mail"), "Subject: to a program") || strings.TrimSpace(h.read("files")) != "4" { // ls opens the folder
		t.Errorf("have %q, %q, %q", h.read("who"), h.read("mail"), h.read("files"))
	}

	// Secrets of others stay theirs, a FIFO holds nobody up, and nobody is served as root.
	check(t, os.Symlink("/etc/shadow", h.home+"/.qmail-shadow"))
	h.send("you@example.org", "tim-shadow@users.example", "x")
	eventually(t, "the link is of no use", func() bool {
		return strings.Contains(h.Log.String(), "Unable to open .qmail-shadow: access denied. (#4.3.0)")
	})
	check(t, syscall.Mkfifo(h.home+"/.qmail-fifo", 0o666))
	h.send("you@example.org", "zero@users.example", "x")
	eventually(t, "root gets nothing", func() bool {
		return strings.Contains(h.Log.String(), "Not allowed to perform deliveries as root.")
	})
	if err := h.send("you@example.org", "tim-fifo@users.example", "x"); err == nil || !strings.Contains(err.Error(), "550") {
		t.Errorf("a FIFO is no file of instructions: %v", err)
	}
}

func TestTheEndOfRunasDefersAndLosesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, 713002)
	h.write(".qmail-slow", "|echo began >>log; sleep 1; cat >>kept\n")
	before := h.role("runas")
	if before.UID != 0 || before.PID == 0 {
		t.Fatalf("have %+v", before)
	}
	check(t, h.send("you@example.org", "tim-slow@users.example", "in the middle"))
	eventually(t, "the program runs", func() bool { return h.read("log") != "" })
	syscall.Kill(before.PID, syscall.SIGKILL)
	eventually(t, "the delivery is deferred", func() bool { return strings.Contains(h.Must("queue", "list"), "does not answer") })
	eventually(t, "runas is up again", func() bool { r := h.role("runas"); return r.PID != before.PID && r.State == "up" })
	h.Must("flush")
	eventually(t, "the message is delivered", func() bool { return strings.Contains(h.read("kept"), "Subject: in the middle") })
	if n := strings.Count(h.read("kept"), "Subject:"); n != 1 {
		t.Errorf("it was delivered %d times", n)
	}
}

func TestSingleRolesAreCommandedByVerbs(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: roles are processes of their own")
	}
	s := quickstart(t, dataFolder(t))
	s.status()
	s.Must("stop", "console")
	eventually(t, "the role is stopped", func() bool { return strings.Contains(s.Must("status"), "stopped") })
	s.Must("reload") // concerns those that run
	s.Must("continue", "console")
	s.status()
	s.Must("pause", "remote")
	eventually(t, "the role is paused", func() bool { return strings.Contains(s.Must("status"), "paused") })
	s.Must("continue", "remote")
	s.status()
}
