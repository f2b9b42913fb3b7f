package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

func TestSystemdIsToldOfStartLifeAndStop(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		path := filepath.Join(newFolder(t), "notify")
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		check(t, err)
		defer manager.Close()
		o.env = []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=200000"}
		heard := func(want string) {
			t.Helper()
			buf := make([]byte, 1024)
			manager.SetReadDeadline(time.Now().Add(patience))
			for {
				n, err := manager.Read(buf)
				if err != nil {
					t.Fatalf("waiting for %s: %v", want, err)
				}
				state, _, _ := strings.Cut(string(buf[:n]), "\n")
				if state == want {
					return
				}
				if state != "WATCHDOG=1" {
					t.Errorf("heard %s, waiting for %s", state, want)
				}
			}
		}
		s := newServer(t, o)
		heard("READY=1")
		if c, err := dialSMTP(s.Addr["smtp"]); err != nil {
			t.Errorf("ready was told before the server answered: %v", err)
		} else {
			c.Quit()
		}
		heard("WATCHDOG=1")
		heard("WATCHDOG=1")
		s.Must("reload")
		heard("RELOADING=1")
		heard("READY=1")
		// A server that says it stops is killed by systemd after a while, and is not reloaded.
		s.Must("restart")
		heard("RELOADING=1")
		heard("READY=1")
		heard("WATCHDOG=1")
		s.Stop()
		heard("STOPPING=1")
	})
}

func TestAStopWhileTheServerStartsAnewEndsIt(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		busy, err := dialSMTP(s.Addr["smtp"])
		check(t, err)
		defer busy.Close()
		check(t, busy.Envelope("sender@else.example", s.Account)) // its message is waited for
		s.Must("restart")
		eventually(t, "it stops", func() bool { return strings.Contains(s.Log.String(), "stopping, to start anew") })
		s.Signal(syscall.SIGTERM)
		check(t, busy.Dotted(letter("in the middle")), busy.Expect(250))
		select {
		case <-s.Gone():
		case <-time.After(patience):
			t.Error("the server has started anew")
		}
	})
}

// The units of the operation guide, on a machine that systemd rules.
func TestSystemdRunsTheServerAsTheGuideSays(t *testing.T) {
	t.Parallel()
	needProgram(t, "systemctl", "systemd-sysusers")
	m := newMachine(t, true, strings.Join([]string{
		"set -e",
		"mkdir -p /var/lib/postilion /etc/sysusers.d",
		file("/etc/sysusers.d/postilion.conf", guided(t, "g postilion ")),
		"systemd-sysusers",
		file("/var/lib/postilion/postilion.toml", guided(t, "host = ")),
		file("/etc/systemd/system/postilion.service", guided(t, "[Unit]\nDescription=Postilion")),
		file("/etc/systemd/system/postilion-smtp.socket", guided(t, "# postilion-smtp.socket")),
		"systemctl enable postilion.service postilion-smtp.socket",
	}, "\n"), nil)
	unit := func(property string) string {
		return strings.TrimSpace(m.must("systemctl", "show", "--value", "--property", property, "postilion"))
	}
	greeted := func() {
		t.Helper()
		eventually(t, "a greeting on port 25", func() bool {
			c, err := m.dial("127.0.0.1:25")
			if err != nil {
				return false
			}
			defer c.Close()
			line, err := e2etest.NewWire(c).Line()
			return err == nil && strings.HasPrefix(line, "220 mail.example.test ")
		})
	}
	running := func() {
		t.Helper()
		eventually(t, "systemd says that it runs", func() bool { return unit("SubState") == "running" })
		greeted()
	}
	pids := func() string { // of the roles; "" where not all are up
		var list []string
		var st struct{ Roles []struct{ PID int } }
		if out, err := m.run("postilion", "status", "--json"); err != nil || json.Unmarshal([]byte(out), &st) != nil {
			return ""
		}
		for _, r := range st.Roles {
			if r.PID == 0 {
				return ""
			}
			list = append(list, strconv.Itoa(r.PID))
		}
		return strings.Join(list, ",")
	}

	running()
	eventually(t, "all roles are up", func() bool { return pids() != "" })
	main, roles := unit("MainPID"), pids()
	if users := m.must("ps", "-o", "user:40=", "-p", roles); !strings.Contains(users, "postilion-queue\n") {
		t.Errorf("the roles run as\n%s", users)
	}

	m.must("postilion", "restart")
	eventually(t, "other processes have the roles", func() bool {
		now := pids()
		return now != "" && now != roles
	})
	running()
	m.must("systemctl", "reload", "postilion")
	running()
	if unit("MainPID") != main || unit("NRestarts") != "0" {
		t.Error("systemd has started the server anew, which did so itself")
	}

	m.must("kill", "-KILL", main)
	eventually(t, "a new server", func() bool { return unit("NRestarts") == "1" })
	running()

	m.must("postilion", "stop")
	eventually(t, "it is down", func() bool { return unit("ActiveState") == "inactive" })
	greeted() // the socket has it started
	running()
	m.must("systemctl", "stop", "postilion-smtp.socket", "postilion")
	if result := unit("Result"); result != "success" {
		t.Errorf("the stop ended with %s", result)
	}
}

// guided returns the block of the operation guide that begins with start, without its indentation.
func guided(t *testing.T, start string) string {
	t.Helper()
	guide, err := os.ReadFile("../docs/operation.md")
	check(t, err)
	for _, block := range regexp.MustCompile("(?ms)^( *)```[a-z]*\n(.*?)^ *```$").FindAllSubmatch(guide, -1) {
		text := strings.ReplaceAll("\n"+string(block[2]), "\n"+string(block[1]), "\n")[1:]
		if strings.HasPrefix(text, start) {
			return text
		}
	}
	t.Fatalf("the operation guide has no block that begins with %q", start)
	return ""
}

// file is a command of the shell that writes a file.
func file(path, text string) string { return "cat >" + path + " <<'END'\n" + text + "END" }
