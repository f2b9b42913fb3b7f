package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	ourfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/postilion/postilion/internal/deliver/runas.(*starters).work"))
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// accounts is a directory of the accounts 1, 2, … with mailboxes of that name.
type accounts struct {
	quota map[uint64]int64
	down  bool
}

func (accounts) Find(context.Context, string, []string) (directory.Found, error) {
	return directory.Found{}, errors.New("not asked by deliveries")
}

func (a accounts) Account(_ context.Context, n uint64) (*directory.Account, error) {
	switch {
	case a.down:
		return nil, errors.New("the directory is down")
	case n > 100:
		return nil, fmt.Errorf("account %d: %w", n, directory.ErrNotFound)
	}
	return &directory.Account{ID: n, Mailbox: fmt.Sprintf("box/%d", n), QuotaBytes: a.quota[n]}, nil
}

type world struct {
	*local.Target
	root string
}

func newWorld(t *testing.T, o local.Options, dir directory.Reader, wrap func(ourfs.FS) ourfs.FS) *world {
	t.Helper()
	root := t.TempDir()
	files, err := osfs.New(root)
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		files = wrap(files)
	}
	o.Maildir.Host = "mx.example.test"
	return &world{
		root: root,
		Target: local.New(o, local.Deps{
			FS: files, Barrier: &ourfs.Barrier{FS: files}, Directory: dir, Clock: clock.NewFake(noon),
		}),
	}
}

// job is a message for the accounts of the given numbers.
func job(body string, numbers ...uint64) *deliver.Job {
	j := &deliver.Job{
		Envelope: &mail.Envelope{ID: id.Source{}.New(), Accepted: noon.Add(time.Second), Size: int64(len(body))},
		Body:     func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil },
	}
	for i, n := range numbers {
		j.Recipients = append(j.Recipients, deliver.Recipient{
			N: i, Dest: strconv.FormatUint(n, 10),
			Final: mail.Address{Local: fmt.Sprintf("user%d", n), Domain: "example.test"},
			From:  mail.Address{Local: "sender", Domain: "example.org.test"},
		})
	}
	return j
}

// contents returns what lies in new/ of an account's mailbox.
func (w *world) contents(t *testing.T, account uint64) []string {
	t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("%s/box/%d/new/*", w.root, account))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(b))
	}
	return list
}

func TestEachMailboxGetsItsReturnPathAndDeliveredTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, local.Options{}, accounts{}, nil)
	j := job("Subject: x\n\nhello\n", 1, 2, 3)
	j.Recipients[1].From = mail.Address{}
	j.Recipients[2].From = mail.Address{Local: "a b\nc", Domain: "example.test"}
	j.Recipients[2].Final = mail.Address{Local: "x\ny", Domain: "example.test"}
	for i, v := range w.Deliver(context.Background(), j) {
		if v.Err != nil || !strings.HasPrefix(v.Text, fmt.Sprintf("box/%d/new/", i+1)) {
			t.Errorf("recipient %d: %v, %q", i, v.Err, v.Text)
		}
	}
	for n, want := range map[uint64]string{
		1: "Return-Path: <sender@example.org.test>\nDelivered-To: user1@example.test\n",
		2: "Return-Path: <>\nDelivered-To: user2@example.test\n",
		3: "Return-Path: <\"a b\\_c\"@example.test>\nDelivered-To: x_y@example.test\n",
	} {
		if got := w.contents(t, n); len(got) != 1 || got[0] != want+"Subject: x\n\nhello\n" {
			t.Errorf("mailbox %d: %q", n, got)
		}
	}
}

func TestOnlyTheByteExactDeliveredToLineOfTheHeaderIsALoop(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("X-Filler: "+strings.Repeat("y", 70)+"\n", 3000)
	for body, loops := range map[string]bool{
		"Delivered-To: user1@example.test\n\n":              true,
		long + "Delivered-To: user1@example.test\n\nbody\n": true,
		"Delivered-To: user1@example.test \n\n":             false,
		"delivered-to: user1@example.test\n\n":              false,
		"Delivered-To: user11@example.test\n\n":             false,
		"Delivered-To: user1@example.test":                  false, // no line end: not a line
		"X: y\n\nDelivered-To: user1@example.test\n":        false,
		" Delivered-To: user1@example.test\n\n":             false,
	} {
		w := newWorld(t, local.Options{}, accounts{}, nil)
		v := w.Deliver(context.Background(), job(body, 1, 2))
		if got := v[0].Err != nil; got != loops {
			t.Errorf("%.50q: error %v, want a loop: %v", body, v[0].Err, loops)
		}
		if loops && (v[0].Err.Enhanced != "5.4.6" || v[0].Err.Class != reason.Permanent || len(w.contents(t, 1)) != 0) {
			t.Errorf("%.50q: %v", body, v[0].Err)
		}
		if v[1].Err != nil || len(w.contents(t, 2)) != 1 {
			t.Errorf("%.50q: the other mailbox: %v", body, v[1].Err)
		}
	}
}

func TestTroubleIsToldPerRecipient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, local.Options{OverQuota: "permanent"}, accounts{quota: map[uint64]int64{2: 5}}, nil)
	v := w.Deliver(context.Background(), job("Subject: long enough\n\n", 1, 2, 999))
	if v[0].Err != nil {
		t.Error(v[0].Err)
	}
	if e := v[1].Err; e == nil || e.Enhanced != "5.2.2" || e.Code != 552 || !strings.Contains(e.Text(reason.English), "Quota exceeded") {
		t.Errorf("over quota: %v", e)
	}
	full, _ := accounts{quota: map[uint64]int64{2: 5}}.Account(context.Background(), 2)
	if err := w.Room(context.Background(), full, 6); reason.As(err).Enhanced != "5.2.2" {
		t.Errorf("room for 6 bytes of 5: %v", err)
	}
	if err := w.Room(context.Background(), full, 5); err != nil {
		t.Errorf("room for 5 bytes of 5: %v", err)
	}
	if e := v[2].Err; e == nil || e.Enhanced != "5.1.1" {
		t.Errorf("no such account: %v", e)
	}
	w = newWorld(t, local.Options{}, accounts{down: true}, nil)
	if e := w.Deliver(context.Background(), job("x\n", 1))[0].Err; e == nil || e.Class != reason.Temporary {
		t.Errorf("directory down: %v", e)
	}
	w = newWorld(t, local.Options{}, accounts{}, nil)
	j := job("x\n", 1)
	j.Body = func() (io.ReadCloser, error) { return nil, errors.New("no body") }
	if e := w.Deliver(context.Background(), j)[0].Err; e == nil || e.Class != reason.Temporary {
		t.Errorf("no body: %v", e)
	}
}

// failing is a file system whose creations of files fail, or hang until released.
type failing struct {
	ourfs.FS
	err  error
	hang *sync.WaitGroup
}

func (f failing) OpenFile(name string, flag int, perm ourfs.FileMode) (ourfs.File, error) {
	if f.hang != nil {
		f.hang.Wait()
	}
	if f.err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
	}
	return f.FS.OpenFile(name, flag, perm)
}

func TestErrorsOfTheDiskGetTheirCodes(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		syscall.ENOSPC: "4.3.1", syscall.EDQUOT: "4.2.2", syscall.EIO: "4.3.0", syscall.EACCES: "4.3.0",
	} {
		w := newWorld(t, local.Options{}, accounts{}, func(under ourfs.FS) ourfs.FS { return failing{FS: under, err: err} })
		e := w.Deliver(context.Background(), job("x\n", 1))[0].Err
		if e == nil || e.Enhanced != want || e.Class != reason.Temporary || !errors.Is(e, err) {
			t.Errorf("%v: %v, want %s", err, e, want)
		}
	}
}

func TestAHangingDiskHoldsNoCallerPastItsContext(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		under, err := osfs.New(root)
		if err != nil {
			t.Fatal(err)
		}
		var hang sync.WaitGroup
		hang.Add(1)
		files := failing{FS: under, hang: &hang, err: syscall.EIO}
		target := local.New(local.Options{MaxJobs: 2}, local.Deps{
			FS: files, Barrier: &ourfs.Barrier{FS: files}, Directory: accounts{}, Clock: clock.NewFake(noon),
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		for range 3 { // the third finds no free slot
			v := target.Deliver(ctx, job("x\n", 1))
			if v[0].Err == nil || v[0].Err.Class != reason.Temporary {
				t.Errorf("verdict %v", v[0].Err)
			}
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("callers were held for %v", took)
		}
		hang.Done()
		synctest.Wait()
	})
}

func TestAMessageOlderThanTheProcessLooksForItsFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, local.Options{}, accounts{}, nil)
	j := job("x\n", 1)
	j.Envelope.Accepted = noon.Add(-time.Second)
	w.Deliver(context.Background(), j)
	if err := os.MkdirAll(w.root+"/box/1/cur", 0o700); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(w.root + "/box/1/new/*")
	if err := os.Rename(paths[0], w.root+"/box/1/cur/"+filepath.Base(paths[0])+":2,S"); err != nil {
		t.Fatal(err)
	}
	if v := w.Deliver(context.Background(), j)[0]; v.Err != nil || !v.Replay || !strings.Contains(v.Text, "before a restart") || len(w.contents(t, 1)) != 0 {
		t.Errorf("second delivery: %+v", v)
	}
}

func TestAbandonedFilesAreRemovedOnceADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, local.Options{}, nil, nil)
		stale := filepath.Join(w.root, "example.test", "joe", "tmp", "stale")
		litter := func() {
			t.Helper()
			old := time.Now().Add(-37 * time.Hour)
			err := errors.Join(os.MkdirAll(filepath.Dir(stale), 0o700), os.MkdirAll(filepath.Join(w.root, "example.test", "joe", "new"), 0o700),
				os.WriteFile(stale, nil, 0o600), os.Chtimes(stale, old, old))
			if err != nil {
				t.Fatal(err)
			}
		}
		there := func() bool { _, err := os.Lstat(stale); return err == nil }
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.Clean(ctx) }()
		for day := range 3 {
			litter()
			if day > 0 {
				time.Sleep(23 * time.Hour)
				if !there() {
					t.Errorf("day %d: cleaned too early", day)
				}
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if there() {
				t.Errorf("day %d: not cleaned", day)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
