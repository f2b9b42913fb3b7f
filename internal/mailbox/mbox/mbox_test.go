package mbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	"github.com/postilion/postilion/internal/fs/fstest"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mailbox/mbox"
)

const head = "From joe@a.test Sat Nov 21 19:33:33 2026\nReturn-Path: <joe@a.test>\nDelivered-To: joe-box@mx.test\n"

func store(t *testing.T) (*mbox.Store, string) {
	t.Helper()
	dir := t.TempDir()
	files, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &mbox.Store{FS: files}, dir
}

func add(t *testing.T, s *mbox.Store, body string) {
	t.Helper()
	if err := s.Append(t.Context(), "box", []byte(head), strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "box"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestVector33FromLinesAreQuoted: `From ` and `>From ` lines get one `>` more.
func TestVector33FromLinesAreQuoted(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"Subject: x\n\nFrom here\n>From there\n>>From\n>>From \n": "Subject: x\n\n>From here\n>>From there\n>>From\n>>>From \n\n",
		"From the first line\n":                                   ">From the first line\n\n",
		"From":                                                    "From\n\n",
		"From ":                                                   ">From \n\n",
		"Fro\nm \n from \nfrom \nXFrom \n":                        "Fro\nm \n from \nfrom \nXFrom \n\n",
		"":                                                        "\n",
		"\n":                                                      "\n\n",
		"no line end":                                             "no line end\n\n",
		">>>":                                                     ">>>\n\n",
		"FrFrom \n>F>From \n":                                     "FrFrom \n>F>From \n\n",
	} {
		s, dir := store(t)
		add(t, s, body)
		if got := read(t, dir); got != head+want {
			t.Errorf("%q became %q, want %q", body, got[len(head):], want)
		}
	}
}

// TestQuotingIsUndoneByTakingOneAway: whatever the pieces it comes in.
func TestQuotingIsUndoneByTakingOneAway(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	rapid.Check(t, func(r *rapid.T) {
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"From ", ">", "F", "rom ", "\n", "x", "From \n", "\r"}), 0, 30).Draw(r, "body"), "")
		os.Remove(filepath.Join(dir, "box"))
		if err := s.Append(context.Background(), "box", []byte(head), iotest.OneByteReader(strings.NewReader(body))); err != nil {
			r.Fatal(err)
		}
		var b strings.Builder
		for line := range strings.SplitAfterSeq(strings.TrimSuffix(read(t, dir)[len(head):], "\n"), "\n") {
			if rest := strings.TrimLeft(line, ">"); strings.HasPrefix(rest, "From ") {
				if rest == line {
					r.Fatalf("a From_ line in %q", line)
				}
				line = line[1:]
			}
			b.WriteString(line)
		}
		want := body
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if b.String() != want {
			r.Fatalf("%q came back as %q", body, b.String())
		}
	})
}

func TestAMessageStartsAfterAnEmptyLineWhateverIsBefore(t *testing.T) {
	t.Parallel()
	for before, between := range map[string]string{"": "", "x\n\n": "", "x\n": "\n", "x": "\n\n", "\n": "\n"} {
		s, dir := store(t)
		if err := os.WriteFile(filepath.Join(dir, "box"), []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		add(t, s, "body\n")
		if got, want := read(t, dir), before+between+head+"body\n\n"; got != want {
			t.Errorf("after %q: %q, want %q", before, got, want)
		}
	}
}

// A power cut may leave a message's length without its content. Nobody's message gets zeros at its end by that.
func TestZerosThatAPowerCutLeftAreCutOff(t *testing.T) {
	t.Parallel()
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	for before, after := range map[string]string{
		"From a\n\nx\n\n" + zeros(1):                       "From a\n\nx\n\n",
		"From a\n\nx\n\n" + zeros(4096*3):                  "From a\n\nx\n\n",
		strings.Repeat("x", 4093) + "\n\n\n" + zeros(5000): strings.Repeat("x", 4093) + "\n\n\n",
		"From a\n\nx\n\nFrom b\n\nhal" + zeros(3000):       "From a\n\nx\n\nFrom b\n\nhal" + zeros(3000) + "\n\n",
		"x\n" + zeros(10):                                  "x\n" + zeros(10) + "\n\n",
		zeros(5000):                                        zeros(5000) + "\n\n",
		"From a\n\nx\n\n" + zeros(2<<20):                   "From a\n\nx\n\n" + zeros(2<<20) + "\n\n",
		"\x00\n\n":                                         "\x00\n\n",
	} {
		s, dir := store(t)
		if err := os.WriteFile(filepath.Join(dir, "box"), []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		add(t, s, "body\n")
		if got, want := read(t, dir), after+head+"body\n\n"; got != want {
			t.Errorf("after %.40q, %d bytes: %d bytes, want %d", before, len(before), len(got), len(want))
		}
	}
}

func TestAFailureLeavesTheMailboxAsItWas(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	add(t, s, "first\n")
	before := read(t, dir)
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 200_000)), iotest.ErrReader(syscall.EIO))
	err := s.Append(t.Context(), "box", []byte(head), broken)
	if e, ok := errors.AsType[*mbox.Error](err); !ok || e.Op != "read" || !errors.Is(err, syscall.EIO) {
		t.Errorf("the error is %v", err)
	}
	if read(t, dir) != before {
		t.Error("a half message stayed")
	}
	for _, name := range []string{".", "missing/box"} {
		if e, ok := errors.AsType[*mbox.Error](s.Append(t.Context(), name, nil, strings.NewReader(""))); !ok || e.Op != "open" {
			t.Errorf("%s: %v", name, e)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), "pipe", nil, strings.NewReader("")); err == nil {
		t.Error("a pipe took a message")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestALockedMailboxIsWaitedForThirtySeconds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	for how, hold := range map[string]func() (release func()){
		"flock": func() func() {
			f, err := files.OpenFile("box", os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil || f.TryLock() != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }
		},
		"dot lock": func() func() {
			if err := os.WriteFile(filepath.Join(dir, "box.lock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { os.Remove(filepath.Join(dir, "box.lock")) }
		},
	} {
		release := hold()
		synctest.Test(t, func(t *testing.T) {
			s := &mbox.Store{FS: files, StaleLock: 100 * 365 * 24 * time.Hour}
			begin := time.Now()
			err := s.Append(t.Context(), "box", nil, strings.NewReader("x"))
			if took := time.Since(begin); !errors.Is(err, fs.ErrLocked) || took < 30*time.Second || took > 31*time.Second {
				t.Errorf("%s: %v after %v", how, err, took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := s.Append(ctx, "box", nil, strings.NewReader("x")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", how, err)
			}
		})
		release()
		if err := (&mbox.Store{FS: files}).Append(t.Context(), "box", nil, strings.NewReader("x")); err != nil {
			t.Errorf("%s released: %v", how, err)
		}
	}
	// One that was left behind is taken away.
	if err := os.WriteFile(filepath.Join(dir, "box.lock"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-6 * time.Minute)
	if err := os.Chtimes(filepath.Join(dir, "box.lock"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := (&mbox.Store{FS: files}).Append(t.Context(), "box", nil, strings.NewReader("x")); err != nil {
		t.Errorf("a stale lock: %v", err)
	}
}

func TestManyAppendWholeMessagesAtOnce(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	s.Barrier = &fs.Barrier{FS: s.FS}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { add(t, s, fmt.Sprintf("message %d\n", i)) })
	}
	wg.Wait()
	got := read(t, dir)
	for i := range 20 {
		if strings.Count(got, fmt.Sprintf("\n\n%smessage %d\n\n", head, i))+strings.Count(got[:len(head)+20], fmt.Sprintf("message %d\n\n", i)) != 1 {
			t.Errorf("message %d is not there once", i)
		}
	}
}

// The scenario of crashes and faults: messages are appended one after another to two mailboxes, one
// of which was there.
func crashBody(i int) string { return strings.Repeat(fmt.Sprintf("From message %d\n", i), 400) }

func crashScenario(cuts int) crashfs.Scenario[int] {
	boxes := []string{"home/old", "home/new"}
	const old = "From x\n\nwas there\n\n"
	return crashfs.Scenario[int]{
		Cuts: cuts, Twice: true,
		Prepare: func(files fs.FS) error {
			if err := files.Mkdir("home", 0o700); err != nil {
				return err
			}
			f, err := files.OpenFile(boxes[0], os.O_WRONLY|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			_, err = f.Write([]byte(old))
			return errors.Join(err, f.Close(), files.SyncAll())
		},
		Run: func(files fs.FS, ack func(int)) error {
			s := &mbox.Store{FS: files, Barrier: &fs.Barrier{FS: files}, StaleLock: time.Nanosecond}
			for i := range 8 {
				if err := s.Append(context.Background(), boxes[i%2], []byte(head), strings.NewReader(crashBody(i))); err != nil {
					return err
				}
				ack(i)
			}
			return nil
		},
		Check: func(files fs.FS, acked []int) error {
			s := &mbox.Store{FS: files, StaleLock: time.Nanosecond}
			for b, name := range boxes {
				if err := s.Append(context.Background(), name, []byte(head), strings.NewReader("the next one\n")); err != nil {
					return err
				}
				got, err := content(files, name)
				if err != nil {
					return err
				}
				if b == 0 && !strings.HasPrefix(got, old) {
					return fmt.Errorf("%s lost what was there", name)
				}
				if !strings.HasSuffix(got, "\n\n"+head+"the next one\n\n") && got != head+"the next one\n\n" {
					return fmt.Errorf("%s: the next message does not stand alone: %q", name, got[max(0, len(got)-200):])
				}
				for _, i := range acked {
					if want := head + strings.ReplaceAll(crashBody(i), "From", ">From") + "\n"; i%2 == b && strings.Count(got, want) != 1 {
						return fmt.Errorf("message %d was acknowledged and is not in %s once", i, name)
					} else if _, rest, ok := strings.Cut(got, want); ok && i%2 == b {
						if after := strings.TrimLeft(rest, "\x00"); len(after) < len(rest) && strings.HasPrefix(after, "\n\nFrom ") {
							return fmt.Errorf("message %d in %s got %d zeros at its end", i, name, len(rest)-len(after))
						}
					}
				}
			}
			return nil
		},
	}
}

func content(files fs.FS, name string) (string, error) {
	f, err := files.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

func TestAPowerCutAnywhereLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, crashScenario(400))
}

func TestTheCrashTestFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]plant.Bug{"no sync of files": plant.NoFileSync, "no sync of folders": plant.NoDirSync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := crashScenario(400)
			s.Wrap = func(files fs.FS) fs.FS { return plant.Wrap(files, bug) }
			crashfs.MustFail(t, s)
		})
	}
}

func TestADiskThatFailsOnceLosesNothing(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		for n := 1; ; n++ {
			files := crashfs.New(uint64(n))
			sc := crashScenario(0)
			if err := sc.Prepare(files); err != nil {
				t.Fatal(err)
			}
			stop := files.Inject(crashfs.Fault{Kinds: crashfs.OpChanging | crashfs.OpOpen, Skip: n - 1, Err: cause, Times: 1})
			s := &mbox.Store{FS: files, StaleLock: time.Nanosecond}
			var acked []int
			for i := range 4 {
				err := s.Append(context.Background(), []string{"home/old", "home/new"}[i%2], []byte(head), strings.NewReader(crashBody(i)))
				if err != nil {
					if e, ok := errors.AsType[*mbox.Error](err); !ok || !errors.Is(err, cause) {
						t.Errorf("fault %d: %v", n, e)
					}
					continue
				}
				acked = append(acked, i)
			}
			stop()
			if err := sc.Check(files, acked); err != nil {
				t.Errorf("fault %d: %v", n, err)
			}
			if n > 60 {
				break
			}
		}
	}
}

func TestAWriteThatFailsAtTheCloseIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	s.FS = fstest.LateFailure{FS: s.FS, Err: syscall.EDQUOT}
	err := s.Append(t.Context(), "box", []byte(head), strings.NewReader("body\n"))
	if e, ok := errors.AsType[*mbox.Error](err); !ok || e.Op != "write" || !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("the error is %v", err)
	}
}
