package maildir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/fstest"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/reason"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a Store on a folder of its own.
type world struct {
	*maildir.Store
	root  string
	fs    fs.FS
	clock *clock.Fake
}

func newWorld(t testing.TB, o maildir.Options) *world {
	t.Helper()
	root := t.TempDir()
	files, err := osfs.New(root)
	if err != nil {
		t.Fatal(err)
	}
	if o.Host == "" {
		o.Host = "mx.example.test"
	}
	w := &world{root: root, fs: files, clock: clock.NewFake(noon)}
	w.Store = maildir.New(o, maildir.Deps{FS: files, Barrier: &fs.Barrier{FS: files}, Clock: w.clock})
	return w
}

func message(n byte) id.ID {
	v := id.Source{Clock: clock.NewFake(noon)}.New()
	copy(v[8:], []byte{0, 0, 0, 0, 0, 0, 0, n})
	return v
}

func text(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// deliver delivers one message that must arrive.
func (w *world) deliver(t testing.TB, body string, d maildir.Delivery) maildir.Outcome {
	t.Helper()
	o := w.Deliver(context.Background(), text(body), []maildir.Delivery{d})[0]
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	return o
}

// files lists the files below the root with their contents.
func (w *world) files(t testing.TB) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(w.root, path)
		got[filepath.ToSlash(rel)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestADeliveryIsWholeAndNamedByMessageAndRecipient(t *testing.T) {
	t.Parallel()
	for _, link := range []bool{false, true} {
		w := newWorld(t, maildir.Options{Host: "a/b:c.test", Link: link})
		m := message(1)
		o := w.deliver(t, "Subject: x\n\nbody\n", maildir.Delivery{Mailbox: "example.test/joe", Message: m, N: 3, Prefix: []byte("Return-Path: <>\n")})
		want := fmt.Sprintf("example.test/joe/new/%d.%sR3.a\\057b\\072c.test,S=33,W=37", noon.Unix(), m)
		if o.Path != want || o.Replay {
			t.Errorf("path %q, want %q, replay %v", o.Path, want, o.Replay)
		}
		if diff := cmp.Diff(map[string]string{want: "Return-Path: <>\nSubject: x\n\nbody\n"}, w.files(t)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSizesInNamesAreThoseOfTheFileAndOfTheWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{Host: "h"})
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"\n", "\r\n", "\r", "x", strings.Repeat("y\n", 40000), strings.Repeat("z\r", 32768)}), 0, 8).Draw(r, "body"), "")
		o := w.Deliver(context.Background(), text(body), []maildir.Delivery{{Mailbox: "m", Message: message(1), N: n, Prefix: []byte("P: q\n")}})[0]
		if o.Err != nil {
			r.Fatal(o.Err)
		}
		whole := "P: q\n" + body
		wire := len(strings.ReplaceAll(strings.ReplaceAll(whole, "\r\n", "\n"), "\n", "\r\n"))
		if want := fmt.Sprintf(",S=%d,W=%d", len(whole), wire); !strings.HasSuffix(o.Path, want) {
			r.Fatalf("%s, want %s", o.Path, want)
		}
		got, err := os.ReadFile(w.root + "/" + o.Path)
		if err != nil || string(got) != whole {
			r.Fatalf("content differs (%v)", err)
		}
		os.Remove(w.root + "/" + o.Path)
	})
}

func TestARepeatedDeliveryFindsItsOwnFile(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(string) string{
		"still in new":     func(p string) string { return p },
		"read by somebody": func(p string) string { return strings.Replace(p, "/new/", "/cur/", 1) + ":2,FS" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, maildir.Options{})
			d := maildir.Delivery{Mailbox: "m", Message: message(1), N: 2}
			first := w.deliver(t, "a\n", d)
			if err := w.fs.Rename(first.Path, move(first.Path)); err != nil {
				t.Fatal(err)
			}
			d.Again = true
			second := w.deliver(t, "a\n", d)
			if !second.Replay || second.Path != move(first.Path) {
				t.Errorf("replay %v at %s, want the file of the first attempt", second.Replay, second.Path)
			}
			if got := w.files(t); len(got) != 1 {
				t.Errorf("%d files, want one: %v", len(got), got)
			}
			d.N = 3
			if other := w.deliver(t, "a\n", d); other.Replay {
				t.Error("another recipient's delivery was taken for a repetition")
			}
		})
	}
}

func TestASubAddressGoesToItsFolderOnlyWhereThereIsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	if err := w.Create("m", "Lists.Grüße"); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ folder, want string }{
		{"", "m/new/"},
		{"INBOX", "m/new/"},
		{"Lists.Grüße", "m/.Lists.Gr&APwA3w-e/new/"},
		{"unknown", "m/new/"},
		{"../x", "m/new/"},
		{"a/b", "m/new/"},
		{"..", "m/new/"},
		{"a\x00", "m/new/"},
		{"\xff", "m/new/"},
		{strings.Repeat("x", 10000), "m/new/"},
	} {
		o := w.deliver(t, "a\n", maildir.Delivery{Mailbox: "m", Folder: c.folder, Message: message(1), N: i})
		if !strings.HasPrefix(o.Path, c.want) {
			t.Errorf("%.20q went to %s, want %s", c.folder, o.Path, c.want)
		}
	}
	if _, ok := w.files(t)["m/.Lists.Gr&APwA3w-e/maildirfolder"]; !ok {
		t.Error("the folder has no file maildirfolder")
	}
}

func TestOneMailboxsFailureIsNoOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{Batch: 2})
	if err := os.WriteFile(w.root+"/broken", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int32
	open := func() (io.ReadCloser, error) { opened.Add(1); return text("a\n")() }
	refuse := errors.New("veto")
	out := w.Deliver(context.Background(), open, []maildir.Delivery{
		{Mailbox: "a", Message: message(1), N: 0},
		{Mailbox: "broken", Message: message(1), N: 1},
		{Mailbox: "b", Message: message(1), N: 2, Veto: func() error { return refuse }},
		{Mailbox: "c", Message: message(1), N: 3},
	})
	if out[0].Err != nil || out[3].Err != nil {
		t.Errorf("the good ones failed: %v, %v", out[0].Err, out[3].Err)
	}
	if !errors.Is(out[1].Err, syscall.ENOTDIR) || !errors.Is(out[2].Err, refuse) {
		t.Errorf("errors %v, %v", out[1].Err, out[2].Err)
	}
	if got := w.files(t); len(got) != 3 {
		t.Errorf("files left behind: %v", got)
	}
	if opened.Load() != 2 {
		t.Errorf("body opened %d times for two batches", opened.Load())
	}
}

func TestABodyThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	broken := errors.New("body is broken")
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x\n", 100000)), iotestErr{broken})), nil
	}
	out := w.Deliver(context.Background(), open, []maildir.Delivery{{Mailbox: "m", Message: message(1)}})
	if !errors.Is(out[0].Err, broken) {
		t.Errorf("error %v", out[0].Err)
	}
	if got := w.files(t); len(got) != 0 {
		t.Errorf("files left: %d", len(got))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out = w.Deliver(ctx, text("a\n"), []maildir.Delivery{{Mailbox: "m", Message: message(1)}})
	if !errors.Is(out[0].Err, context.Canceled) || len(w.files(t)) != 0 {
		t.Errorf("an ended context: %v", out[0].Err)
	}
}

type iotestErr struct{ err error }

func (e iotestErr) Read([]byte) (int, error) { return 0, e.err }

// Vector 49 of the qmail reference: a sum that says "over" is believed while it is one line and
// 15 minutes young; a file of 5120 bytes is counted anew.
func TestVector49WhenMaildirsizeIsCountedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	q := maildir.Quota{Bytes: 100}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(w.root+"/m/"+sub, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, file string
		old        time.Duration
		over       bool
	}{
		{"one line, fresh", "100S\n9999 1\n", 0, true},
		{"5119 bytes", "100S\n9999 1" + strings.Repeat(" ", 5119-5-6-1) + "\n", 0, true},
		{"one line, 14 minutes", "100S\n9999 1\n", 14 * time.Minute, true},
		{"one line, 16 minutes", "100S\n9999 1\n", 16 * time.Minute, false},
		{"two lines", "100S\n9000 1\n999 1\n", 0, false},
		{"5120 bytes", "100S\n9999 1" + strings.Repeat(" ", 5120-5-6-1) + "\n", 0, false},
		{"of another quota", "200S\n9999 1\n", 0, false},
	} {
		path := w.root + "/m/maildirsize"
		at := noon.Add(-c.old)
		if err := errors.Join(os.WriteFile(path, []byte(c.file), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
		_, err := w.Room("m", q, 1)
		if over := err != nil; over != c.over {
			t.Errorf("%s: %v", c.name, err)
		}
		if content, _ := os.ReadFile(path); (string(content) == c.file) != c.over {
			t.Errorf("%s: maildirsize is %.40q", c.name, content)
		}
	}
}

func TestQuotaIsKeptAsMaildirsizeSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	q := maildir.Quota{Bytes: 100, Messages: 3}
	n := 0
	try := func(body string) error {
		n++
		return w.Deliver(context.Background(), text(body), []maildir.Delivery{{
			Mailbox: "m", Message: message(1), N: n, Size: int64(len(body)), Quota: q,
		}})[0].Err
	}
	ten := "123456789\n"
	if err := errors.Join(try(ten), try(ten)); err != nil {
		t.Fatal(err)
	}
	if u, err := w.Usage("m", q); err != nil || u != (maildir.Usage{Bytes: 20, Messages: 2}) {
		t.Errorf("usage %+v, %v", u, err)
	}
	if err := try(strings.Repeat(ten, 9)); reason.As(err).Reason != reason.QuotaTooSmall.Reason {
		t.Errorf("a message larger than the rest: %v", err)
	}
	if err := try(ten); err != nil {
		t.Fatal(err)
	}
	if err := try(ten); reason.As(err).Reason != reason.QuotaExceeded.Reason {
		t.Errorf("a fourth message of three: %v", err)
	}

	// What a foreign program left: a wrong sum that says "over" is counted anew.
	wrong := "100S,3C\n        9999            9\n           1            1\n"
	if err := os.WriteFile(w.root+"/m/maildirsize", []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Room("m", maildir.Quota{Bytes: 100, Messages: 3}, 1); reason.As(err).Reason != reason.QuotaExceeded.Reason {
		t.Errorf("three messages of three: %v", err)
	}
	got := w.files(t)["m/maildirsize"]
	if want := "100S,3C\n          30            3\n"; got != want {
		t.Errorf("maildirsize %q, want %q", got, want)
	}
	// Another quota, trashed messages and .Trash do not count, other folders do.
	for _, dir := range []string{"m/.Trash/cur", "m/.Sent/cur", "m/cur"} {
		if err := os.MkdirAll(w.root+"/"+dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"1.a:2,ST", "2.b,S=7:2,S"} {
			if err := os.WriteFile(w.root+"/"+dir+"/"+f, []byte("1234567"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if u, err := w.Usage("m", maildir.Quota{Bytes: 1000}); err != nil || u != (maildir.Usage{Bytes: 44, Messages: 5}) {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestManyWritersShareTheirSyncs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for k := range 4 {
				w.deliver(t, "a\n", maildir.Delivery{Mailbox: fmt.Sprintf("d/u%d", i%10), Message: message(byte(k)), N: i})
			}
		})
	}
	wg.Wait()
	if got := len(w.files(t)); got != 200 {
		t.Errorf("%d files, want 200", got)
	}
}

// BenchmarkDeliver is the yardstick's "delivered to Maildirs": 4 KiB, 100 mailboxes.
func BenchmarkDeliver(b *testing.B) {
	body := strings.Repeat(strings.Repeat("x", 63)+"\n", 64)
	for _, writers := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			w := newWorld(b, maildir.Options{})
			for i := range 100 {
				w.Create(fmt.Sprintf("u%d", i), "")
			}
			var next atomic.Int64
			ids := id.Source{}
			var before, after syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for {
						n := next.Add(1)
						if n > int64(b.N) {
							return
						}
						w.deliver(b, body, maildir.Delivery{Mailbox: fmt.Sprintf("u%d", n%100), Message: ids.New(), Prefix: []byte("Return-Path: <a@example.test>\n")})
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/1e3/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func TestAWriteThatFailsAtTheCloseIsNotDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	w.deliver(t, "first\n", maildir.Delivery{Mailbox: "joe", Message: message(1)})
	s := maildir.New(maildir.Options{}, maildir.Deps{FS: fstest.LateFailure{FS: w.fs, Err: syscall.EDQUOT}, Barrier: &fs.Barrier{FS: w.fs}, Clock: w.clock})
	o := s.Deliver(context.Background(), text("second\n"), []maildir.Delivery{{Mailbox: "joe", Message: message(2)}})[0]
	if !errors.Is(o.Err, syscall.EDQUOT) {
		t.Errorf("the error is %v", o.Err)
	}
	for sub, want := range map[string]int{"new": 1, "cur": 0, "tmp": 0} {
		if list, err := os.ReadDir(filepath.Join(w.root, "joe", sub)); err != nil || len(list) != want {
			t.Errorf("%s has %v, %v", sub, list, err)
		}
	}
}

func TestARepeatedDeliveryIsFoundWhereItWentBeforeItsFolderWasMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	d := maildir.Delivery{Mailbox: "joe", Folder: "lists", Message: message(1)}
	first := w.deliver(t, "body\n", d)
	if err := w.Create("joe", "lists"); err != nil {
		t.Fatal(err)
	}
	d.Again = true
	if again := w.deliver(t, "body\n", d); !again.Replay || again.Path != first.Path {
		t.Errorf("%+v, first %+v", again, first)
	}
}
