package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/postilion/postilion/e2e/e2etest"
	"github.com/postilion/postilion/internal/control"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"postilion": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

func TestQuickstartTakesMailKeepsItAndLetsItBeRead(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t), "--set", "process.single=true")
	if s.Account != "hello@example.test" || len(s.Password) < 20 {
		t.Fatalf("have %s, %s", s.Account, s.Password)
	}
	check(t, s.send("you@example.org", s.Account, "first"))
	s.arrives("first")
	if err := s.send("you@example.org", "nobody@example.test", "x"); err == nil || !strings.Contains(err.Error(), "550") {
		t.Errorf("an unknown recipient: %v", err)
	}
	if err := s.send("you@example.org", "joe@elsewhere.example", "x"); err == nil {
		t.Error("the server relays for strangers")
	}
	again := exec.Command("postilion", "quickstart", "example.test", "--data", s.Data)
	if p, err := again.CombinedOutput(); err == nil || !strings.Contains(string(p), "running") {
		t.Errorf("a second server on the folder: %v\n%s", err, p)
	}
	s.Must("stop")
	<-s.Gone()
	second := quickstart(t, s.Data, "--set", "process.single=true")
	if second.Password != s.Password {
		t.Errorf("the password is %q at the second start", second.Password)
	}
	second.arrives("first")
}

// A verb that found no server works on the folder itself. One that comes up meanwhile, as after a restart, is not kept down.
func TestAServerThatStartsWaitsForAVerbOnItsFolder(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true")
	s.Must("stop")
	<-s.Gone()
	lock, err := control.Lock(data)
	check(t, err)
	time.AfterFunc(time.Second, func() { lock.Close() })
	quickstart(t, data, "--set", "process.single=true").status()
}

func TestWhatWasAcknowledgedOutlivesKill(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	var want []string
	for round := range 3 {
		s := quickstart(t, data, "--set", "process.single=true")
		for i := range 10 {
			subject := fmt.Sprintf("%d-%d", round, i)
			check(t, s.send("you@example.org", s.Account, subject))
			want = append(want, subject)
		}
		s.Kill()
	}
	s := quickstart(t, data, "--set", "process.single=true")
	for _, subject := range want {
		s.arrives(subject)
	}
}

func TestRolesApart(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: roles get uids of their own")
	}
	k := e2etest.NewSink(t)
	s := quickstart(t, dataFolder(t), "--set", "route.next_hop="+k.Addr)
	st := s.status()
	uids := map[int]string{}
	for _, r := range st.Roles {
		if r.UID == 0 || uids[r.UID] != "" {
			t.Errorf("role %s runs as uid %d, as does %s", r.Name, r.UID, uids[r.UID])
		}
		uids[r.UID] = r.Name
		// The filters that smtpd starts may be setuid.
		kept, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID))
		if want := r.Name != "smtpd"; err != nil || strings.Contains(string(kept), "NoNewPrivs:\t1") != want {
			t.Errorf("role %s may gain rights by setuid files: %v, want %v; %v", r.Name, want, !want, err)
		}
	}
	check(t, s.send("you@example.org", s.Account, "apart"))
	s.arrives("apart")
	check(t, s.submit("joe@elsewhere.example"))
	eventually(t, "the message goes to the next hop", func() bool { return len(k.All()) == 1 })

	// Each role is killed once; the others go on and the dead one comes back.
	for _, r := range st.Roles {
		syscall.Kill(r.PID, syscall.SIGKILL)
		eventually(t, "role "+r.Name+" is up again", func() bool {
			for _, now := range s.status().Roles {
				if now.Name == r.Name {
					return now.PID != r.PID && now.Restarts == 1
				}
			}
			return false
		})
		subject := fmt.Sprintf("after the end of %s", r.Name)
		eventually(t, "mail is taken", func() bool { return s.send("you@example.org", s.Account, subject) == nil })
		s.arrives(subject)
	}
	s.Must("restart", "smtpd")
	s.status()

	// A changed file comes into force in every role.
	path := filepath.Join(s.Data, "postilion.toml")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	fmt.Fprint(file, "\n[policy]\nbad_senders = [\"bad@example.org\"]\n")
	file.Close()
	if got := s.Must("reload"); !strings.Contains(got, "policy.bad_senders is in force") {
		t.Errorf("reload: %s", got)
	}
	if err := s.send("bad@example.org", s.Account, "x"); err == nil {
		t.Error("the changed policy is not in force")
	}
	if got := s.Must("selftest"); strings.Contains(got, "FAILED") {
		t.Error(got)
	}
}

func TestOperatorsHoldMailBackAndLetItGo(t *testing.T) {
	t.Parallel()
	k := e2etest.NewSink(t)
	var refusing atomic.Bool
	refusing.Store(true)
	k.Rcpt = func(string) error {
		if refusing.Load() {
			return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "not now"}
		}
		return nil
	}
	s := quickstart(t, dataFolder(t), "--set", "process.single=true", "--set", "route.next_hop="+k.Addr)
	check(t, s.submit("joe@elsewhere.example"))
	eventually(t, "the message is deferred", func() bool { return strings.Contains(s.Must("queue", "list"), "not now") })
	if got := s.Must("queue", "list", "--domain", "other.example", "--json"); strings.TrimSpace(got) != "[]" {
		t.Errorf("another domain's: %s", got)
	}
	file := filepath.Join(t.TempDir(), "q.tar")
	// Without room nothing is left of it, which would be in the way of the next try.
	p, err := exec.Command("/bin/sh", "-c", `ulimit -f 0 && exec postilion queue export "$0" --all --data "$1"`, file, s.Data).CombinedOutput()
	if _, left := os.Lstat(file); err == nil || !errors.Is(left, os.ErrNotExist) {
		t.Errorf("an export without room: %v, the file: %v\n%s", err, left, p)
	}
	s.Must("queue", "export", file, "--all")
	s.Must("queue", "hold", "--all", "--yes")
	if got := s.Must("queue", "list"); !strings.Contains(got, "held") {
		t.Errorf("after hold:\n%s", got)
	}
	s.Must("queue", "delete", "--to", "joe@elsewhere.example", "--yes")
	if got := s.Must("queue", "list"); !strings.Contains(got, "0 messages") {
		t.Errorf("after delete:\n%s", got)
	}
	s.Must("pause")
	s.Must("queue", "import", file)
	refusing.Store(false)
	if got := s.Must("queue", "list"); !strings.Contains(got, "1 messages") {
		t.Errorf("after import:\n%s", got)
	}
	s.Must("continue")
	s.Must("flush")
	eventually(t, "the message leaves", func() bool { return len(k.All()) == 1 })

	// A copy of the running server's stores starts with everything held.
	copied := filepath.Join(t.TempDir(), "copy")
	s.Must("backup", copied)

	// With the server down the same verbs work on the folder.
	s.Must("pause")
	check(t, s.submit("ann@elsewhere.example"))
	s.Must("stop")
	if got := s.Must("queue", "list"); !strings.Contains(got, "ann@elsewhere.example") {
		t.Errorf("with the server down:\n%s", got)
	}
	p, err = exec.Command("postilion", "account", "list", "--data", copied).CombinedOutput()
	if err != nil || !strings.Contains(string(p), s.Account) {
		t.Errorf("accounts of the copy: %v\n%s", err, p)
	}
	if got := s.Must("account", "add", "ann@example.test", "--json"); !strings.Contains(got, `"password":"`) {
		t.Errorf("account add: %s", got)
	}
}

func TestSystemdsSocketsAreTakenByName(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	check(t, err)
	defer f.Close()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true")
	s.Must("stop")
	// LISTEN_PID must be that of the server: the shell becomes it.
	c := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec postilion serve --data "$0" --set process.single=true --set pop3.listen=127.0.0.1:0 --set pop3s.listen= \
		--set submission.listen= --set submissions.listen= --set metrics.listen= --set smtp.listen=127.0.0.1:9 --set process.queue_load=-1 --set floors.refuse_load=-1`, data)
	c.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=smtp")
	c.ExtraFiles = []*os.File{f}
	c.Stderr = &s.Log
	check(t, c.Start())
	defer func() { c.Process.Signal(syscall.SIGTERM); c.Wait() }()
	s.Addr["smtp"] = l.Addr().String()
	check(t, s.send("you@example.org", s.Account, "activated"))
	eventually(t, "its listeners are known", func() bool {
		for _, x := range s.status().Listeners {
			if x.Name == "pop3" {
				s.Addr["pop3"] = x.Addr
			}
		}
		return true
	})
	s.arrives("activated")

	// After a restart too: systemd passes them once.
	started := s.status().Started
	s.Must("restart")
	eventually(t, "it serves again", func() bool {
		now := s.status()
		for _, x := range now.Listeners {
			if x.Name == "pop3" {
				s.Addr["pop3"] = x.Addr
			}
		}
		return now.Started.After(started)
	})
	check(t, s.send("you@example.org", s.Account, "activated again"))
	s.arrives("activated again")
}

func TestSelftestTellsEachCase(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true")
	got := s.Must("selftest")
	for _, want := range []string{"local-local", "local-error", "double bounce", "SMTP to an unknown mailbox", "SMTP to another host"} {
		if !strings.Contains(got, want) {
			t.Errorf("case %s is missing:\n%s", want, got)
		}
	}
	if strings.Contains(got, "FAILED") {
		t.Error(got)
	}
	if accounts := s.Must("account", "list"); strings.Contains(accounts, "selftest") {
		t.Errorf("an account is left over:\n%s", accounts)
	}
	// A host without a postmaster is found out, and nothing is left in the queue for him.
	s.Must("alias", "remove", "postmaster@example.test")
	p, err := exec.Command("postilion", "selftest", "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(p), "nobody takes this host's postmaster mail") {
		t.Errorf("without a postmaster: %v\n%s", err, p)
	}
	s.emptied()
	s.Must("pause")
	if why, want := (&app{err: io.Discard, data: data}).heldBack(t.Context()), "; deliveries are paused: `postilion continue` lets them start"; !strings.HasPrefix(why, want) {
		t.Errorf("what fails while deliveries are paused is explained by %q", why)
	}
}

func TestSelftestLeavesNothingOfARelayInTheQueue(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true", "--set", "policy.relay_networks=127.0.0.1", "--set", "route.next_hop=[127.0.0.1]:1")
	p, err := exec.Command("postilion", "selftest", "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(p), "this host relays for 127.0.0.1") {
		t.Errorf("%v\n%s", err, p)
	}
	s.emptied()
}

func TestTheClockMovesOnlyInFoldersForTesting(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true")
	s.Must("stop")
	p, err := exec.Command("postilion", "serve", "--data", data, "--clock-offset", "5d").CombinedOutput()
	if err == nil || !strings.Contains(string(p), "--for-testing") {
		t.Errorf("have %v\n%s", err, p)
	}
}

func TestEachKindOfFailureHasItsExitCode(t *testing.T) {
	t.Parallel()
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nosuch"}, exitUsage, `there is no verb "nosuch"`},
		{[]string{"serve", "--nosuch"}, exitUsage, "unknown flag: --nosuch"},
		{[]string{"flush", "all"}, exitUsage, `want no arguments, have 1: ["all"]; usage: postilion flush [flags]`},
		{[]string{"account", "list", ""}, exitUsage, "an argument is empty; usage: postilion account list [DOMAIN] [flags]"},
		{[]string{"quota", "recount", "example.test", ""}, exitUsage, "an argument is empty; usage: postilion quota recount"},
		{[]string{"serve", "--data", nowhere}, exitConfig, "there is no configuration"},
		{[]string{"status", "--data", nowhere}, exitNotRunning, "no server is running"},
	} {
		var out, errOut bytes.Buffer
		code := run(c.args, strings.NewReader(""), &out, &errOut)
		if code != c.code || !strings.Contains(errOut.String(), c.says) || strings.Contains(errOut.String(), "postilion: postilion:") {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, code, c.code, errOut.String())
		}
	}
}
