package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const domain = "example.test"

// server is one running program with its data folder.
type server struct {
	t        testing.TB
	bin      string
	data     string
	addr     map[string]string // of listeners, by name
	password string            // of account
	account  string
	offset   string // --clock-offset
	env      []string
	wrap     []string // the program that runs the server, with its arguments; it becomes the server
	log      logBuffer

	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended
}

// setup is how a server is made.
type setup struct {
	tag        string            // build tag of the binary
	dir        string            // made if missing; "" is a fresh folder that is removed
	single     bool              // one process, also as root
	forTesting bool              // the clock may be moved
	config     map[string]string // "group.key" to its TOML value, over the tests' own
	env        []string          // of the process, besides the test's
}

// eachLayout runs a test with roles apart, where that can be, and in one process.
func eachLayout(t *testing.T, test func(t *testing.T, o setup)) {
	t.Run("apart", func(t *testing.T) {
		t.Parallel()
		if os.Getuid() != 0 {
			t.Skip("skipped: roles apart need root")
		}
		test(t, setup{})
	})
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		test(t, setup{single: true})
	})
}

// newServer sets a server up by quickstart and waits until it listens.
func newServer(t testing.TB, o setup) *server {
	t.Helper()
	s := &server{t: t, bin: binary(t, o.tag), addr: map[string]string{}, env: o.env}
	if s.data = o.dir; s.data == "" {
		s.data = newFolder(t)
	}
	check(t, os.MkdirAll(s.data, 0o755), s.writeConfig(o))
	args := []string{"quickstart", domain, "--json", "--data", s.data}
	if o.forTesting {
		args = append(args, "--for-testing")
	}
	out := s.launch(args)
	var told struct{ Account, Password string }
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		s.stopNow()
		t.Fatalf("quickstart printed no object (%v); its log:\n%s", err, s.log.String())
	}
	go io.Copy(io.Discard, out)
	s.account, s.password = told.Account, told.Password
	t.Cleanup(s.tidy)
	return s
}

// newFolder is a folder that every uid can pass, for the roles under theirs.
func newFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postilion-e2e-")
	check(t, err, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// writeConfig writes the tests' configuration. Nothing in it reaches beyond loopback, and
// load by other tests turns no mail away.
func (s *server) writeConfig(o setup) error {
	keys := map[string]string{
		"host":                              `"mail.example.test"`,
		"route.default_domain":              strconv.Quote(domain),
		"dns.server":                        strconv.Quote(freeAddr(s.t)), // nobody answers there
		"dns.timeout":                       `"200ms"`,
		"floors.refuse_load":                "-1",
		"process.queue_load":                "-1",
		"queue.log":                         strconv.Itoa(16 << 20), // it comes round, and costs the disk little
		"process.single":                    strconv.FormatBool(o.single),
		"submission.plain_auth_on_loopback": "true",
		"pop3.plaintext_on_loopback":        "true",
	}
	for _, name := range []string{"smtp", "submission", "submissions", "pop3", "pop3s", "metrics"} {
		s.addr[name] = freeAddr(s.t)
		keys[name+".listen"] = fmt.Sprintf("[%q]", s.addr[name])
	}
	for k, v := range o.config {
		keys[k] = v
	}
	return os.WriteFile(filepath.Join(s.data, "postilion.toml"), tomlOf(keys), 0o644)
}

// tomlOf writes keys of the form [group.[group.]]key.
func tomlOf(keys map[string]string) []byte {
	groups := map[string][]string{}
	for k, v := range keys {
		group := k[:max(strings.LastIndexByte(k, '.'), 0)]
		groups[group] = append(groups[group], fmt.Sprintf("%s = %s\n", k[len(group):], v))
	}
	var b bytes.Buffer
	write := func(group string) {
		slices.Sort(groups[group])
		for _, line := range groups[group] {
			b.WriteString(strings.TrimPrefix(line, "."))
		}
	}
	write("")
	for group := range groups {
		if group != "" {
			fmt.Fprintf(&b, "\n[%s]\n", group)
			write(group)
		}
	}
	return b.Bytes()
}

// ports are those that freeAddr gives, block after block. They stay below the ports that systems give to clients, so
// that nobody takes a server's port while it is down; a block is this process's, while others run these tests as well,
// because it listens on the first port of it until it ends. Of a block every second port is given: the next one
// is free too, for a trial.
var ports struct {
	sync.Mutex
	block, next int
	held        []net.Listener
}

func freeAddr(t testing.TB) string {
	t.Helper()
	const first, last, size = 12000, 32000, 100
	listen := func(n int) (string, net.Listener) {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(n))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return "", nil
		}
		return addr, l
	}
	ports.Lock()
	defer ports.Unlock()
	for ports.block < last {
		if ports.next == ports.block+size || ports.next == 0 {
			ports.block = max(ports.block+size, first)
			ports.next = ports.block
			_, l := listen(ports.block)
			if l == nil {
				ports.next = ports.block + size // another's
				continue
			}
			ports.held = append(ports.held, l)
		}
		ports.next += 2
		if ports.next == ports.block+size {
			continue
		}
		if addr, l := listen(ports.next); l != nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// launch starts the process and returns its standard output.
func (s *server) launch(args []string) io.Reader {
	s.t.Helper()
	argv := slices.Concat(s.wrap, []string{s.bin}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stderr = &s.log
	out, w, err := os.Pipe()
	check(s.t, err)
	cmd.Stdout = w
	// The server must not outlive a test run that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	err = cmd.Start()
	w.Close()
	check(s.t, err)
	gone := make(chan struct{})
	s.cmd, s.gone = cmd, gone
	go func() {
		cmd.Wait() // how it ended is in the log
		close(gone)
	}()
	return out
}

// serve starts the server again after a stop, a kill or a cut, and waits for its greeting.
func (s *server) serve() {
	s.t.Helper()
	if err := s.tryServe(patience); err != nil {
		s.t.Fatalf("%v; its log:\n%s", err, s.log.tail())
	}
}

func (s *server) tryServe(wait time.Duration) error {
	args := []string{"serve", "--data", s.data}
	if s.offset != "" {
		args = append(args, "--clock-offset", s.offset)
	}
	go io.Copy(io.Discard, s.launch(args))
	return s.waitUp(wait)
}

// wrapped runs a program where the server runs.
func (s *server) wrapped(argv ...string) (string, error) {
	argv = slices.Concat(s.wrap, argv)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

// waitUp waits for a greeting.
func (s *server) waitUp(wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		c, err := dialSMTP(s.addr["smtp"])
		if err == nil {
			c.quit()
			return nil
		}
		select {
		case <-s.gone:
			return fmt.Errorf("the server ended by itself")
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("no greeting within %v: %w", wait, err)
		}
	}
}

// stop ends the server as an operator does.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(time.Minute):
		s.t.Errorf("the server does not stop; its log:\n%s", s.log.tail())
		s.stopNow()
	}
}

// stopNow kills the supervisor and every role, as a crash of the machine would.
func (s *server) stopNow() {
	roles := s.children()
	s.cmd.Process.Signal(syscall.SIGKILL)
	for _, pid := range roles {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.gone
	for _, pid := range roles {
		for syscall.Kill(pid, 0) == nil && !isZombie(pid) {
			time.Sleep(time.Millisecond)
		}
	}
}

// children lists the processes of roles.
func (s *server) children() (pids []int) {
	pid := s.cmd.Process.Pid
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, w := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(w); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

func isZombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

// tidy ends the server with the test, and shows the log of a failed one.
func (s *server) tidy() {
	select {
	case <-s.gone:
	default:
		if s.t.Failed() {
			s.stopNow()
		} else {
			s.stop()
		}
	}
	for _, bad := range []string{"DATA RACE", "panic: ", "fatal error: "} {
		if _, after, found := strings.Cut(s.log.String(), bad); found {
			s.t.Errorf("the server's log tells of a %s%.4000s", bad, after)
		}
	}
	if s.t.Failed() {
		s.t.Logf("the server's log ends:\n%s", s.log.tail())
	}
}

// run calls a verb of the program on the server's data folder.
func (s *server) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, append(args, "--data", s.data)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("postilion %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

func (s *server) must(args ...string) string {
	s.t.Helper()
	out, err := s.run(args...)
	check(s.t, err)
	return out
}

// ask calls a verb with --json and reads its answer into v.
func (s *server) ask(v any, args ...string) {
	s.t.Helper()
	out := s.must(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		s.t.Fatalf("postilion %s printed %q: %v", strings.Join(args, " "), out, err)
	}
}

// addAccount adds an account and returns its password.
func (s *server) addAccount(address string) string {
	s.t.Helper()
	var added struct{ Password string }
	s.ask(&added, "account", "add", address)
	return added.Password
}

// role is what `status` tells of a role.
type role struct {
	Name, State string
	PID         int
	Restarts    int
	Facts       map[string]any
}

type status struct {
	PID    int
	Paused bool
	Notes  []string
	Roles  []role
}

func (s *server) status() status {
	s.t.Helper()
	var st status
	s.ask(&st, "status")
	return st
}

// queued is what `queue list` tells of a message.
type queued struct {
	ID         string
	From       string
	Held       bool
	Recipients []struct {
		To, State, Reason, Error string
		Attempts                 int
	}
}

func (s *server) queue(filter ...string) []queued {
	s.t.Helper()
	var list []queued
	s.ask(&list, append([]string{"queue", "list", "--limit", "0"}, filter...)...)
	return list
}

// within waits until cond holds, and fails the test after d.
func within(t testing.TB, d time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// drain waits until the queue is empty.
func (s *server) drain(d time.Duration) {
	s.t.Helper()
	within(s.t, d, "the queue is empty", s.empty)
}

// empty reports whether the queue is known to be empty.
func (s *server) empty() bool {
	out, err := s.run("queue", "list", "--limit", "1", "--json")
	return err == nil && strings.TrimSpace(out) == "[]"
}

// logBuffer collects the server's log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// trim forgets all but about the last n bytes.
func (l *logBuffer) trim(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Next(l.b.Len() - min(n, l.b.Len()))
	l.b = *bytes.NewBuffer(bytes.Clone(l.b.Bytes()))
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tail is the end of the log that a failed test shows.
func (l *logBuffer) tail() string {
	const most = 6000
	text := l.String()
	return text[max(0, len(text)-most):]
}

// about returns the lines that name a message's id, which is a word of text.
func (l *logBuffer) about(text string) string {
	var found strings.Builder
	for _, word := range strings.Fields(text) {
		if len(word) < 20 {
			continue
		}
		for line := range strings.Lines(l.String()) {
			if strings.Contains(line, word) {
				found.WriteString(line)
			}
		}
	}
	return found.String()
}
