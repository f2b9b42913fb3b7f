package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"

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

// server is a running postilion.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	data string
	info struct {
		Listeners               map[string]string
		Account, Password, Data string
	}
	log  *lockedBuffer
	done chan error
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// dataFolder returns an empty folder that other uids can pass through.
func dataFolder(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

// quickstart starts a server on free ports and waits until it listens.
func quickstart(t *testing.T, data string, more ...string) *server {
	t.Helper()
	args := []string{"quickstart", "example.test", "--json", "--data", data}
	for _, l := range []string{"smtp", "submission", "submissions", "pop3", "pop3s", "metrics"} {
		args = append(args, "--set", l+".listen=127.0.0.1:0")
	}
	// Whatever else the machine does, mail is taken and delivered.
	args = append(args, "--set", "process.queue_load=-1", "--set", "floors.refuse_load=-1")
	s := &server{t: t, data: data, log: new(lockedBuffer), done: make(chan error, 1)}
	s.cmd = exec.Command("postilion", append(args, more...)...)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(out).Decode(&s.info); err != nil {
		s.cmd.Process.Kill()
		t.Fatalf("no JSON came: %v\n%s", err, s.log)
	}
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(longest):
			s.cmd.Process.Kill()
			t.Error("the server did not stop")
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	return s
}

// run runs a verb on the server's folder and returns what it printed.
func (s *server) run(args ...string) string {
	s.t.Helper()
	p, err := exec.Command("postilion", append(args, "--data", s.data)...).CombinedOutput()
	if err != nil {
		s.t.Errorf("postilion %q: %v\n%s", args, err, p)
	}
	return string(p)
}

// status waits until every role is up and returns it.
func (s *server) status() control.Status {
	s.t.Helper()
	var st control.Status
	s.eventually("all roles are up", func() bool {
		st = control.Status{}
		p, err := exec.Command("postilion", "status", "--json", "--data", s.data).Output()
		if err != nil || json.Unmarshal(p, &st) != nil {
			return false
		}
		for _, r := range st.Roles {
			if r.State != "up" && r.State != "flapping" || r.PID == 0 {
				return false
			}
		}
		return true
	})
	return st
}

// longest bounds what hangs, no more: it is far beyond what a machine with much else to do takes.
const longest = time.Minute

// eventually polls what another process brings about.
func (s *server) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(longest); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	s.t.Fatalf("it did not come about that %s\n%s", what, s.log)
}

// emptied waits until the queue holds nothing.
func (s *server) emptied() {
	s.t.Helper()
	s.eventually("the queue is empty", func() bool { return strings.Contains(s.run("queue", "list"), "0 messages") })
}

// send hands a message to a service in plain text, logged in where auth is given.
func (s *server) sendBy(service string, auth smtp.Auth, from, to, subject string) error {
	conn, err := net.DialTimeout("tcp", s.info.Listeners[service], longest)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(longest))
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		return err
	}
	if auth != nil {
		if err := c.Auth(auth); err != nil {
			return err
		}
	}
	if err := errors.Join(c.Mail(from), c.Rcpt(to)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nIt works.\r\n", from, to, subject)
	return errors.Join(w.Close(), c.Quit())
}

func (s *server) send(from, to, subject string) error {
	return s.sendBy("smtp", nil, from, to, subject)
}

// submit sends through the submission service as the account.
func (s *server) submit(to string) error {
	auth := smtp.PlainAuth("", s.info.Account, s.info.Password, "127.0.0.1")
	return s.sendBy("submission", auth, s.info.Account, to, "out")
}

// subjects logs in over POP3 and returns the subjects of all messages.
func (s *server) subjects() (list []string, err error) {
	c, err := net.DialTimeout("tcp", s.info.Listeners["pop3"], longest)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(longest))
	r := textproto.NewReader(bufio.NewReader(c))
	ok := func(command string) (string, error) {
		if command != "" {
			fmt.Fprintf(c, "%s\r\n", command)
		}
		line, err := r.ReadLine()
		if err == nil && !strings.HasPrefix(line, "+OK") {
			err = errors.New(line)
		}
		return line, err
	}
	var line string
	for _, command := range []string{"", "USER " + s.info.Account, "PASS " + s.info.Password, "STAT"} {
		if line, err = ok(command); err != nil {
			return nil, err
		}
	}
	var n, size int
	fmt.Sscanf(line, "+OK %d %d", &n, &size)
	for i := range n {
		if _, err := ok(fmt.Sprintf("RETR %d", i+1)); err != nil {
			return nil, err
		}
		lines, err := r.ReadDotLines()
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			if subject, found := strings.CutPrefix(l, "Subject: "); found {
				list = append(list, subject)
			}
		}
	}
	_, err = ok("QUIT")
	return list, err
}

// arrives waits for a message with the subject.
func (s *server) arrives(subject string) {
	s.t.Helper()
	var last error
	s.eventually("the message "+subject+" arrives", func() bool {
		list, err := s.subjects()
		last = err
		for _, x := range list {
			if x == subject {
				return true
			}
		}
		return false
	})
	if last != nil {
		s.t.Errorf("reading: %v", last)
	}
}

func TestQuickstartTakesMailKeepsItAndLetsItBeRead(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t), "--set", "process.single=true")
	if s.info.Account != "hello@example.test" || len(s.info.Password) < 20 || s.info.Data != s.data {
		t.Fatalf("have %+v", s.info)
	}
	if err := s.send("you@example.org", s.info.Account, "first"); err != nil {
		t.Fatal(err)
	}
	s.arrives("first")
	if err := s.send("you@example.org", "nobody@example.test", "x"); err == nil || !strings.Contains(err.Error(), "550") {
		t.Errorf("an unknown recipient: %v", err)
	}
	if err := s.send("you@example.org", "joe@elsewhere.example", "x"); err == nil {
		t.Error("the server relays for strangers")
	}
	again := exec.Command("postilion", "quickstart", "example.test", "--data", s.data)
	if p, err := again.CombinedOutput(); err == nil || !strings.Contains(string(p), "running") {
		t.Errorf("a second server on the folder: %v\n%s", err, p)
	}
	s.run("stop")
	<-s.done
	s.done <- nil
	second := quickstart(t, s.data, "--set", "process.single=true")
	if second.info.Password != s.info.Password {
		t.Errorf("the password is %q at the second start", second.info.Password)
	}
	second.arrives("first")
}

// A verb that found no server works on the folder itself. One that comes up meanwhile, as after a restart, is not kept down.
func TestAServerThatStartsWaitsForAVerbOnItsFolder(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true")
	s.run("stop")
	<-s.done
	s.done <- nil
	lock, err := control.Lock(data)
	if err != nil {
		t.Fatal(err)
	}
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
			if err := s.send("you@example.org", s.info.Account, subject); err != nil {
				t.Fatal(err)
			}
			want = append(want, subject)
		}
		s.cmd.Process.Kill()
		<-s.done
		s.done <- nil
	}
	s := quickstart(t, data, "--set", "process.single=true")
	for _, subject := range want {
		s.arrives(subject)
	}
}

// sink is a foreign SMTP server that counts what it takes.
type sink struct {
	mu       sync.Mutex
	got      []string
	refusing bool
}

func (k *sink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &sinkSession{k: k}, nil }

type sinkSession struct {
	k  *sink
	to string
}

func (*sinkSession) Reset()        {}
func (*sinkSession) Logout() error { return nil }
func (*sinkSession) Mail(string, *gosmtp.MailOptions) error {
	return nil
}
func (x *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	x.k.mu.Lock()
	defer x.k.mu.Unlock()
	if x.k.refusing {
		return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "not now"}
	}
	x.to = to
	return nil
}
func (x *sinkSession) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	x.k.mu.Lock()
	defer x.k.mu.Unlock()
	x.k.got = append(x.k.got, x.to)
	return err
}

func (k *sink) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.got)
}

// listen starts the sink and returns its address.
func (k *sink) listen(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	foreign := gosmtp.NewServer(k)
	foreign.Domain = "sink.example"
	go foreign.Serve(l)
	t.Cleanup(func() { foreign.Close() })
	return l.Addr().String()
}

func TestRolesApart(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: roles get uids of their own")
	}
	k := new(sink)
	s := quickstart(t, dataFolder(t), "--set", "route.next_hop="+k.listen(t))
	st := s.status()
	uids := map[int]string{}
	for _, r := range st.Roles {
		if r.UID == 0 || uids[r.UID] != "" {
			t.Errorf("role %s runs as uid %d, as does %s", r.Name, r.UID, uids[r.UID])
		}
		uids[r.UID] = r.Name
	}
	if err := s.send("you@example.org", s.info.Account, "apart"); err != nil {
		t.Fatal(err)
	}
	s.arrives("apart")
	if err := s.submit("joe@elsewhere.example"); err != nil {
		t.Fatal(err)
	}
	s.eventually("the message goes to the next hop", func() bool { return k.count() == 1 })

	// Each role is killed once; the others go on and the dead one comes back.
	for _, r := range st.Roles {
		syscall.Kill(r.PID, syscall.SIGKILL)
		s.eventually("role "+r.Name+" is up again", func() bool {
			for _, now := range s.status().Roles {
				if now.Name == r.Name {
					return now.PID != r.PID && now.Restarts == 1
				}
			}
			return false
		})
		subject := fmt.Sprintf("after the end of %s", r.Name)
		s.eventually("mail is taken", func() bool { return s.send("you@example.org", s.info.Account, subject) == nil })
		s.arrives(subject)
	}
	s.run("restart", "smtpd")
	s.status()

	// A changed file comes into force in every role.
	path := filepath.Join(s.data, "postilion.toml")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(file, "\n[policy]\nbad_senders = [\"bad@example.org\"]\n")
	file.Close()
	if got := s.run("reload"); !strings.Contains(got, "policy.bad_senders is in force") {
		t.Errorf("reload: %s", got)
	}
	if err := s.send("bad@example.org", s.info.Account, "x"); err == nil {
		t.Error("the changed policy is not in force")
	}
	if got := s.run("selftest"); strings.Contains(got, "FAILED") {
		t.Error(got)
	}
}

func TestOperatorsHoldMailBackAndLetItGo(t *testing.T) {
	t.Parallel()
	k := &sink{refusing: true}
	s := quickstart(t, dataFolder(t), "--set", "process.single=true", "--set", "route.next_hop="+k.listen(t))
	if err := s.submit("joe@elsewhere.example"); err != nil {
		t.Fatal(err)
	}
	s.eventually("the message is deferred", func() bool { return strings.Contains(s.run("queue", "list"), "not now") })
	if got := s.run("queue", "list", "--domain", "other.example", "--json"); strings.TrimSpace(got) != "[]" {
		t.Errorf("another domain's: %s", got)
	}
	file := filepath.Join(t.TempDir(), "q.tar")
	s.run("queue", "export", file, "--all")
	s.run("queue", "hold", "--all", "--yes")
	if got := s.run("queue", "list"); !strings.Contains(got, "held") {
		t.Errorf("after hold:\n%s", got)
	}
	s.run("queue", "delete", "--to", "joe@elsewhere.example", "--yes")
	if got := s.run("queue", "list"); !strings.Contains(got, "0 messages") {
		t.Errorf("after delete:\n%s", got)
	}
	s.run("pause")
	s.run("queue", "import", file)
	k.mu.Lock()
	k.refusing = false
	k.mu.Unlock()
	if got := s.run("queue", "list"); !strings.Contains(got, "1 messages") {
		t.Errorf("after import:\n%s", got)
	}
	s.run("continue")
	s.run("flush")
	s.eventually("the message leaves", func() bool { return k.count() == 1 })

	// A copy of the running server's stores starts with everything held.
	copied := filepath.Join(t.TempDir(), "copy")
	s.run("backup", copied)

	// With the server down the same verbs work on the folder.
	s.run("pause")
	if err := s.submit("ann@elsewhere.example"); err != nil {
		t.Fatal(err)
	}
	s.run("stop")
	if got := s.run("queue", "list"); !strings.Contains(got, "ann@elsewhere.example") {
		t.Errorf("with the server down:\n%s", got)
	}
	p, err := exec.Command("postilion", "account", "list", "--data", copied).CombinedOutput()
	if err != nil || !strings.Contains(string(p), s.info.Account) {
		t.Errorf("accounts of the copy: %v\n%s", err, p)
	}
	if got := s.run("account", "add", "ann@example.test", "--json"); !strings.Contains(got, `"password":"`) {
		t.Errorf("account add: %s", got)
	}
}

func TestSystemdsSocketsAreTakenByName(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true")
	s.run("stop")
	// LISTEN_PID must be that of the server: the shell becomes it.
	c := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec postilion serve --data "$0" --set process.single=true --set pop3.listen=127.0.0.1:0 --set pop3s.listen= \
		--set submission.listen= --set submissions.listen= --set metrics.listen= --set smtp.listen=127.0.0.1:9 --set process.queue_load=-1 --set floors.refuse_load=-1`, data)
	c.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=smtp")
	c.ExtraFiles = []*os.File{f}
	c.Stderr = s.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Signal(syscall.SIGTERM); c.Wait() }()
	s.info.Listeners["smtp"] = l.Addr().String()
	if err := s.send("you@example.org", s.info.Account, "activated"); err != nil {
		t.Fatal(err)
	}
	s.eventually("its listeners are known", func() bool {
		for _, x := range s.status().Listeners {
			if x.Name == "pop3" {
				s.info.Listeners["pop3"] = x.Addr
			}
		}
		return true
	})
	s.arrives("activated")
}

func TestSelftestTellsEachCase(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := quickstart(t, data, "--set", "process.single=true")
	got := s.run("selftest")
	for _, want := range []string{"local-local", "local-error", "double bounce", "SMTP to an unknown mailbox", "SMTP to another host"} {
		if !strings.Contains(got, want) {
			t.Errorf("case %s is missing:\n%s", want, got)
		}
	}
	if strings.Contains(got, "FAILED") {
		t.Error(got)
	}
	if accounts := s.run("account", "list"); strings.Contains(accounts, "selftest") {
		t.Errorf("an account is left over:\n%s", accounts)
	}
	// A host without a postmaster is found out, and nothing is left in the queue for him.
	s.run("alias", "remove", "postmaster@example.test")
	p, err := exec.Command("postilion", "selftest", "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(p), "nobody takes this host's postmaster mail") {
		t.Errorf("without a postmaster: %v\n%s", err, p)
	}
	s.emptied()
	s.run("pause")
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
	s.run("stop")
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
