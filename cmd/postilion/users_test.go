package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/control"
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
	for _, err := range []error{os.Chmod(filepath.Dir(top), 0o755), os.Chmod(top, 0o755), os.Mkdir(h.home, 0o700), os.Chown(h.home, uid, uid),
		os.Mkdir(users, 0o755), os.WriteFile(filepath.Join(users, "assign"), []byte(assign), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.server = quickstart(t, dataFolder(t), append([]string{"--set", "route.system_users=true", "--set", "route.locals=users.example",
		"--set", "route.users=" + users, "--set", "runas.program_time=10s"}, more...)...)
	h.status()
	return h
}

// write makes one of the user's files.
func (h *host) write(name, content string) {
	h.t.Helper()
	path := filepath.Join(h.home, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chown(path, h.uid, h.uid); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) read(name string) string {
	p, _ := os.ReadFile(filepath.Join(h.home, name))
	return string(p)
}

// role returns one role's state.
func (h *host) role(name string) control.Role {
	h.t.Helper()
	var st control.Status
	if err := json.Unmarshal([]byte(h.run("status", "--json")), &st); err != nil {
		h.t.Fatal(err)
	}
	for _, r := range st.Roles {
		if r.Name == name {
			return r
		}
	}
	return control.Role{}
}

func TestUsersOfTheSystemGetTheirMailByTheirFiles(t *testing.T) {
	t.Parallel()
	h := newHost(t, 713001)
	if err := h.send("you@example.org", "tim@users.example", "by default"); err != nil {
		t.Fatal(err)
	}
	h.eventually("it lies in the Maildir", func() bool {
		list, _ := filepath.Glob(h.home + "/Maildir/new/*")
		if len(list) != 1 {
			return false
		}
		st, err := os.Stat(list[0])
		return err == nil && int(st.Sys().(*syscall.Stat_t).Uid) == h.uid
	})
	h.write(".qmail-prog", "|id -u >who; cat >mail; ls /proc/self/fd | wc -l >files\n")
	if err := h.send("you@example.org", "tim-prog@users.example", "to a program"); err != nil {
		t.Fatal(err)
	}
	h.eventually("the program has it", func() bool { return h.read("files") != "" })
	if h.read("who") != fmt.Sprintln(h.uid) || !strings.Contains(h.read("mail"), "Subject: to a program") || strings.TrimSpace(h.read("files")) != "4" { // ls opens the folder
		t.Errorf("have %q, %q, %q", h.read("who"), h.read("mail"), h.read("files"))
	}

	// Secrets of others stay theirs, a FIFO holds nobody up, and nobody is served as root.
	if err := os.Symlink("/etc/shadow", h.home+"/.qmail-shadow"); err != nil {
		t.Fatal(err)
	}
	h.send("you@example.org", "tim-shadow@users.example", "x")
	h.eventually("the link is of no use", func() bool {
		return strings.Contains(h.log.String(), "Unable to open .qmail-shadow: access denied. (#4.3.0)")
	})
	if err := syscall.Mkfifo(h.home+"/.qmail-fifo", 0o666); err != nil {
		t.Fatal(err)
	}
	h.send("you@example.org", "zero@users.example", "x")
	h.eventually("root gets nothing", func() bool {
		return strings.Contains(h.log.String(), "Not allowed to perform deliveries as root.")
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
	if err := h.send("you@example.org", "tim-slow@users.example", "in the middle"); err != nil {
		t.Fatal(err)
	}
	h.eventually("the program runs", func() bool { return h.read("log") != "" })
	syscall.Kill(before.PID, syscall.SIGKILL)
	h.eventually("the delivery is deferred", func() bool { return strings.Contains(h.run("queue", "list"), "does not answer") })
	h.eventually("runas is up again", func() bool { r := h.role("runas"); return r.PID != before.PID && r.State == "up" })
	h.run("flush")
	h.eventually("the message is delivered", func() bool { return strings.Contains(h.read("kept"), "Subject: in the middle") })
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
	s.run("stop", "console")
	s.eventually("the role is stopped", func() bool { return strings.Contains(s.run("status"), "stopped") })
	s.run("reload") // concerns those that run
	s.run("continue", "console")
	s.status()
	s.run("pause", "remote")
	s.eventually("the role is paused", func() bool { return strings.Contains(s.run("status"), "paused") })
	s.run("continue", "remote")
	s.status()
}
