package local_test

import (
	"context"
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	ourfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	ours "github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mime"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

// single is a directory of one account, whose mailbox is box/1.
type single struct{ a directory.Account }

func (single) Find(context.Context, string, []string) (directory.Found, error) {
	return directory.Found{}, directory.ErrNotFound
}
func (s single) Account(context.Context, uint64) (*directory.Account, error) { return &s.a, nil }

type quotaWorld struct {
	*world
	clock  *clock.Fake
	owner  *single
	events *tracetest.Events
}

func newQuotaWorld(t *testing.T, o local.Options, a directory.Account) *quotaWorld {
	t.Helper()
	a.ID, a.Mailbox = 1, "box/1"
	if a.Address.Domain == "" {
		a.Address = ours.Address{Local: "joe", Domain: "example.test"}
	}
	root := t.TempDir()
	files, err := osfs.New(root)
	if err != nil {
		t.Fatal(err)
	}
	o.Maildir.Host = "mx.example.test"
	w := &quotaWorld{clock: clock.NewFake(noon), owner: &single{a}, events: new(tracetest.Events)}
	w.world = &world{root: root, Target: local.New(o, local.Deps{FS: files, Barrier: &ourfs.Barrier{FS: files}, Directory: w.owner, Clock: w.clock, Recorder: w.events})}
	return w
}

// put delivers a message whose file has so many bytes, and returns its verdict.
func (w *quotaWorld) put(t *testing.T, size int) *reason.Error {
	t.Helper()
	const head = "Return-Path: <sender@example.org.test>\nDelivered-To: user1@example.test\n"
	j := job(strings.Repeat("x", size-len(head)-1)+"\n", 1)
	j.Recipients[0].From = ours.Address{Local: "sender", Domain: "example.org.test"}
	return w.Deliver(context.Background(), j)[0].Err
}

// warnings returns the warnings in the mailbox.
func (w *quotaWorld) warnings(t *testing.T) (list []string) {
	t.Helper()
	for _, c := range w.contents(t, 1) {
		if strings.Contains(c, "overquota@") {
			list = append(list, c)
		}
	}
	return list
}

func TestVector48OwnersAreWarnedAtNinetyPercentAndAtMostDaily(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, local.Options{OverQuota: "permanent"}, directory.Account{QuotaBytes: 10_000})
	for i, c := range []struct {
		size, warnings int
		after          time.Duration
		refused        bool
	}{
		{8000, 0, 0, false},
		{900, 0, 0, false},         // 89 %
		{100, 1, 0, false},         // 90 %
		{100, 1, time.Hour, false}, // and the warning counts
		{5000, 1, 0, true},
		{100, 1, 22*time.Hour + 59*time.Minute, true},
		{100, 2, time.Minute, true}, // a day later, and though the mailbox is full by then
		{100, 2, time.Hour, true},
	} {
		w.clock.Advance(c.after)
		err := w.put(t, c.size)
		if (err != nil) != c.refused {
			t.Errorf("%d: %v", i, err)
		}
		// vdelivermail's exit code 100: permanent.
		if err != nil && (err.Class != reason.Permanent || err.Code != 552 || err.Enhanced != "5.2.2") {
			t.Errorf("%d: %+v", i, err)
		}
		if n := len(w.warnings(t)); n != c.warnings {
			t.Fatalf("%d: %d warnings, want %d", i, n, c.warnings)
		}
	}
	warned := 0
	for _, e := range w.events.All() {
		if e.Kind == trace.Warned && e.Account == "joe@example.test" && strings.Contains(e.Text, " % full: box/1/new/") && !e.Message.IsZero() {
			warned++
		}
	}
	if warned != 2 {
		t.Errorf("%d events of %+v", warned, w.events.All())
	}
	// What was remembered is so by every process, and the sum counts the warnings.
	info, err := os.Stat(w.root + "/box/1/quotawarn")
	if err != nil || !info.ModTime().Equal(w.clock.Now().Add(-time.Hour)) {
		t.Errorf("quotawarn: %v, %v", info, err)
	}
	sum, err := os.ReadFile(w.root + "/box/1/maildirsize")
	if err != nil || !strings.HasPrefix(string(sum), "10000S\n") {
		t.Errorf("maildirsize %q, %v", sum, err)
	}
}

// Mail that is refused at RCPT leads to no delivery; its owner is warned all the same.
func TestOwnersOfFullMailboxesAreWarnedWhenMailIsRefused(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, local.Options{}, directory.Account{QuotaMessages: 2})
	if err := w.put(t, 200); err != nil {
		t.Fatal(err)
	}
	if err := w.put(t, 200); err != nil {
		t.Fatal(err)
	}
	os.Remove(w.root + "/box/1/quotawarn") // as if the warning was of another day
	before := len(w.warnings(t))
	for range 3 {
		if err := w.Room(context.Background(), &w.owner.a, 0); reason.As(err).Reason != reason.QuotaExceeded.Reason {
			t.Errorf("room: %v", err)
		}
	}
	if n := len(w.warnings(t)) - before; n != 1 {
		t.Errorf("%d warnings", n)
	}
	if last := w.warnings(t)[before]; !strings.Contains(last, " of 2 messages (1") {
		t.Errorf("%s", last)
	}
	// A large message that does not fit into a mailbox with room warns nobody: anyone could send it.
	w = newQuotaWorld(t, local.Options{}, directory.Account{QuotaBytes: 1000})
	if err := w.put(t, 100_000); err == nil {
		t.Error("taken")
	}
	if n := len(w.warnings(t)); n != 0 {
		t.Errorf("%d warnings", n)
	}
}

func TestTheWarningIsAMessageThatTellsHowToMakeRoom(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "warning")
	if err := os.WriteFile(file, []byte("From: Help <help@example.test>\nSubject: {percent} %, {address}\n\n{used} of {quota} at {domain}, {unknown}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o               local.QuotaOptions
		from, subject   string
		words, notThere []string
	}{
		"built in": {from: "postmaster@example.test", subject: "Your mailbox is 95 % full", words: []string{"leaves messages on the server", "joe@example.test holds 9.3 KiB of 9.8 KiB (95 %)", "postmaster@example.test"}, notThere: []string{"{", "서버"}},
		"in Korean and Japanese": {o: local.QuotaOptions{Language: []string{"ko", "ja", "ko"}}, from: "postmaster@example.test",
			subject: "사서함이 95 % 찼습니다 / メールボックスの使用量が 95 % です", words: []string{"서버에 메시지", "サーバーにメールを残している"}, notThere: []string{"{", "leave"}},
		"of a file":              {o: local.QuotaOptions{Text: file}, from: "help@example.test", subject: "95 %, joe@example.test", words: []string{"9.3 KiB of 9.8 KiB at example.test, {unknown}\n"}, notThere: []string{"server"}},
		"of a file that is gone": {o: local.QuotaOptions{Text: file + ".gone"}, from: "postmaster@example.test", subject: "Your mailbox is 95 % full", words: []string{"leaves messages"}},
	} {
		w := newQuotaWorld(t, local.Options{Quota: tt.o}, directory.Account{QuotaBytes: 10_000})
		if err := w.put(t, 9500); err != nil {
			t.Fatal(err)
		}
		list := w.warnings(t)
		if len(list) != 1 {
			t.Fatalf("%s: %d warnings", name, len(list))
		}
		m, err := mail.ReadMessage(strings.NewReader(list[0]))
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, list[0])
		}
		for field, want := range map[string]string{"Auto-Submitted": "auto-generated", "Return-Path": "<>", "Delivered-To": "joe@example.test", "To": "joe@example.test", "Content-Type": "text/plain; charset=utf-8"} {
			if got := m.Header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", name, field, got, want)
			}
		}
		from, err := m.Header.AddressList("From")
		if err != nil || from[0].Address != tt.from {
			t.Errorf("%s: From %v, %v", name, from, err)
		}
		if _, err := m.Header.Date(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := mime.DecodeWords(m.Header.Get("Subject")); got != tt.subject {
			t.Errorf("%s: Subject %q, want %q", name, got, tt.subject)
		}
		for _, s := range tt.words {
			if !strings.Contains(list[0], s) {
				t.Errorf("%s: %q is not in\n%s", name, s, list[0])
			}
		}
		for _, s := range tt.notThere {
			if strings.Contains(list[0], s) && tt.o.Text == "" {
				t.Errorf("%s: %q is in\n%s", name, s, list[0])
			}
		}
	}
}

func TestASoftQuotaMayBePassedForAWhile(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, local.Options{Quota: local.QuotaOptions{Warn: -1, Extra: 20}}, directory.Account{QuotaBytes: 10_000})
	for i, c := range []struct {
		size  int
		after time.Duration
		taken bool
	}{
		{9900, 0, true},
		{1000, 0, true},                         // 109 %: the grace begins
		{2000, 0, false},                        // beyond the hard limit of 120 %
		{100, 6*24*time.Hour + time.Hour, true}, // within a week
		{100, 23 * time.Hour, false},            // after it
	} {
		w.clock.Advance(c.after)
		if err := w.put(t, c.size); (err == nil) != c.taken {
			t.Errorf("%d: %v", i, err)
		}
	}
	// Below the quota the time begins anew.
	for _, p := range must(filepath.Glob(w.root + "/box/1/new/*,S=9900,*"))(t) {
		os.Remove(p)
	}
	os.Remove(w.root + "/box/1/maildirsize")
	if err := w.put(t, 100); err != nil {
		t.Error(err)
	}
	if err := w.put(t, 9500); err != nil {
		t.Error("the time did not begin anew:", err)
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestManyDeliveriesAtOnceWarnOnce(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, local.Options{}, directory.Account{QuotaBytes: 100_000})
	if err := w.put(t, 95_000); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(25 * time.Hour)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { w.put(t, 150) })
	}
	wg.Wait()
	if n := len(w.warnings(t)); n != 2 {
		t.Errorf("%d warnings of two days", n)
	}
}

func TestWrongQuotaOptionsAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, tt := range []struct {
		o    local.QuotaOptions
		file string
		want string
	}{
		{o: local.QuotaOptions{Warn: 101}, want: "quota.warn: 101: want a percentage from 1 to 100, or -1"},
		{o: local.QuotaOptions{Every: -1}, want: "quota.warn_every: -1ns: want a duration that is not negative"},
		{o: local.QuotaOptions{Extra: -1}, want: "quota.extra: -1: want a percentage from 0 to 1000"},
		{o: local.QuotaOptions{Grace: -1}, want: "quota.grace: -1ns: want a duration that is not negative"},
		{o: local.QuotaOptions{Language: []string{"de"}}, want: `quota.warn_languages: "de": want en, ko or ja`},
		{o: local.QuotaOptions{Text: "w"}, want: `quota.warn_text: "w": want the absolute path of a file`},
		{o: local.QuotaOptions{Text: dir + "/none"}, want: "quota.warn_text: DIR/none: there is no such file"},
		{file: "Subject: x\n", want: "quota.warn_text: FILE: want a header, an empty line and a text"},
		{file: "Subject: \xff\n\nx\n", want: "quota.warn_text: FILE: want UTF-8"},
		{file: "From: x\n\nx\n", want: "quota.warn_text: FILE:1: want a Subject field in the header"},
		{file: "Subject: x\n y\nno field\n\nx\n", want: `quota.warn_text: FILE:3: "no field": want a header field, such as Subject: Your mailbox is nearly full`},
	} {
		path := fmt.Sprintf("%s/%d", dir, i)
		if tt.file != "" {
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			tt.o.Text = path
		}
		err := local.Options{Quota: tt.o}.Validate()
		if err == nil {
			t.Errorf("%+v is taken", tt.o)
			continue
		}
		got := strings.NewReplacer(path, "FILE", dir, "DIR").Replace(err.Error())
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}
