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
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
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

// patience bounds what the whole server does: with full sizes that takes longer than a step of it.
const patience = 2 * e2etest.Patience

var (
	check    = e2etest.Check
	within   = e2etest.Within
	dialSMTP = e2etest.DialSMTP
	memory   = e2etest.Memory
)

var binaries e2etest.Binaries

func TestMain(m *testing.M) {
	code := m.Run()
	binaries.Remove()
	os.Exit(code)
}

// server is one running program.
type server struct {
	e2etest.Server
	single bool
	set    []string // keys
	inbox  string   // the folder of the account's new messages, once known
}

// eachLayout runs test with roles apart and in one process.
func eachLayout(t *testing.T, test func(t *testing.T, single bool)) {
	e2etest.EachLayout(t, func(t *testing.T, single bool) {
		beside(t)
		test(t, single)
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
	s := &server{single: single, Server: e2etest.Server{
		T: t, Bin: binaries.Path(t, "postilion", ""), Data: filepath.Join(e2etest.Folder(t, *onDisk), "data"),
	}}
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
	s.T.Helper()
	var args []string
	for _, kv := range s.set {
		args = append(args, "--set", kv)
	}
	s.Addr = nil
	s.Quickstart(domain, args...)
	return s
}

// ready waits for the greeting.
func (s *server) ready() *server {
	s.T.Helper()
	check(s.T, s.WaitUp(e2etest.Patience))
	return s
}

// roles asks for the roles by name.
func (s *server) roles() map[string]e2etest.Role {
	s.T.Helper()
	st, all := s.Status(), map[string]e2etest.Role{}
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
		return map[string]int{"server": s.PID()}
	}
	pids := map[string]int{"supervisor": s.PID()}
	for name, r := range s.roles() {
		pids[name] = r.PID
	}
	return pids
}

// pid is the process of one role.
func (s *server) pid(name string) int {
	s.T.Helper()
	if s.single {
		return s.PID()
	}
	pid := s.pids()[name]
	if pid == 0 {
		s.T.Fatalf("role %s does not run", name)
	}
	return pid
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
	filepath.Walk(filepath.Join(s.Data, "mail"), func(name string, info os.FileInfo, err error) error {
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
