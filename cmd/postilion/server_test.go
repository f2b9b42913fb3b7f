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

	"github.com/postilion/postilion/internal/control"
)

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
