package reread

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// world is a file with a clock of its own.
type world struct {
	*File[string]
	t    *testing.T
	mu   sync.Mutex
	time time.Time
	read int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, time: time.Now()}
	w.File = &File[string]{
		Path: filepath.Join(t.TempDir(), "file"),
		Now:  func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.time },
		Parse: func(data []byte) (string, error) {
			w.read++
			if strings.Contains(string(data), "wrong") {
				return "", errors.New("file:1: wrong")
			}
			return string(data), nil
		},
	}
	return w
}

func (w *world) write(s string) {
	w.t.Helper()
	if err := os.WriteFile(w.Path, []byte(s), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pass(d time.Duration) { w.mu.Lock(); w.time = w.time.Add(d); w.mu.Unlock() }

func (w *world) want(text, trouble string) {
	w.t.Helper()
	got, err := w.Get()
	if got != text || (err == nil) != (trouble == "") || err != nil && !strings.Contains(err.Error(), trouble) {
		w.t.Errorf("%q, %v; want %q, %q", got, err, text, trouble)
	}
}

func TestAChangeIsSeenAfterASecondAndAWrongFileIsAnErrorUntilPutRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want("", "no such file")
	w.write("one")
	w.want("", "no such file") // not looked at yet
	w.pass(time.Second)
	w.want("one", "")
	w.write("two") // as long as the other, within the same tick perhaps
	w.want("one", "")
	w.pass(time.Second)
	w.want("two", "")
	w.write("wrong")
	w.pass(time.Second)
	w.want("", "file:1: wrong")
	w.write("three")
	w.pass(time.Second)
	w.want("three", "")
}

func TestAFileThatDoesNotChangeIsReadOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("one")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(w.Path, old, old); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.want("one", "")
		w.pass(time.Second)
	}
	if w.read != 1 {
		t.Errorf("read %d times", w.read)
	}
	// Another file in its place, of the same size and time, is another file.
	next := w.Path + ".tmp"
	if err := errors.Join(os.WriteFile(next, []byte("two"), 0o600), os.Chtimes(next, old, old), os.Rename(next, w.Path)); err != nil {
		t.Fatal(err)
	}
	w.want("two", "")
}

func TestAMissingFileMayBeNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Optional = true
	w.want("", "")
	w.write("one")
	w.pass(time.Second)
	w.want("one", "")
	if err := os.Remove(w.Path); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Second)
	w.want("", "")
}

func TestWhatIsNoFileOrTooLargeIsToldAndHoldsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := syscall.Mkfifo(w.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	w.want("", "want a regular file")
	if err := os.Remove(w.Path); err != nil {
		t.Fatal(err)
	}
	w.Max = 4
	w.write("12345")
	w.pass(time.Second)
	w.want("", "want at most 4 bytes")
	w.write("1234")
	w.pass(time.Second)
	w.want("1234", "")
}

func BenchmarkGet(b *testing.B) {
	f := &File[int]{Path: filepath.Join(b.TempDir(), "none"), Optional: true, Parse: func([]byte) (int, error) { return 0, nil }}
	for b.Loop() {
		if _, err := f.Get(); err != nil {
			b.Fatal(err)
		}
	}
}
