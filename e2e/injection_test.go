package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
	"github.com/postilion/postilion/internal/fs/fstest"
)

// links makes a folder with the names that programs call, as `links install` does.
func links(t testing.TB) string {
	t.Helper()
	dir := newFolder(t)
	bin := tools(t)
	for _, name := range []string{"sendmail", "qmail-inject", "qmail-queue", "mailq", "forward", "mailsubj"} {
		check(t, os.Symlink(bin, filepath.Join(dir, name)))
	}
	return dir
}

// local runs a program of this host that finds the server's programs first on its path.
func (s *server) local(dir, stdin string, uid uint32, name string, args ...string) (string, int) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	path, err := exec.LookPath(filepath.Join(dir, name))
	if err != nil {
		if path, err = exec.LookPath(name); err != nil {
			s.T.Fatal(err)
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=" + dir + ":/usr/sbin:/usr/bin:/sbin:/bin", "POSTILION_DATA=" + s.Data, "POSTILION_ROOT=" + dir, "USER=joe",
		"HOME=" + s.T.TempDir(), "LC_ALL=C.UTF-8", "TERM=dumb"}
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(stdin)
	if uid != 0 && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), exit.ExitCode()
	}
	check(s.T, err)
	return out.String(), 0
}

// somebody is a user without a name on any system.
const somebody = 54321

func TestProgramsOfThisHostSend(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		dir := links(t)
		uid := os.Getuid()
		if uid == 0 {
			uid = somebody
		}
		senders := []struct {
			name, program string
			args          []string
			stdin         string
		}{
			{"sendmail", "sendmail", []string{"-oi", "-t"}, "To: " + s.Account + "\nSubject: sendmail\n\nbody\n.\nmore\n"},
			{"inject", "qmail-inject", nil, "To: " + s.Account + "\nSubject: inject\n\nbody\n"},
			{"mailsubj", "mailsubj", []string{"mailsubj", s.Account}, "body\n"},
			// As cron(8) calls it.
			{"cron", "sendmail", []string{"-i", "-FCronDaemon", "-B8BITMIME", "-oem", s.Account}, "From: root (Cron Daemon)\nTo: " + s.Account + "\nSubject: cron\n\noutput\n"},
			{"smtp", "sendmail", []string{"-bs"}, "EHLO me\r\nMAIL FROM:<joe@example.test>\r\nRCPT TO:<" + s.Account + ">\r\nDATA\r\nSubject: smtp\r\n\r\nbody\r\n.\r\nQUIT\r\n"},
		}
		for _, p := range senders {
			if out, code := s.local(dir, p.stdin, uint32(uid), p.program, p.args...); code != 0 {
				t.Errorf("%s: exit %d: %s", p.name, code, out)
			}
		}
		want := len(senders)
		for _, m := range []struct{ name, program, stdin string }{{"mutt", "mutt", "body\n"}, {"s-nail", "s-nail", "body\n"}} {
			if _, err := exec.LookPath(m.program); err != nil {
				t.Logf("skipped: %s is not installed", m.program)
				continue
			}
			args := []string{"-n", "-F", "/dev/null", "-e", `set sendmail="` + dir + `/sendmail -oem -oi" copy=no from="joe@example.test" use_envelope_from=yes`, "-s", "mutt", "--", s.Account}
			if m.name == "s-nail" {
				args = []string{"-:/", "-Snosave", "-Smta=file://" + dir + "/sendmail", "-Smta-argv0=sendmail", "-s", "s-nail", s.Account}
			}
			if out, code := s.local(dir, m.stdin, 0, m.program, args...); code != 0 {
				t.Errorf("%s: exit %d: %s", m.name, code, out)
			}
			want++
		}
		var subjects []string
		for _, m := range s.arrived(s.Account, s.Password, want) {
			header, _, _ := bytes.Cut(bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
			subject := field(header, "Subject")
			subjects = append(subjects, subject)
			if subject != "mutt" && subject != "s-nail" && !bytes.Contains(header, fmt.Appendf(nil, " invoked by uid %d); ", uid)) {
				t.Errorf("%s: the Received field does not name the user:\n%s", subject, header)
			}
		}
		slices.Sort(subjects)
		t.Log("arrived:", strings.Join(subjects, ", "))
	})
}

func TestASenderWatchesTheWholeJourney(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		k := newSink(t)
		o.config = loadConfig(k)
		s := newServer(t, o)
		out, code := s.local(links(t), "Subject: x\n\nbody\n", somebody, "sendmail", "-v", "--timeout=20s", s.Account, "nobody@"+domain, "far@sink.example")
		if code != 0 {
			t.Fatalf("exit %d: %s", code, out)
		}
		for _, want := range []string{"queued as ", "nobody@" + domain + "... User unknown", s.Account + "... Sent (", "far@sink.example... Connecting via esmtp...",
			"<<< 220 ", ">>> EHLO mail.example.test", ">>> RCPT TO:<far@sink.example>", "<<< 250 2.0.0 Roger", "far@sink.example... Sent (127.0.0.1 accepted message"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
	})
}

// mail -v shows the same, as mail hands its -v on to sendmail.
func TestASenderWatchesByMail(t *testing.T) {
	t.Parallel()
	original(t, "s-nail", "s-nail")
	s := newServer(t, setup{single: true})
	dir := links(t)
	out, code := s.local(dir, "body\n", 0, "s-nail", "-:/", "-v", "-Snosave", "-Ssendwait", "-Smta=file://"+dir+"/sendmail", "-Smta-argv0=sendmail", "-s", "watched", s.Account)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	for _, want := range []string{"queued as ", s.Account + "... routed: ", s.Account + "... Sent ("} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestWithoutAServerProgramsSaySoAndTakeNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{single: true})
	dir := links(t)
	s.Stop()
	for program, want := range map[string]int{"sendmail": 75, "qmail-inject": 111} {
		out, code := s.local(dir, "Subject: x\n\nbody\n", 0, program, s.Account)
		if code != want || !strings.Contains(out, "the mail server is not running: nobody listens on "+s.Data+"/run/inject.sock") {
			t.Errorf("%s: exit %d: %s", program, code, out)
		}
	}
	s.serve()
}

// TestWhatSendmailExitsZeroForSurvivesKills kills the server while programs hand in mail: each
// that exited 0 has arrived in the end.
func TestWhatSendmailExitsZeroForSurvivesKills(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		o.config = loadConfig(newSink(t)) // what was deferred for a kill is tried again soon
		s := newServer(t, o)
		dir := links(t)
		var mu sync.Mutex
		var taken []delivery
		refused, next := 0, 0
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					next++
					id, size := fmt.Sprintf("i%06d", next), 1000
					if next%10 == 0 {
						size = 200_000 // to a spool file
					}
					mu.Unlock()
					_, code := s.local(dir, string(parcel(id, size)), somebody, "sendmail", "-i", s.Account)
					mu.Lock()
					if code == 0 {
						taken = append(taken, delivery{id, s.Account})
					} else {
						refused++
					}
					mu.Unlock()
				}
			})
		}
		more := func() {
			count := func() int { mu.Lock(); defer mu.Unlock(); return len(taken) }
			before := count()
			e2etest.Within(t, 2*patience, "programs hand mail in", func() bool { return count() >= before+10 })
		}
		for range 3 * *soak {
			more()
			time.Sleep(rand.N(time.Second)) // any instant is as good
			s.Kill()
			s.serve()
		}
		more()
		cancel()
		wg.Wait()
		var missing []delivery
		var err error
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			var here map[delivery]int
			here, err = s.maildirs()
			missing = slices.DeleteFunc(slices.Clone(taken), func(d delivery) bool { return here[d] > 0 })
			if err == nil && len(missing) == 0 {
				break
			}
		}
		if err != nil || len(missing) > 0 {
			t.Fatalf("of %d taken %d have not arrived, such as %v: %v", len(taken), len(missing), missing[:min(len(missing), 5)], err)
		}
		t.Logf("%d taken, %d not, none lost", len(taken), refused)
	})
}

// TestAFilterStandsBetweenTheNetworkAndTheQueue runs one that hands the message on by qmail-queue.
func TestAFilterStandsBetweenTheNetworkAndTheQueue(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		dir := links(t)
		filter := filepath.Join(dir, "filter")
		check(t, fstest.WriteProgram(filter, "#!/bin/sh\n(echo \"X-Filtered: $TCPREMOTEIP\"; cat) | "+dir+"/qmail-queue\n"))
		o.config = map[string]string{"submit.filter": fmt.Sprintf("%q", filter)}
		s := newServer(t, o)
		check(t, s.Send("joe@else.example", s.Account, letter("filtered")))
		m := string(bytes.ReplaceAll(s.arrived(s.Account, s.Password, 1)[0], []byte("\r\n"), []byte("\n")))
		first, second := strings.Index(m, " invoked from network); "), strings.Index(m, "X-Filtered: 127.0.0.1\nReceived: from ")
		if first < 0 || second < first {
			t.Errorf("the filter's way is not to be seen:\n%s", m)
		}
	})
}

// TestSmallProgramsStartAtOnce bounds what a program costs that is run for each message. The bound is
// generous for a busy machine; an empty Go program takes 2.3 ms on a quiet one.
func TestSmallProgramsStartAtOnce(t *testing.T) {
	dir := links(t)
	for _, args := range [][]string{{"qmail-inject", "-?"}, {"sendmail", "-Z"}} {
		best := time.Hour
		for range 20 {
			began := time.Now()
			exec.Command(filepath.Join(dir, args[0]), args[1:]...).Run() // which is a usage error
			best = min(best, time.Since(began))
		}
		if best > 20*time.Millisecond {
			t.Errorf("%s takes %v", args[0], best)
		}
		t.Logf("%s starts and ends in %v", args[0], best)
	}
}
