package e2e

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/e2e/e2etest"
)

// machine is a whole host in namespaces of its own: its first process is the distribution's systemd, or
// a shell that runs SysV's rc; what it writes goes to a disk of its own, above the files of the real host,
// which it cannot change. It has its own network, processes and control group, and can lose power.
type machine struct {
	t       testing.TB
	disk    *disk
	systemd bool
	bin     string // the folder that it sees as /usr/local/bin
	group   string // its control group; "" without systemd
	cmd     *exec.Cmd
	pid     int // of its first process
	log     e2etest.Log
}

//go:embed testdata/machine/boot.sh
var bootScript string

// newMachine makes a machine whose files are changed by setUp, a shell script that runs in its root
// before it first boots. It skips where no such thing can be.
//
// more are folders that it sees in /usr/local/bin.
func newMachine(t testing.TB, systemd bool, setUp string, more map[string]string) *machine {
	t.Helper()
	needRoot(t)
	needProgram(t, "unshare", "nsenter", "bash")
	m := &machine{t: t, disk: newDisk(t, 512), systemd: systemd, bin: filepath.Join(newFolder(t), "bin")}
	check(t, os.Mkdir(m.bin, 0o755))
	for name, from := range map[string]string{"postilion": binary(t, ""), "postilion-tools": tools(t)} {
		to := filepath.Join(m.bin, name)
		if os.Link(from, to) != nil {
			output(t, "cp", from, to)
		}
	}
	for name, from := range more {
		output(t, "cp", "-r", from, filepath.Join(m.bin, name))
	}
	check(t, os.WriteFile(filepath.Join(m.bin, "boot"), []byte(bootScript), 0o755), os.WriteFile(filepath.Join(m.bin, "set-up"), []byte(setUp), 0o755))
	if systemd {
		if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
			t.Skip("skipped: systemd is not installed")
		}
		m.newGroup()
	}
	t.Cleanup(m.kill)
	if err := m.tryBoot(); err != nil {
		if strings.Contains(err.Error(), "set-up failed") {
			t.Fatal(err)
		}
		t.Skipf("skipped: no machine can be made of namespaces here: %v", err)
	}
	return m
}

// newGroup makes the control group that systemd rules over.
func (m *machine) newGroup() {
	m.t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		m.group = filepath.Join(root, "postilion-e2e-"+filepath.Base(filepath.Dir(m.bin)))
		if err := os.Mkdir(m.group, 0o755); err != nil {
			m.t.Skipf("skipped: no control group can be made here: %v", err)
		}
		m.t.Cleanup(func() {
			for range 100 { // it is busy until the last process is gone
				exec.Command("find", m.group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
				if _, err := os.Stat(m.group); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			m.t.Errorf("the control group %s is left", m.group)
		})
		return
	}
	m.t.Skip("skipped: there is no second version of control groups here, which systemd needs")
}

// boot starts the machine and waits until it is up.
func (m *machine) boot() {
	m.t.Helper()
	check(m.t, m.tryBoot())
}

func (m *machine) tryBoot() error {
	kind := "sysv"
	if m.systemd {
		kind = "systemd"
	}
	m.cmd = exec.Command("bash", "-c", `[ -z "$1" ] || echo $$ >"$1/cgroup.procs"; shift; exec "$@"`, "bash", m.group,
		"unshare", "--fork", "--kill-child", "--pid", "--mount", "--propagation", "private", "--cgroup", "--ipc", "--uts", "--net",
		filepath.Join(m.bin, "boot"), kind, m.disk.mount, m.bin)
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { m.cmd.Wait(); close(gone) }()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if m.pid = onlyChild(m.cmd.Process.Pid); m.pid != 0 && m.isUp() {
			return nil
		}
		select {
		case <-gone:
			m.pid = 0
			return fmt.Errorf("it ended at once: %s", m.log.Tail())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("it is not up after a minute: %s", m.log.Tail())
		}
	}
}

func onlyChild(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	child, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return child
}

// isUp asks init; what it starts at boot is started then.
func (m *machine) isUp() bool {
	if _, err := os.Stat(m.path("/run/machine")); err != nil { // made when its root is in place
		return false
	}
	if !m.systemd {
		_, err := os.Stat(m.path("/run/booted"))
		return err == nil
	}
	out, _ := m.run("systemctl", "is-system-running")
	return strings.HasPrefix(out, "running") || strings.HasPrefix(out, "degraded")
}

// path is where a file of the machine is seen from outside.
func (m *machine) path(name string) string { return fmt.Sprintf("/proc/%d/root%s", m.pid, name) }

// kill ends every process of the machine at once.
func (m *machine) kill() {
	if m.pid == 0 {
		return
	}
	syscall.Kill(m.pid, syscall.SIGKILL)
	for onlyChild(m.cmd.Process.Pid) != 0 {
		time.Sleep(5 * time.Millisecond)
	}
	m.pid = 0
}

// powerCut turns the machine off: what its disk had not written is gone, and boots it again.
func (m *machine) powerCut() {
	m.t.Helper()
	m.disk.Cut()
	m.kill()
	m.disk.Again()
	m.boot()
}

// run runs a program on the machine and returns what it says.
func (m *machine) run(argv ...string) (string, error) {
	out, err := m.command(argv...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), err
}

func (m *machine) must(argv ...string) string {
	m.t.Helper()
	out, err := m.run(argv...)
	check(m.t, err)
	return out
}

func (m *machine) command(argv ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd", "--"}, argv...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// dial connects to an address on the machine's own network.
func (m *machine) dial(addr string) (conn net.Conn, err error) {
	theirs, err1 := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
	ours, err2 := os.Open("/proc/thread-self/ns/net")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	defer theirs.Close()
	defer ours.Close()
	done := make(chan struct{})
	go func() { // the thread ends with this goroutine, where it cannot come back
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		conn, err = net.DialTimeout("tcp", addr, 5*time.Second)
		if unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return conn, err
}
