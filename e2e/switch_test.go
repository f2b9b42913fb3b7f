package e2e

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/e2e/e2etest"
)

// The switch from an old mail system and back, on machines that run it for real: Postfix by the
// distribution's unit and init script, and a qmail under svscan beside it, started by systemd or by SysV's rc.

//go:embed testdata/machine/old.sh
var oldSystems string

// A switch may be killed, and the machine may lose power, before any of its steps; then it is finished
// or undone, and each time the one or the other system has the mail.
func TestSwitchOverAndBackUnderSystemd(t *testing.T) {
	t.Parallel()
	needProgram(t, "postfix", "systemctl", "svscan", "tcpserver", "strace")
	switchThereAndBack(t, true)
}

func TestSwitchOverAndBackUnderSysV(t *testing.T) {
	t.Parallel()
	needProgram(t, "postfix", "svscan", "tcpserver", "strace", "start-stop-daemon")
	if _, err := os.Stat("/etc/init.d/rc"); err != nil {
		t.Skip("skipped: sysv-rc is not installed")
	}
	switchThereAndBack(t, false)
}

func switchThereAndBack(t *testing.T, systemd bool) {
	setUp, more := strings.ReplaceAll(oldSystems, "NOTQMAIL_SOURCE", ""), map[string]string{}
	if source := os.Getenv("POSTILION_NOTQMAIL"); source != "" {
		setUp, more["notqmail"] = strings.ReplaceAll(oldSystems, "NOTQMAIL_SOURCE", "/usr/local/bin/notqmail"), source
	}
	h := &oldHost{machine: newMachine(t, systemd, setUp, more)}
	h.served("Postfix", "old qmail")
	t.Cleanup(func() {
		if t.Failed() && h.pid != 0 {
			log, _ := os.ReadFile(h.path("/var/log/postilion.log"))
			t.Logf("the server's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	before := h.files()
	over := []string{"postilion", "switch", "over", "--old-qmail", "/var/qmail", "--yes"}
	back := []string{"postilion", "switch", "back"}
	cuts := h.cuts()

	// Killed anywhere on the way there or back, and finished or undone.
	n := len(cuts)
	if *soak == 1 {
		n = min(n, 4)
	}
	for i := range n {
		at := cuts[i*len(cuts)/n]
		h.killedAt(at, over...)
		if i%2 == 0 {
			h.must(over...)
			h.killedAt(at, back...)
		}
		if i%3 == 0 {
			h.powerCut()
		}
		h.must(back...)
		if diff := cmp.Diff(before, h.files()); diff != "" {
			t.Fatalf("killed at %s: after switching back (-before +after):\n%s", at.name, diff)
		}
	}
	h.served("Postfix", "old qmail")

	// There, with mail; through a loss of power; and back, with mail.
	h.must(over...)
	h.silent()
	h.start()
	h.served("Postilion", "Postilion")
	h.powerCut()
	if !systemd {
		h.start()
	}
	h.served("Postilion", "Postilion")
	// While this server has the ports, the old systems could not start.
	if out, err := h.run(back...); err == nil || !strings.Contains(out, "stop it for good first") {
		t.Errorf("switched back while the server runs: %s", out)
	}
	h.served("Postilion", "Postilion")
	h.end()
	h.must(back...)
	h.served("Postfix", "old qmail")
	if diff := cmp.Diff(before, h.files()); diff != "" {
		t.Errorf("after switching back (-before +after):\n%s", diff)
	}
	h.powerCut()
	h.served("Postfix", "old qmail")
}

// oldHost is a machine with old mail systems on it.
type oldHost struct {
	*machine
	mails int
}

// start starts this server, as the machine starts services.
func (h *oldHost) start() {
	h.t.Helper()
	if h.systemd {
		h.must("systemctl", "enable", "--now", "postilion")
		return
	}
	h.must("sh", "-c", "setsid postilion serve </dev/null >>/var/log/postilion.log 2>&1 &")
}

// end ends it.
func (h *oldHost) end() {
	h.t.Helper()
	if h.systemd {
		h.must("systemctl", "disable", "--now", "postilion")
		return
	}
	h.must("sh", "-c", "read -r pid rest </var/lib/postilion/lock; kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done")
}

// served waits until mail is served at both addresses, by whom the greetings name, and is delivered:
// what comes by SMTP and what the host's own sendmail takes.
func (h *oldHost) served(first, second string) {
	h.t.Helper()
	for addr, want := range map[string]string{"127.0.0.1:25": first, "127.0.0.2:25": second} {
		var c *e2etest.SMTP
		eventually(h.t, want+" at "+addr, func() bool {
			conn, err := h.dial(addr)
			if err != nil {
				return false
			}
			c = &e2etest.SMTP{Wire: e2etest.NewWire(conn)}
			if err := c.Expect(220); err != nil || !strings.Contains(c.Last, want) {
				conn.Close()
				return false
			}
			return true
		})
		if want == "old qmail" && os.Getenv("POSTILION_NOTQMAIL") == "" {
			c.Close() // nothing more is behind it
			continue
		}
		h.mails++
		subject := fmt.Sprintf("mail-%d-to-%s.", h.mails, strings.ReplaceAll(want, " ", "-"))
		check(h.t, c.Cmd(250, "HELO client.example"), c.Cmd(250, "MAIL FROM:<you@far.example>"), c.Cmd(250, "RCPT TO:<joe@mx.example.test>"), c.Cmd(354, "DATA"),
			c.Dotted([]byte("Subject: "+subject+"\r\n\r\nHello.\r\n")), c.Expect(250))
		c.Quit()
		h.arrived(subject, want)
	}
	h.mails++
	subject := fmt.Sprintf("mail-%d-by-sendmail.", h.mails)
	cmd := h.command("/usr/sbin/sendmail", "joe@mx.example.test")
	cmd.Stdin = strings.NewReader("Subject: " + subject + "\n\nHello.\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("sendmail: %v: %s", err, out)
	}
	h.arrived(subject, first)
}

// arrived waits for a message in joe's Maildir, and looks who brought it.
func (h *oldHost) arrived(subject, by string) {
	h.t.Helper()
	var content string
	eventually(h.t, subject+" in the Maildir", func() bool {
		found, _ := filepath.Glob(h.path("/home/joe/Maildir/new/*"))
		for _, path := range found {
			text, _ := os.ReadFile(path)
			if content = string(text); strings.Contains(content, subject) {
				return true
			}
		}
		return false
	})
	if sign := "(Postfix"; strings.Contains(content, sign) != (by == "Postfix") {
		h.t.Errorf("%s was to be brought by %s:\n%s", subject, by, content)
	}
}

// silent waits until nobody serves mail any more: svc does not wait for what it ends.
func (h *oldHost) silent() {
	h.t.Helper()
	for _, addr := range []string{"127.0.0.1:25", "127.0.0.2:25"} {
		eventually(h.t, "nobody serves "+addr, func() bool {
			conn, err := h.dial(addr)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	}
}

// files describes what a switch changes on the machine.
func (h *oldHost) files() (list []string) {
	h.t.Helper()
	for _, top := range []string{"/etc/init.d", "/etc/rc2.d", "/etc/rc5.d", "/etc/systemd/system", "/service", "/var/qmail", "/usr/sbin", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases"} {
		err := filepath.WalkDir(h.path(top), func(path string, d fs.DirEntry, err error) error {
			name := strings.TrimPrefix(path, h.path("/"))
			if err != nil || changes.MatchString(name) {
				return nil
			}
			info, err := os.Lstat(path)
			if err != nil {
				return nil
			}
			what := fmt.Sprint(name, " ", info.Mode(), " ", ownerOf(info))
			if to, err := os.Readlink(path); err == nil {
				what += " -> " + to
			} else if info.Mode().IsRegular() {
				what += fmt.Sprint(" ", info.Size(), " ", info.ModTime().UnixNano())
			}
			list = append(list, what)
			return nil
		})
		check(h.t, err)
	}
	return list
}

// changes are files that running programs change.
var changes = regexp.MustCompile(`/supervise/(status|status\.new|lock|ok|control)$|/supervise$|^var/qmail/queue/`)

// cut is a point where a switch may be killed.
type cut struct {
	name    string
	path    string // before this path is changed; "" for a command
	command string // when this was run
}

// cuts are all points of the plan: the journal's own changes, each step, each command of systemd and svc.
func (h *oldHost) cuts() (list []cut) {
	h.t.Helper()
	var plan struct {
		Steps    []struct{ Path string }
		Commands []struct{ First, Over, Back []string }
	}
	said := h.must("postilion", "switch", "over", "--old-qmail", "/var/qmail", "--dry-run", "--json")
	if err := json.Unmarshal([]byte(said), &plan); err != nil {
		h.t.Fatalf("%v: %s", err, said)
	}
	list = []cut{{name: "the journal", path: "/var/lib/postilion/switch/journal.json"}}
	for _, c := range plan.Commands {
		for _, argv := range [][]string{c.First, c.Over, c.Back} {
			if len(argv) > 0 && !strings.HasPrefix(argv[0], "/") {
				list = append(list, cut{name: strings.Join(argv, " "), command: strings.Join(argv, " ")})
			}
		}
	}
	for _, s := range plan.Steps {
		list = append(list, cut{name: s.Path, path: s.Path})
	}
	if len(list) < 15 {
		h.t.Fatalf("the plan has %d points only: %s", len(list), said)
	}
	return slices.CompactFunc(list, func(a, b cut) bool { return a == b })
}

// killedAt runs a switch and kills it at the given point. A point that it does not come by lets it end.
func (h *oldHost) killedAt(at cut, argv ...string) {
	h.t.Helper()
	const calls = "rename,renameat,renameat2,symlink,symlinkat,mkdir,mkdirat,unlink,unlinkat,rmdir"
	if at.path != "" {
		argv = append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-P", at.path, "-e", "trace=" + calls, "-e", "inject=" + calls + ":signal=KILL"}, argv...)
	} else {
		name, _, _ := strings.Cut(at.command, " ")
		script := "#!/bin/sh\nPATH=/usr/bin:/bin " + name + " \"$@\"\n[ \"" + at.command + "\" != \"" + name + " $*\" ] || kill -9 $PPID\n"
		check(h.t, os.MkdirAll(h.path("/run/killers"), 0o755), os.WriteFile(h.path("/run/killers/"+name), []byte(script), 0o755))
		argv = append([]string{"env", "PATH=/run/killers:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, argv...)
	}
	if out, err := h.run(argv...); err != nil && !strings.Contains(err.Error(), "killed") {
		h.t.Fatalf("killed at %s: %v: %s", at.name, err, out)
	}
	check(h.t, os.RemoveAll(h.path("/run/killers")))
}
