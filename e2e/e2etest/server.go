package e2etest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is one running program with its data folder.
type Server struct {
	T    testing.TB
	Bin  string   // the program: a path, or a name in PATH
	Data string   // its data folder
	Env  []string // of the server's process, besides the test's
	Wrap []string // a program that runs the server, with its arguments; it becomes the server
	Log  Log      // what the server writes to its standard error

	Addr              map[string]string // of listeners, by name
	Account, Password string            // the first account

	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended
}

// Quickstart sets the server up, waits until it listens, and fills in its account and, where Addr has none, its addresses.
// It returns all that was printed about it.
func (s *Server) Quickstart(domain string, args ...string) (told map[string]any) {
	s.T.Helper()
	out := s.Launch(append([]string{"quickstart", domain, "--json", "--data", s.Data}, args...)...)
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		s.T.Fatalf("quickstart printed no object (%v); its log:\n%s", err, s.Log.Tail())
	}
	go io.Copy(io.Discard, out)
	s.Account, _ = told["account"].(string)
	s.Password, _ = told["password"].(string)
	if s.Addr == nil {
		s.Addr = map[string]string{}
		listeners, _ := told["listeners"].(map[string]any)
		for name, addr := range listeners {
			s.Addr[name], _ = addr.(string)
		}
	}
	return told
}

// Launch starts the process and returns its standard output. The server ends with the test, which fails when its log
// tells of a crash, and then shows the log's end.
func (s *Server) Launch(args ...string) io.Reader {
	s.T.Helper()
	argv := slices.Concat(s.Wrap, []string{s.Bin}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stderr = &s.Log
	out, w, err := os.Pipe()
	Check(s.T, err)
	cmd.Stdout = w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	started, gone := make(chan error), make(chan struct{})
	go func() {
		// The server does not outlive a test run that is killed: it ends with the thread that started it (prctl(2)), which stays for that,
		// and afterwards: it may have started what others wait for.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // how it ended is in the log
			close(gone)
		}
	}()
	err = <-started
	w.Close()
	Check(s.T, err)
	if s.cmd == nil {
		s.T.Cleanup(s.tidy)
	}
	s.cmd, s.gone = cmd, gone
	return out
}

// WaitUp waits for a greeting.
func (s *Server) WaitUp(wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		c, err := DialSMTP(s.Addr["smtp"])
		if err == nil {
			c.Quit()
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

// PID is the process that was started: the supervisor, or all of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Gone is closed when the process has ended.
func (s *Server) Gone() <-chan struct{} { return s.gone }

// Signal sends a signal to the process that was started.
func (s *Server) Signal(sig syscall.Signal) {
	s.T.Helper()
	Check(s.T, s.cmd.Process.Signal(sig))
}

// Stop ends the server as an operator does, where it runs.
func (s *Server) Stop() {
	s.T.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(Patience):
		s.T.Errorf("the server does not stop; its log:\n%s", s.Log.Tail())
		s.Kill()
	}
}

// Kill kills the supervisor and every role, as a crash of the machine would.
func (s *Server) Kill() {
	roles := s.Children()
	s.cmd.Process.Signal(syscall.SIGKILL)
	for _, pid := range roles {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.gone
	for _, pid := range roles {
		for syscall.Kill(pid, 0) == nil && !slices.Contains([]string{"", "Z"}, state(fmt.Sprintf("/proc/%d/stat", pid))) {
			time.Sleep(time.Millisecond)
		}
	}
}

// Children lists the processes of roles.
func (s *Server) Children() (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.PID()))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for w := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(w); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// tidy ends the server with the test, and shows the log of a failed one.
func (s *Server) tidy() {
	if s.T.Failed() {
		s.Kill()
	} else {
		s.Stop()
	}
	for _, bad := range []string{"DATA RACE", "panic: ", "fatal error: "} {
		if _, after, found := strings.Cut(s.Log.String(), bad); found {
			s.T.Errorf("the server's log tells of a %s%.4000s", bad, after)
		}
	}
	if s.T.Failed() {
		s.T.Logf("the server's log ends:\n%s", s.Log.Tail())
	}
}

// Run calls a verb of the program on the server's data folder and returns what it printed. The error holds what the verb
// said on its standard error.
func (s *Server) Run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Bin, append(args, "--data", s.Data)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("postilion %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// Must calls a verb that has to succeed.
func (s *Server) Must(args ...string) string {
	s.T.Helper()
	out, err := s.Run(args...)
	Check(s.T, err)
	return out
}

// Ask calls a verb with --json and reads its answer into v.
func (s *Server) Ask(v any, args ...string) {
	s.T.Helper()
	out := s.Must(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		s.T.Fatalf("postilion %s printed %q: %v", strings.Join(args, " "), out, err)
	}
}

// Status is what the verb of that name tells.
type Status struct {
	PID       int
	Started   time.Time
	Paused    bool
	Notes     []string
	Roles     []Role
	Listeners []struct{ Name, Addr string }
}

// Role is one role of a Status.
type Role struct {
	Name, State string
	PID, UID    int
	Restarts    int
	Facts       map[string]any
}

// Status asks the running server.
func (s *Server) Status() (st Status) {
	s.T.Helper()
	s.Ask(&st, "status")
	return st
}

// Send hands a message in as a stranger does. content has CRLF line ends.
func (s *Server) Send(from, to string, content []byte) error {
	c, err := DialSMTP(s.Addr["smtp"])
	if err != nil {
		return err
	}
	defer c.Quit()
	return c.Mail(from, []string{to}, content)
}

// Submit hands a message in as the server's account.
func (s *Server) Submit(to string, content []byte) error {
	c, err := DialSMTP(s.Addr["submission"])
	if err != nil {
		return err
	}
	defer c.Quit()
	if err := c.Login(s.Account, s.Password); err != nil {
		return err
	}
	return c.Mail(s.Account, []string{to}, content)
}

// Read returns the messages of an account, which stay.
func (s *Server) Read(account, password string) ([][]byte, error) {
	c, err := DialPOP(s.Addr["pop3"], account, password)
	if err != nil {
		return nil, err
	}
	defer c.Quit()
	return c.All()
}
