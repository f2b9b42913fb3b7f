package runas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/reason"
)

func TestAProgramIsTheUserAndNothingElse(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		message := filepath.Join(t.TempDir(), "message")
		os.WriteFile(message, []byte("Subject: x\n\nbody\n"), 0o600)
		stdin, err := os.Open(message)
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		script := `read line; echo "$line"; id -u; id -g; id -G; pwd; umask; ls /proc/self/fd | tr '\n' ' '; echo
			echo "$A $HOME"; grep -E 'NoNewPrivs|Cap(Prm|Eff|Inh|Amb)|SigIgn' /proc/self/status | tr '\t\n' '  '; echo
			ps -o pid=,pgid=,sid= -p $$ | awk '{print $1==$2, $1==$3}'; cat /proc/$$/oom_score_adj
			cat /etc/shadow >/dev/null 2>&1 || echo no shadow; echo to stderr >&2; touch made; stat -c %a made`
		r, err := s.Run(context.Background(), u, Command{Args: []string{"/bin/sh", "-c", script},
			Env: []string{"PATH=/usr/bin:/bin", "A=b c", "HOME=" + u.Home}, Stdin: stdin})
		if err != nil {
			t.Fatal(err)
		}
		id := strconv.Itoa(int(u.UID))
		want := strings.Join([]string{"Subject: x", id, id, id, u.Home, "0077", "0 1 2 3 ", "b c " + u.Home,
			"SigIgn: 0000000000000000 CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000 CapAmb: 0000000000000000 NoNewPrivs: 1 ",
			"1 1", "500", "no shadow", "to stderr", "600", ""}, "\n")
		have := strings.ReplaceAll(string(r.Output), "0 1 2 3 4 ", "0 1 2 3 ") // ls opens the folder
		if have != want || r.Exit != 0 || r.Signal != "" || r.Cut || r.TimedOut || r.CPU <= 0 || r.MaxMemory <= 0 {
			t.Errorf("have %s\nwant %s\n%+v", have, want, r)
		}
	})
}

func TestHowAProgramEndsIsTold(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		if r := sh(t, s, u, "echo no; exit 111"); r.Exit != 111 || string(r.Output) != "no\n" {
			t.Errorf("have %+v", r)
		}
		if r := sh(t, s, u, "kill -9 $$"); r.Exit != -1 || r.Signal != "SIGKILL" {
			t.Errorf("have %+v", r)
		}
		if r := sh(t, s, u, "yes | head -1; kill -PIPE $$"); r.Signal != "SIGPIPE" || string(r.Output) != "y\n" {
			t.Errorf("SIGPIPE has its default: have %+v", r)
		}
		ctx := context.Background()
		if _, err := s.Run(ctx, u, Command{Args: []string{"/no/such/program"}}); reason.As(err).Reason != reason.ProgramNotRun.Reason ||
			!strings.Contains(err.Error(), "no such file") {
			t.Errorf("have %v", err)
		}
		if _, err := s.Run(ctx, u, Command{Args: []string{"sh"}}); reason.As(err).Reason != reason.ProgramNotRun.Reason {
			t.Errorf("have %v", err)
		}
		u.Home += "/missing"
		if _, err := s.Run(ctx, u, Command{Args: []string{"/bin/true"}}); err == nil {
			t.Error("a program ran without a home")
		}
	})
}

func TestEndlessOutputIsReadAndDropped(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		r, err := s.Run(context.Background(), newUser(t), Command{Args: []string{"/bin/sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x; exit 3"},
			Env: []string{"PATH=/usr/bin:/bin"}, MaxOutput: 1000})
		if err != nil || r.Exit != 3 || !r.Cut || !bytes.Equal(r.Output, bytes.Repeat([]byte("x"), 1000)) {
			t.Errorf("have %d bytes, %+v, %v", len(r.Output), r, err)
		}
	})
}

func TestAProgramIsEndedWithAllThatItStarted(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		began := time.Now()
		r := Result{}
		for limit := time.Second; !bytes.HasPrefix(r.Output, []byte("on\n")) && limit <= time.Minute; limit *= 4 { // it has to come that far
			r = shFor(t, s, u, limit, `trap 'echo told; exit 0' TERM; sleep 1000 & echo $! >pid; echo on; wait`)
		}
		if !r.TimedOut || string(r.Output) != "on\ntold\n" || time.Since(began) > 10*time.Minute {
			t.Errorf("have %+v after %v", r, time.Since(began))
		}
		p, _ := os.ReadFile(u.Home + "/pid")
		pid, err := strconv.Atoi(strings.TrimSpace(string(p)))
		if err != nil {
			t.Fatal(err)
		}
		if err := gone(pid); err != nil {
			t.Error(err)
		}
	})
}

// gone waits until a process is gone or a zombie of who started it.
func gone(pid int) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(p, []byte(") Z ")) {
			return nil
		}
	}
	return fmt.Errorf("process %d is still there", pid)
}

// TestVector34 is vector 34: a process in the background that keeps stdout open holds the delivery.
func TestVector34ABackgroundProcessHoldsTheDelivery(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		if r := sh(t, s, u, "(sleep 0.4; echo late) & exit 5"); r.Exit != 5 || string(r.Output) != "late\n" {
			t.Errorf("have %+v", r)
		}
		if r := sh(t, s, u, "sleep 100 >/dev/null 2>&1 & echo $!"); r.Exit != 0 || r.TimedOut {
			t.Errorf("have %+v", r)
		} else if pid, err := strconv.Atoi(strings.TrimSpace(string(r.Output))); err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
			t.Errorf("one that keeps nothing open goes on, as with qmail: %v", err)
		}
		// One that left the group cannot hold it for longer than the time limit.
		r := Result{Exit: -1}
		for limit := time.Second; r.Exit != 0 && limit <= time.Minute; limit *= 4 { // it has to come to its end
			r = shFor(t, s, u, limit, "setsid sleep 1000 & echo $!; exit 0")
			if pid, err := strconv.Atoi(strings.TrimSpace(string(r.Output))); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !r.TimedOut || r.Exit != 0 {
			t.Errorf("have %+v", r)
		}
	})
}

func TestLimitsHoldFromTheFirstInstruction(t *testing.T) {
	o := Options{Memory: 64 << 20, Processes: 20, FileSize: 1 << 20, Files: 50, CPU: time.Second, Exceptions: []string{"big memory=200MiB processes=30 files=-1"}}
	each(t, o, func(t *testing.T, s Service) {
		u := newUser(t)
		if r := sh(t, s, u, "ulimit -c; ulimit -t; ulimit -d; ulimit -p; ulimit -f; ulimit -n"); string(r.Output) != "0\n1\n65536\n20\n2048\n50\n" {
			t.Errorf("have %q", r.Output)
		}
		big := u
		big.Name = "big"
		if r := sh(t, s, big, "ulimit -d; ulimit -p"); string(r.Output) != "204800\n30\n" {
			t.Errorf("have %q", r.Output)
		}
		if r := sh(t, s, u, "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"); strings.Contains(string(r.Output), "survived") {
			t.Errorf("it had 200 MB: %+v", r)
		}
		if r := sh(t, s, u, "head -c 5000000 /dev/zero >big; stat -c %s big"); !strings.Contains(string(r.Output), "1048576") {
			t.Errorf("have %+v", r)
		}
		if r := sh(t, s, u, "while :; do :; done"); r.Signal != "SIGXCPU" && r.Signal != "SIGKILL" {
			t.Errorf("have %+v", r)
		}
	})
}

func TestAForkBombStaysWithinItsLimits(t *testing.T) {
	o := Options{Processes: 25, Time: 2 * time.Second}
	each(t, o, func(t *testing.T, s Service) {
		u := newUser(t)
		done := make(chan Result, 1)
		go func() { done <- quiet(s, u, "b() { b | b & }; b; sleep 100") }()
		most := 0
		for {
			select {
			case r := <-done:
				if most > 25 {
					t.Errorf("there were %d processes", most)
				}
				if !r.TimedOut && r.Exit == 0 {
					t.Errorf("have %+v", r)
				}
				if n := processes(u.UID); n > 25 {
					t.Errorf("%d processes are left", n)
				}
				killAll(u.UID)
				return
			case <-time.After(50 * time.Millisecond):
				most = max(most, processes(u.UID))
			}
		}
	})
}

// processes counts a user's processes.
func processes(uid uint32) (n int) {
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range list {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil && st.Uid == uid {
			n++
		}
	}
	return n
}

// killAll ends a test user's processes, who may be making new ones.
func killAll(uid uint32) {
	for range 100 {
		list, _ := filepath.Glob("/proc/[0-9]*")
		left := false
		for _, dir := range list {
			var st unix.Stat_t
			if unix.Stat(dir, &st) == nil && st.Uid == uid {
				pid, _ := strconv.Atoi(filepath.Base(dir))
				left = syscall.Kill(pid, syscall.SIGKILL) == nil || left
			}
		}
		if !left {
			return
		}
	}
}

func TestOnlySoManyRunAtOnce(t *testing.T) {
	o := Options{Programs: 3, ProgramsPerUser: 2}
	each(t, o, func(t *testing.T, s Service) {
		joe, ann := newUser(t), newUser(t)
		log := filepath.Dir(joe.Home) + "/log"
		os.WriteFile(log, nil, 0o600)
		os.Chmod(log, 0o666)
		line := "echo + $(id -u) >>" + log + "; sleep 0.15; echo - $(id -u) >>" + log
		var done []chan Result
		for i := range 8 {
			u := joe
			if i%4 == 3 {
				u = ann
			}
			c := make(chan Result, 1)
			done = append(done, c)
			go func() { c <- quiet(s, u, line) }()
		}
		for _, c := range done {
			<-c
		}
		p, _ := os.ReadFile(log)
		now, mostOf, most := map[string]int{}, 0, 0
		for l := range strings.SplitSeq(strings.TrimSpace(string(p)), "\n") {
			sign, uid, _ := strings.Cut(l, " ")
			if sign == "+" {
				now[uid]++
			} else {
				now[uid]--
			}
			sum := 0
			for _, n := range now {
				mostOf, sum = max(mostOf, n), sum+n
			}
			most = max(most, sum)
		}
		if mostOf > 2 || most > 3 || most < 2 {
			t.Errorf("at once: %d of one user, %d in all", mostOf, most)
		}
	})
}

func TestACallerThatGivesUpEndsItsProgram(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := s.Run(ctx, u, Command{Args: []string{"/bin/sh", "-c", "echo $$ >pid; exec sleep 1000"}, Env: []string{"PATH=/usr/bin:/bin"}})
			done <- err
		}()
		var pid int
		for end := time.Now().Add(time.Minute); pid == 0 && time.Now().Before(end); {
			p, _ := os.ReadFile(u.Home + "/pid")
			pid, _ = strconv.Atoi(strings.TrimSpace(string(p)))
			<-time.After(5 * time.Millisecond)
		}
		cancel()
		if err := <-done; reason.As(err).Reason != reason.AttemptInterrupted.Reason {
			t.Errorf("have %v", err)
		}
		if err := gone(pid); err != nil {
			t.Error(err)
		}
	})
}

func TestWithSetuidAProgramMayGainRights(t *testing.T) {
	each(t, Options{Setuid: true}, func(t *testing.T, s Service) {
		if r := sh(t, s, newUser(t), "grep NoNewPrivs /proc/self/status"); string(r.Output) != "NoNewPrivs:\t0\n" {
			t.Errorf("have %+v", r)
		}
	})
}

func TestAServerThatIsGoneDefers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	o := Options{}
	s, err := NewServer(o, Reserved{})
	if err != nil {
		t.Fatal(err)
	}
	s.Peers = map[uint32]Rights{uint32(os.Geteuid()): {Files: true, Programs: true}}
	c, stop := serve(t, s, o)
	u := newUser(t)
	f := tree(t, c, u)
	if err := f.Mkdir("before", 0o700); err != nil {
		t.Fatal(err)
	}
	stop()
	err1 := f.Mkdir("after", 0o700)
	_, err2 := c.Search(context.Background(), u, Search{})
	_, err3 := c.Run(context.Background(), u, Command{Args: []string{"/bin/true"}})
	for _, err := range []error{err1, err2, err3} {
		if e := reason.As(err); e.Reason != reason.RunasUnavailable.Reason || e.Class != reason.Temporary {
			t.Errorf("have %v", err)
		}
	}
	var p *os.PathError
	if !errors.As(err1, &p) {
		t.Errorf("have %v", err1)
	}
}

func TestPeersGetWhatIsTheirs(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u := newUser(t)
	for name, rights := range map[string]Rights{"nothing": {}, "files": {Files: true}, "programs": {Programs: true}, "passwords": {Passwords: true}} {
		s, err := NewServer(Options{}, Reserved{})
		if err != nil {
			t.Fatal(err)
		}
		s.Peers = map[uint32]Rights{uint32(os.Geteuid()): rights}
		s.Passwords = onePassword{}
		c, stop := serve(t, s, Options{})
		_, err1 := c.Search(context.Background(), u, Search{})
		_, err2 := c.Run(context.Background(), u, Command{Args: []string{"/bin/true"}})
		right, err3 := c.Check(context.Background(), "joe", "secret")
		wrong, err4 := c.Check(context.Background(), "joe", "Secret")
		if (err1 == nil) != rights.Files || (err2 == nil) != rights.Programs || (err3 == nil) != rights.Passwords ||
			(err4 == nil) != rights.Passwords || right != rights.Passwords || wrong {
			t.Errorf("%s: have %v, %v, %v, %v", name, err1, err2, err3, err4)
		}
		stop()
	}
}

// onePassword knows joe's.
type onePassword struct{}

func (onePassword) Check(_ context.Context, user, password string) (bool, error) {
	return user == "joe" && password == "secret", nil
}
