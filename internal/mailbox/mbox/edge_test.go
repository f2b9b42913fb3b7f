package mbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// hooked is a tree whose openings somebody else may come before.
type hooked struct {
	fs.FS
	before func(name string, flag int) error // its error is the opening's
}

func (h hooked) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	if err := h.before(name, flag); err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return h.FS.OpenFile(name, flag, perm)
}

// writes remembers the sizes of what was written.
type writes []int

func (w *writes) Write(p []byte) (int, error) { *w = append(*w, len(p)); return len(p), nil }

func TestALargeMessageGoesOutInPiecesAndQuoted(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	body := strings.Repeat("From here\n"+strings.Repeat("x", 90)+"\n", 5000)
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(body), "in halves": iotest.HalfReader(strings.NewReader(body)), "by bytes": iotest.OneByteReader(strings.NewReader(body))} {
		if err := (&Store{FS: files}).Append(t.Context(), name, []byte("From a\n"), r); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "From a\n"+strings.ReplaceAll(body, "From here", ">From here")+"\n" {
			t.Errorf("%s: %d bytes came of %d, %v", name, len(got), len(body), err)
		}
	}
	// Neither a line without end nor many short ones are gathered in memory.
	for name, piece := range map[string]string{"one line": strings.Repeat("x", 4096), "empty lines": strings.Repeat("\n", 4096)} {
		var w writes
		q := quoter{w: &w}
		for range 100 {
			if err := q.write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
			if len(q.buf) >= flushAt {
				t.Fatalf("%s: %d bytes are kept back", name, len(q.buf))
			}
		}
		if err := q.end(); err != nil {
			t.Fatal(err)
		}
		for _, n := range w {
			if n >= flushAt+len(piece) {
				t.Errorf("%s: a write of %d bytes", name, n)
			}
		}
		if len(w) > 100*4096/flushAt+2 {
			t.Errorf("%s: %d writes", name, len(w))
		}
	}
}

func TestAFullDiskIsToldByEveryPiece(t *testing.T) {
	t.Parallel()
	full := writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	for _, piece := range []string{strings.Repeat("x", flushAt), strings.Repeat("\n", flushAt)} {
		q := quoter{w: full}
		if err := q.write([]byte(piece)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a piece: %v", err)
		}
	}
	q := quoter{w: full}
	if err := errors.Join(q.write([]byte("x")), q.end()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the end: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A program that files mail away puts another file in the mailbox's place: the message goes into that one.
func TestAMailboxThatIsReplacedIsOpenedAgain(t *testing.T) {
	t.Parallel()
	for what, replace := range map[string]func(box string) error{
		"another file": func(box string) error {
			return errors.Join(os.WriteFile(box+".new", []byte("From new\n\n"), 0o600), os.Rename(box+".new", box))
		},
		"nothing": os.Remove,
	} {
		files, dir := newTree(t)
		box := filepath.Join(dir, "box")
		if err := os.WriteFile(box, []byte("From old\n\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		opened, replaced := 0, false
		s := &Store{FS: hooked{files, func(name string, flag int) error {
			if name == "box" {
				opened++
			}
			if name == "box.lock" && flag&os.O_CREATE != 0 && !replaced {
				replaced = true
				return replace(box)
			}
			return nil
		}}}
		if err := appendTo(s); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"another file": "From new\n\nFrom a\nx\n\n", "nothing": "From a\nx\n\n"}[what]
		if got, err := os.ReadFile(box); err != nil || string(got) != want || opened != 2 {
			t.Errorf("%s: %q after %d openings, %v; want %q", what, got, opened, err, want)
		}
		if _, err := os.Lstat(box + ".lock"); err == nil {
			t.Errorf("%s: the lock stayed", what)
		}
	}
}

// A mailbox that its owner may not read takes messages; how it ends nobody knows.
func TestAMailboxThatCanOnlyBeWrittenTakesMessages(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	box := filepath.Join(dir, "box")
	if err := os.WriteFile(box, []byte("no line end"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{FS: hooked{files, func(name string, flag int) error {
		if name == "box" && flag&os.O_RDWR != 0 {
			return syscall.EACCES
		}
		return nil
	}}}
	if err := appendTo(s); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(box); err != nil || string(got) != "no line endFrom a\nx\n\n" {
		t.Errorf("%q, %v", got, err)
	}
	// Other trouble is not the owner's.
	s.FS = hooked{files, func(name string, flag int) error { return syscall.EMFILE }}
	if e, ok := errors.AsType[*Error](appendTo(s)); !ok || e.Op != "open" || !errors.Is(e, syscall.EMFILE) || e.Error() != "mbox: open: open box: too many open files" {
		t.Errorf("have %v", e)
	}
}

func TestADeviceTakesMessagesWithoutLocks(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	if err := os.Symlink("/dev/null", filepath.Join(dir, "box")); err != nil {
		t.Fatal(err)
	}
	held, err := os.Create(filepath.Join(dir, "box.lock")) // which is not looked at
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	if err := appendTo(&Store{FS: files, LockWait: time.Millisecond}); err != nil {
		t.Error(err)
	}
}

func TestANewMailboxIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	s := &Store{FS: files}
	var lock os.FileInfo
	err := s.Append(t.Context(), "box", []byte("From a\n"), readFunc(func([]byte) (int, error) {
		var err error
		lock, err = os.Lstat(filepath.Join(dir, "box.lock"))
		return 0, errors.Join(err, io.EOF)
	}))
	if err != nil {
		t.Fatal(err)
	}
	box, err := os.Lstat(filepath.Join(dir, "box"))
	if err != nil || box.Mode() != 0o600 || lock.Mode() != 0o500 {
		t.Errorf("mailbox %v, lock %v, %v", box.Mode(), lock.Mode(), err)
	}
}

// A lock of another program that is five minutes old was left behind; a younger one is somebody's.
func TestALockIsLeftBehindAfterFiveMinutes(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]error{5*time.Minute - 30*time.Second: fs.ErrLocked, 5*time.Minute + time.Second: nil} {
		files, dir := newTree(t)
		name, made := filepath.Join(dir, "box.lock"), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(name, []byte("1\n"), 0o600), os.Chtimes(name, made, made)); err != nil {
			t.Fatal(err)
		}
		if err := appendTo(&Store{FS: files, LockWait: 20 * time.Millisecond}); !errors.Is(err, want) {
			t.Errorf("a lock of %v: %v, want %v", age, err, want)
		}
	}
}

// A lock that is a folder or a link is nobody's that we know: it is waited for, and stays.
func TestALockThatIsNoFileIsNotTakenAway(t *testing.T) {
	t.Parallel()
	for what, make := range map[string]func(name string) error{
		"folder": func(name string) error { return os.Mkdir(name, 0o700) },
		"link":   func(name string) error { return os.Symlink("gone", name) },
	} {
		files, dir := newTree(t)
		name := filepath.Join(dir, "box.lock")
		if err := make(name); err != nil {
			t.Fatal(err)
		}
		if err := appendTo(&Store{FS: files, LockWait: 10 * time.Millisecond, StaleLock: time.Nanosecond}); !errors.Is(err, fs.ErrLocked) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(name); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A lock that was taken from a delivery that took very long is its taker's.
func TestALockThatIsAnothersByNowIsNotGivenBack(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	name := filepath.Join(dir, "box.lock")
	b := &box{s: &Store{FS: files}, name: "box"}
	for _, tc := range []struct {
		long  time.Duration
		other bool // another's lock stands there
		stays bool
	}{{0, false, false}, {time.Hour, false, false}, {time.Hour, true, true}} {
		if taken, err := b.takeDot(); err != nil || !taken {
			t.Fatal(taken, err)
		}
		b.dotSince = b.dotSince.Add(-tc.long)
		if tc.other {
			if err := errors.Join(os.WriteFile(name+".other", []byte("1\n"), 0o600), os.Rename(name+".other", name)); err != nil {
				t.Fatal(err)
			}
		}
		b.unlockDot()
		b.unlockDot() // once more does nothing
		if _, err := os.Lstat(name); (err == nil) != tc.stays {
			t.Errorf("%+v: %v", tc, err)
		}
		if len(b.s.held) != 0 {
			t.Errorf("%+v: %d locks are held", tc, len(b.s.held))
		}
	}
}

func TestWhatIsRememberedOfMailboxesHasABound(t *testing.T) {
	t.Parallel()
	files, _ := newTree(t)
	s := &Store{FS: files}
	f, err := files.OpenFile("x", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxSeen + 10 {
		name := fmt.Sprint(i)
		s.setNamed(name, idOf(info))
		s.sighted(name, info)
		if !s.isNamed(name, idOf(info)) || s.isNamed(name, fileID{1, 1}) || len(s.named) > maxSeen || len(s.seen) > maxSeen {
			t.Fatalf("after %d: %d names, %d locks", i, len(s.named), len(s.seen))
		}
	}
	s.setNamed("unknown", fileID{})
	if s.isNamed("unknown", fileID{}) {
		t.Error("a file without an id is taken for known")
	}
}

// Each way to make a delivery durable asks for no more than it needs: the folder's sync once a mailbox.
func TestAMailboxsNameIsSyncedOnce(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		files, dir := newTree(t)
		counted := &counting{FS: files}
		s := &Store{FS: counted}
		if shared {
			s.Barrier = &fs.Barrier{FS: counted}
		}
		for range 3 {
			if err := appendTo(s); err != nil {
				t.Fatal(err)
			}
		}
		if counted.dirs != 1 {
			t.Errorf("shared %v: %d syncs of the folder for three messages", shared, counted.dirs)
		}
		// A new file of that name is another mailbox.
		if err := os.Remove(filepath.Join(dir, "box")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil { // so that the number is not used again
			t.Fatal(err)
		}
		if err := appendTo(s); err != nil {
			t.Fatal(err)
		}
		if counted.dirs != 2 {
			t.Errorf("shared %v: %d syncs of the folder, want 2 after the mailbox was made anew", shared, counted.dirs)
		}
	}
}

// counting counts the syncs of folders.
type counting struct {
	fs.FS
	dirs int
}

func (c *counting) SyncDir(name string) error {
	c.dirs++
	return c.FS.SyncDir(name)
}

func TestWhoIsGoneWhileWaitingForItsTurnIsForgotten(t *testing.T) {
	t.Parallel()
	files, _ := newTree(t)
	s := &Store{FS: files}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Append(t.Context(), "box", []byte("From a\n"), readFunc(func([]byte) (int, error) {
		cancel()
		if err := s.Append(ctx, "box", []byte("From b\n"), strings.NewReader("x\n")); err != context.Canceled { // and no *Error
			t.Errorf("have %v", err)
		}
		if s.turns["box"].users != 1 {
			t.Errorf("%d wait", s.turns["box"].users)
		}
		return 0, io.EOF
	}))
	if err != nil || len(s.turns) != 0 {
		t.Errorf("%v, %d turns", err, len(s.turns))
	}
}
