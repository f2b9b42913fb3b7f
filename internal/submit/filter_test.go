package submit

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs/fstest"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// script writes a program for /bin/sh.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "filter")
	if err := fstest.WriteProgram(path, "#!/bin/sh\n"+text+"\n"); err != nil {
		t.Fatal(err)
	}
	return path
}

func filterSubmitter(t *testing.T, command string, limit time.Duration) (*Submitter, *memory) {
	t.Helper()
	p, err := policy.New(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := new(memory)
	f := &Filters{Env: []string{"PATH=/usr/bin:/bin"}, MaxRunning: 2}
	return New(Options{Host: "mx.example.test", Filter: command, FilterTime: limit},
		Deps{Queue: q, Router: router{}, Policy: p, Clock: clock.System{}, IDs: id.Source{}, Filters: f}), q
}

var outside = Source{Role: "smtp", Client: netip.MustParseAddr("192.0.2.1"), HELO: "peer.example", Protocol: "ESMTP"}

func TestVector11FiltersDecideByTheirExitCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		code         int
		enhanced     string
		text         string
	}{
		{"taken", "cat >/dev/null; exit 0", 250, "", ""},
		{"31", "exit 31", 554, "5.3.0", "mail server permanently rejected message"},
		{"11", "exit 11", 554, "5.1.3", "envelope address too long for qq"},
		{"40", "cat >/dev/null; exit 40", 554, "5.3.0", "qq permanent problem"},
		{"41", "exit 41", 451, "4.3.0", "qq temporary problem"},
		{"71", "exit 71", 451, "4.3.0", "mail server temporarily rejected message"},
		{"82 permanent", "printf 'Dspam was found' >&6; exit 82", 554, "5.3.0", "spam was found"},
		{"82 temporary with a code", "printf 'Zcome back later (#4.7.1)' >&6; exit 82", 451, "4.7.1", "come back later"},
		{"82 without a text", "exit 82", 451, "4.3.0", "qq temporary problem"},
		{"82 with too long a text", "head -c 300 /dev/zero | tr '\\0' D >&6; exit 82", 451, "4.3.0", "qq temporary problem"},
		{"a signal", "kill -9 $$", 451, "4.3.0", "qq crashed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, q := filterSubmitter(t, script(t, tt.script), time.Minute)
			src := outside
			_, err := hand(t, s, &src, "Subject: x\n\n"+strings.Repeat("line\n", 50_000), 30_000)
			if q.committed {
				t.Error("it went past the filter")
			}
			if tt.code == 250 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e := reason.As(err)
			if e == nil || e.Code != tt.code || e.Enhanced != tt.enhanced || e.Text(reason.English) != tt.text {
				t.Errorf("%+v %q, want %d %s %q", e, e.Text(reason.English), tt.code, tt.enhanced, tt.text)
			}
		})
	}
}

func TestAFilterSeesContentEnvelopeAndClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := filterSubmitter(t, script(t, "cat >"+dir+"/content; tr '\\0' '\\n' <&1 >"+dir+"/envelope; env >"+dir+"/env"), time.Minute)
	src := outside
	src.Grant = &policy.Grant{Env: []string{"GREYLIST=1"}}
	if _, err := hand(t, s, &src, "Subject: x\n\nbody", 5); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		p, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(p)
	}
	if c := read("content"); !strings.HasPrefix(c, "Received: from peer.example ([192.0.2.1])") || !strings.HasSuffix(c, "Subject: x\n\nbody\n") {
		t.Errorf("content %q", c)
	}
	if got := read("envelope"); got != "F\nTjoe@example.test\n\n" {
		t.Errorf("envelope %q", got)
	}
	for _, want := range []string{"TCPREMOTEIP=192.0.2.1\n", "GREYLIST=1\n", "POSTILION_TICKET=", "POSTILION_HELO=peer.example\n"} {
		if !strings.Contains(read("env"), want) {
			t.Errorf("no %q in %q", want, read("env"))
		}
	}
}

func TestAFilterThatDoesNotEndIsEnded(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"after the content": "cat >/dev/null; sleep 600", "without reading": "sleep 600"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := filterSubmitter(t, script(t, text), 300*time.Millisecond)
			src := outside
			_, err := hand(t, s, &src, strings.Repeat("line\n", 50_000), 30_000)
			if e := reason.As(err); e == nil || e.Code != 451 || e.Text(reason.English) != "qq timeout" {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWhatAFilterHandsOnIsNotFilteredAgainAndKeepsItsClient(t *testing.T) {
	t.Parallel()
	s, q := filterSubmitter(t, "/nonexistent", time.Second)
	src := outside
	m := id.Source{}.New()
	ticket := s.d.Filters.issue(&src, m)
	own, ok := s.Ticket(ticket)
	if !ok {
		t.Fatal("the ticket is not known")
	}
	own.PID = 77
	if _, err := hand(t, s, own, "X-Filtered: yes\n\nbody\n", 100); err != nil {
		t.Fatal(err)
	}
	if q.env.ID != m || q.env.Client != src.Client || q.env.HELO != "peer.example" || q.env.Protocol != "ESMTP" {
		t.Errorf("%+v", q.env)
	}
	if !strings.HasPrefix(q.body.String(), "Received: (qmail 77 invoked from network); ") {
		t.Errorf("%q", q.body.String())
	}
	if again, ok := s.Ticket(ticket); !ok || !again.ID.IsZero() {
		t.Error("a second message has the first one's id")
	}
	s.d.Filters.end(ticket)
	if _, ok := s.Ticket(ticket); ok {
		t.Error("an old ticket is good")
	}
}

func TestAMissingFilterDefers(t *testing.T) {
	t.Parallel()
	s, _ := filterSubmitter(t, "/nonexistent/filter", time.Second)
	src := outside
	tx, err := s.Begin(context.Background(), &src, smtp.Mail{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Rcpt(context.Background(), smtp.Rcpt{To: mail.Address{Local: "joe", Domain: "example.test"}}); err != nil {
		t.Fatal(err)
	}
	if e := reason.As(tx.Open(context.Background())); e == nil || e.Code != 451 || e.Text(reason.English) != "unable to exec qq" {
		t.Errorf("%v", e)
	}
}

func TestLocalMailPassesNoFilterAndTellsWhoRanIt(t *testing.T) {
	t.Parallel()
	s, q := filterSubmitter(t, "/nonexistent", time.Second)
	src := &Source{Role: "inject", Local: true, Late: true, Invoked: "by uid 1000", PID: 42}
	if _, err := hand(t, s, src, "a: b\n", 100); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := strings.Cut(q.body.String(), ";"); got != "Received: (qmail 42 invoked by uid 1000)" {
		t.Errorf("%q", got)
	}
}

// As in qmail, where bin/qmail-queue is below /var/qmail.
func TestARelativeFilterIsBelowTheFolderOfTheHost(t *testing.T) {
	t.Parallel()
	path := script(t, "exit 31")
	s, _ := filterSubmitter(t, "bin/"+filepath.Base(path), time.Minute)
	s.d.Filters.Dir = filepath.Join(t.TempDir(), "qmail")
	if err := os.MkdirAll(s.d.Filters.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(path), filepath.Join(s.d.Filters.Dir, "bin")); err != nil {
		t.Fatal(err)
	}
	src := outside
	if _, err := hand(t, s, &src, "a: b\n", 100); reason.As(err) == nil || reason.As(err).Code != 554 {
		t.Errorf("%v", err)
	}
}

func TestALateSourceHasItsOwnBoundOfRecipients(t *testing.T) {
	t.Parallel()
	s, _ := newSubmitter(t, new(memory), policy.Options{MaxRecipients: 1})
	ctx := context.Background()
	for _, c := range []struct {
		src  Source
		want int
	}{{Source{Local: true}, 1}, {Source{Local: true, Late: true}, 1}, {Source{Local: true, Late: true, MaxRecipients: 3}, 3}, {Source{Local: true, MaxRecipients: 3}, 1}} {
		tx, err := s.Begin(ctx, &c.src, smtp.Mail{Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			err = tx.Rcpt(ctx, smtp.Rcpt{To: joe.Address})
		}
		if tx.Recipients() != c.want || reason.As(err).Reason != reason.TooManyRecipients.Reason {
			t.Errorf("%+v: %d recipients, then %v", c.src, tx.Recipients(), err)
		}
		tx.Abort()
	}
}

// opened is a message to joe whose content may come.
func opened(t *testing.T, s *Submitter) *Transaction {
	t.Helper()
	src := outside
	tx, err := s.Begin(t.Context(), &src, smtp.Mail{Size: -1})
	if err == nil {
		err = tx.Rcpt(t.Context(), smtp.Rcpt{To: mail.Address{Local: "joe", Domain: "example.test"}})
	}
	if err == nil {
		err = tx.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// A trial must not hand messages to the old system's queue.
func TestFiltersThatAreToldOfAreNotRun(t *testing.T) {
	t.Parallel()
	path := script(t, "exit 31")
	s, q := filterSubmitter(t, path+" -v", time.Minute)
	var told []string
	s.d.Filters.Told = func(command string) { told = append(told, command) }
	src := outside
	if _, err := hand(t, s, &src, "Subject: x\n\n", 100); err != nil || !q.committed || len(told) != 1 || told[0] != path+" -v" {
		t.Errorf("%v, committed %v, told %q", err, q.committed, told)
	}
}

// Clients that send their messages slowly keep no filter from those of others.
func TestAFilterIsStartedWhenTheWholeMessageIsHere(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	s, _ := filterSubmitter(t, script(t, "wc -c >>"+log), time.Minute)
	const size = 3 * spoolMemory
	var slow []*Transaction
	for range 4 * s.d.Filters.MaxRunning {
		tx := opened(t, s)
		tx.Write([]byte(strings.Repeat("line of\n", size/8)))
		slow = append(slow, tx)
	}
	quick := opened(t, s)
	quick.Write([]byte("Subject: x\n\n"))
	if _, err := quick.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tx := range slow[1:] {
		tx.Abort()
	}
	if _, err := slow[0].Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile(log)
	if f := strings.Fields(string(told)); err != nil || len(f) != 2 || f[0] != strconv.FormatInt(quick.Size(), 10) || f[1] != strconv.FormatInt(slow[0].Size(), 10) || slow[0].Size() < size {
		t.Errorf("the filter got %q, %v; want %d and %d", f, err, quick.Size(), slow[0].Size())
	}
}

func TestAMessageWaitsForItsFilter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := filterSubmitter(t, script(t, "cat >/dev/null; echo >"+dir+"/$$; while [ ! -e "+dir+"/go ]; do sleep 0.01; done"), time.Minute)
	s.d.Filters.MaxRunning = 1
	done := make(chan error, 2)
	first, second := opened(t, s), opened(t, s)
	commit := func(tx *Transaction) {
		_, err := tx.Commit(t.Context())
		done <- err
	}
	go commit(first)
	for list, _ := os.ReadDir(dir); len(list) == 0; list, _ = os.ReadDir(dir) {
		runtime.Gosched()
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := opened(t, s).Commit(impatient)
	if e := reason.As(err); e == nil || e.Text(reason.English) != "too many filters are running" {
		t.Errorf("%v", e)
	}
	go commit(second)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestASpoolGivesBackWhatItTook(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := spool{}
		defer s.close()
		var want, got bytes.Buffer
		for range rapid.IntRange(0, 5).Draw(t, "writes") {
			p := bytes.Repeat([]byte{byte(want.Len())}, rapid.IntRange(0, spoolMemory).Draw(t, "size"))
			want.Write(p)
			if n, err := s.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		if n, err := s.WriteTo(&got); n != int64(want.Len()) || err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("%d of %d bytes, %v", n, want.Len(), err)
		}
	})
}

func TestASpoolThatCannotBeWrittenDefersWhatAFilterWouldGet(t *testing.T) {
	t.Parallel()
	s, _ := filterSubmitter(t, script(t, "cat >/dev/null"), time.Minute)
	s.d.Filters.Spool = filepath.Join(t.TempDir(), "gone")
	tx := opened(t, s)
	tx.Write([]byte(strings.Repeat("line of\n", spoolMemory/8)))
	_, err := tx.Commit(t.Context())
	if e := reason.As(err); e == nil || e.Class != reason.Temporary {
		t.Errorf("%v", e)
	}
}
