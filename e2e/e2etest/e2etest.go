// Package e2etest runs the program for tests from outside: it builds it, starts a server on a data folder of its own,
// speaks SMTP and POP3 with it and calls its verbs.
//
// It knows nothing of the program's insides. A server that it starts ends with the test, by its own process id, and with
// the test's process when that is killed.
package e2etest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Patience bounds each step of a client or a server, so that one that hangs fails a test. It promises nothing of how
// fast a step is: it is far beyond what a machine with much else to do takes, and below the server's own time-outs.
const Patience = time.Minute

// Check fails the test at once for errors.
func Check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Within waits until cond holds and returns how long that took, to a hundredth. It fails the test after d, saying what did not come about.
func Within(t testing.TB, d time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		took := time.Since(began)
		if took > d {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(min(max(took/100, time.Millisecond), 20*time.Millisecond))
	}
	return time.Since(began)
}

// Eventually waits with Patience for what another process brings about.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	Within(t, Patience, what, cond)
}

// NeedRoot skips a test that mounts, or whose roles have uids of their own.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: needs root")
	}
}

// EachLayout runs a test with roles apart, where that can be, and in one process.
func EachLayout(t *testing.T, test func(t *testing.T, single bool)) {
	t.Run("apart", func(t *testing.T) {
		NeedRoot(t)
		test(t, false)
	})
	t.Run("single", func(t *testing.T) { test(t, true) })
}

// Folder is a new folder in dir ("" is the system's for temporary files), which every uid can pass, for the roles under theirs. It goes with the test.
func Folder(t testing.TB, dir string) string {
	t.Helper()
	dir, err := os.MkdirTemp(dir, "postilion-e2e-")
	Check(t, err, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// BinaryEnv names a binary of the program that was built before, instead of a fresh one.
const BinaryEnv = "POSTILION_E2E_BINARY"

// Binaries are programs of this module, each built once, into a folder that every uid can pass.
type Binaries struct {
	mu   sync.Mutex
	of   map[string]func() (string, error)
	dirs []string
}

// Path returns the program in ./cmd of that name, built with the tag ("" is the one that users get).
func (b *Binaries) Path(t testing.TB, program, tag string) string {
	t.Helper()
	if given := os.Getenv(BinaryEnv); given != "" && program == "postilion" && tag == "" {
		return given
	}
	b.mu.Lock()
	if b.of == nil {
		b.of = map[string]func() (string, error){}
	}
	build := b.of[program+tag]
	if build == nil {
		build = sync.OnceValues(func() (string, error) { return b.build(program, tag) })
		b.of[program+tag] = build
	}
	b.mu.Unlock()
	path, err := build()
	Check(t, err)
	return path
}

func (b *Binaries) build(program, tag string) (string, error) {
	dir, err := os.MkdirTemp("", "postilion-e2e-bin-")
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	b.dirs = append(b.dirs, dir)
	b.mu.Unlock()
	path := filepath.Join(dir, program)
	cmd := exec.Command("go", "build", "-tags", tag, "-o", path, "github.com/postilion/postilion/cmd/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, os.Chmod(dir, 0o755)
}

// Remove removes what was built.
func (b *Binaries) Remove() {
	for _, dir := range b.dirs {
		os.RemoveAll(dir)
	}
}

// Log collects what a process writes, and is read meanwhile.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Trim forgets all but about the last n bytes.
func (l *Log) Trim(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Next(l.b.Len() - min(n, l.b.Len()))
	l.b = *bytes.NewBuffer(bytes.Clone(l.b.Bytes()))
}

// String is all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Tail is the end that a failed test shows.
func (l *Log) Tail() string {
	const most = 6000
	text := l.String()
	return text[max(0, len(text)-most):]
}

// Silent is a host that accepts connections and never says a word. It returns how many it has taken.
func Silent(t testing.TB) (addr string, taken func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Check(t, err)
	var n atomic.Int64
	done := make(chan struct{})
	t.Cleanup(func() { close(done); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			go func() {
				<-done
				c.Close()
			}()
		}
	}()
	return l.Addr().String(), func() int { return int(n.Load()) }
}

// StandStill stops a process by a signal until the test ends. Its threads go on until each has seen that: this waits for them.
func StandStill(t testing.TB, pid int) {
	t.Helper()
	Check(t, syscall.Kill(pid, syscall.SIGSTOP))
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
	Eventually(t, fmt.Sprintf("process %d stands still", pid), func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, file := range threads {
			if state(file) != "T" {
				return false
			}
		}
		return len(threads) > 0
	})
}

// Memory reads a field of proc(5)'s status, such as VmRSS or VmHWM, in bytes; 0 when the process is gone.
func Memory(pid int, field string) (bytes int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "\n"+field+":")
	fmt.Sscan(rest, &bytes)
	return bytes << 10 // it is told in kB, which are KiB
}

// Descriptors counts a process's open files.
func Descriptors(pid int) int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list)
}

// state reads the state of a process or thread from its file stat (proc(5)); "" when there is none.
func state(file string) string {
	line, _ := os.ReadFile(file)
	_, rest, _ := strings.Cut(string(line), ") ")
	return rest[:min(1, len(rest))]
}
