// Package scale measures what the program promises about size: memory of large messages
// and of many connections, a queue and a mailbox of many messages, and that nobody's load
// takes the machine from the others. Every test runs the real program, with roles apart
// where that can be (as root) and in one process.
//
// The normal run takes a fraction of each size. The full sizes are asked for by
//
//	go test -count=1 -timeout 6h -v ./e2e/scale -full
//
// or by SOAK=1 in the environment, as `make soak` sets it. Memory is checked against
// its bound; times on a shared machine are checked against the promise only in a full run.
package scale

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	fullSize = flag.Bool("full", os.Getenv("SOAK") != "", "measure at the promised sizes; takes minutes and gigabytes")
	churnFor = flag.Duration("churn", 0, "how long mail is accepted and delivered to see whether anything grows; 0 is 2 s, or an hour with -full")
	pace     = flag.Int("pace", 0, "messages a second that the churn sends at most, so that the machine can do other work; 0 is as fast as it goes")
	waiting  = flag.Int("deferred", -1, "messages that wait in the queue while it churns; -1 is 1,000, or a million with -full")
	kept     = flag.String("keep", "", "folder that keeps a queue of deferred messages, which takes minutes to fill, for further runs within some hours")
	onDisk   = flag.String("dir", "", "folder for the servers' data; empty is the system's for temporary files")
)

const domain = "scale.example"

const mib = 1 << 20

// build makes the program once.
var build = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("POSTILION_E2E_BINARY"); given != "" {
		return given, nil
	}
	dir, err := os.MkdirTemp("", "postilion-scale-bin-")
	if err != nil {
		return "", err
	}
	binFolder = dir
	path := filepath.Join(dir, "postilion")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/postilion")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, os.Chmod(dir, 0o755)
})

var binFolder string

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if binFolder != "" {
		os.RemoveAll(binFolder)
	}
	os.Exit(code)
}

// server is one running program.
type server struct {
	t                 testing.TB
	bin, dir          string
	single            bool
	set               []string // keys
	env               []string
	addr              map[string]string // of listeners, by name
	account, password string
	cmd               *exec.Cmd
	log               *os.File
	inbox             string // the folder of the account's new messages, once known
}

// eachLayout runs test with roles apart and in one process.
func eachLayout(t *testing.T, test func(t *testing.T, single bool)) {
	t.Run("apart", func(t *testing.T) {
		beside(t)
		if os.Getuid() != 0 {
			t.Skip("skipped: roles apart need root")
		}
		test(t, false)
	})
	t.Run("single", func(t *testing.T) {
		beside(t)
		test(t, true)
	})
}

// beside lets the tests of a normal run, which measure little, run at the same time.
func beside(t *testing.T) {
	if !*fullSize {
		t.Parallel()
	}
}

// newServer makes a data folder for a server that is not yet started.
func newServer(t testing.TB, single bool, set ...string) *server {
	t.Helper()
	bin, err := build()
	check(t, err)
	dir, err := os.MkdirTemp(*onDisk, "postilion-scale-")
	check(t, err, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, bin: bin, dir: filepath.Join(dir, "data"), single: single}
	for _, name := range []string{"smtp", "submission", "submissions", "pop3", "pop3s", "metrics"} {
		s.set = append(s.set, name+".listen=127.0.0.1:0")
	}
	s.set = append(s.set, "process.single="+strconv.FormatBool(single), "floors.refuse_load=-1", "process.queue_load=-1", "policy.any_sender=true",
		"pop3.plaintext_on_loopback=true", "log.to=file", "queue.log="+strconv.Itoa(full(256<<20, 16<<20))) // in small it comes round soon
	s.set = append(s.set, set...)
	return s
}

// start runs the program and returns once it has said where it listens.
func (s *server) start() *server {
	s.t.Helper()
	args := []string{"quickstart", domain, "--json", "--data", s.dir}
	for _, kv := range s.set {
		args = append(args, "--set", kv)
	}
	var err error
	s.log, err = os.OpenFile(s.dir+".log", os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	check(s.t, err)
	s.cmd = exec.Command(s.bin, args...)
	s.cmd.Stderr = s.log
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := s.cmd.StdoutPipe()
	check(s.t, err, s.cmd.Start())
	s.t.Cleanup(s.stop)
	var told struct {
		Listeners         map[string]string
		Account, Password string
	}
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		s.t.Fatalf("the server said nothing of its listeners (%v); its log:\n%s", err, s.logTail())
	}
	s.addr, s.account, s.password = told.Listeners, told.Account, told.Password
	return s
}

// ready waits for the greeting.
func (s *server) ready() *server {
	s.t.Helper()
	within(s.t, 30*time.Second, "a greeting", func() bool {
		c, err := dialSMTP(s.addr["smtp"])
		if err == nil {
			c.quit()
		}
		return err == nil
	})
	return s
}

func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Wait() // how it ended is in the log
	s.cmd = nil
	if s.t.Failed() {
		s.t.Logf("the server's log ends:\n%s", s.logTail())
	}
	s.log.Close()
}

func (s *server) logTail() string {
	text, _ := os.ReadFile(s.dir + ".log")
	return string(text[max(0, len(text)-4000):])
}

// verb calls one of the program's verbs on the server's folder.
func (s *server) verb(args ...string) (string, error) {
	cmd := exec.Command(s.bin, append(args, "--data", s.dir)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("postilion %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

func (s *server) must(args ...string) string {
	s.t.Helper()
	out, err := s.verb(args...)
	check(s.t, err)
	return out
}

// role is what `status` tells of a role.
type role struct {
	Name  string
	PID   int
	Facts map[string]any
}

// roles asks for the roles by name.
func (s *server) roles() map[string]role {
	s.t.Helper()
	var st struct {
		PID   int
		Roles []role
	}
	check(s.t, json.Unmarshal([]byte(s.must("status", "--json")), &st))
	all := map[string]role{}
	for _, r := range st.Roles {
		if r.PID == 0 {
			r.PID = st.PID
		}
		all[r.Name] = r
	}
	return all
}

// pids returns the server's processes by role; all are "server" in one process.
func (s *server) pids() map[string]int {
	if s.single {
		return map[string]int{"server": s.cmd.Process.Pid}
	}
	pids := map[string]int{"supervisor": s.cmd.Process.Pid}
	for name, r := range s.roles() {
		pids[name] = r.PID
	}
	return pids
}

// pid is the process of one role.
func (s *server) pid(name string) int {
	s.t.Helper()
	if s.single {
		return s.cmd.Process.Pid
	}
	pid := s.pids()[name]
	if pid == 0 {
		s.t.Fatalf("role %s does not run", name)
	}
	return pid
}

// memory reads a field of proc(5)'s status, such as VmRSS or VmHWM, in bytes.
func memory(pid int, field string) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// descriptors counts a process's open files.
func descriptors(pid int) int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list)
}

// cpu is the user and system time of processes so far (proc(5): ticks of 10 ms).
func cpu(pids map[string]int) (total time.Duration) {
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest)
		if len(f) < 13 {
			continue
		}
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		total += time.Duration(user+system) * 10 * time.Millisecond
	}
	return total
}

// inboxes are the files of the first account's new messages.
func (s *server) inboxes() (files []string) {
	filepath.Walk(filepath.Join(s.dir, "mail"), func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && filepath.Base(filepath.Dir(name)) == "new" {
			files = append(files, name)
		}
		return nil
	})
	return files
}

// delivered counts the new messages in the folder that the first of them is in.
func (s *server) delivered() int {
	if s.inbox == "" {
		files := s.inboxes()
		if len(files) == 0 {
			return 0
		}
		s.inbox = filepath.Dir(files[0])
	}
	dir, err := os.Open(s.inbox)
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return len(names)
}

// size adds up the files of a folder.
func size(dir string) (total int64) {
	filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}

// within waits until cond holds, and fails the test after d. It returns how long it took.
func within(t testing.TB, d time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > d {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// full returns the promised size, or the normal run's.
func full[T any](promised, normal T) T {
	if *fullSize {
		return promised
	}
	return normal
}

// bound checks a measured memory against its bound.
func bound(t testing.TB, what string, got, most int64) {
	t.Helper()
	t.Logf("%s: %.1f MiB, at most %.1f MiB are allowed", what, float64(got)/mib, float64(most)/mib)
	if got > most {
		t.Errorf("%s: %.1f MiB, more than %.1f MiB", what, float64(got)/mib, float64(most)/mib)
	}
}

// soon checks a time against the promise; on the machine of a normal run, which others
// use as well, ten times as long is borne.
func soon(t testing.TB, what string, took, most time.Duration) {
	t.Helper()
	t.Logf("%s: %v, promised within %v", what, took.Round(time.Millisecond), most)
	if !*fullSize {
		most *= 10
	}
	if took > most {
		t.Errorf("%s: %v, more than %v", what, took.Round(time.Millisecond), most)
	}
}
