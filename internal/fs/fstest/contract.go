// Package fstest holds the contract of fs.FS as tests. Every implementation runs
// Contract; what it tests, users of fs.FS may rely on.
package fstest

import (
	"errors"
	"io"
	stdfs "io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// Contract tests an implementation. make returns an empty tree for each test.
func Contract(t *testing.T, make func(t *testing.T) fs.FS) {
	t.Helper()
	for _, c := range []struct {
		promise string
		test    func(t *testing.T, f fs.FS)
	}{
		{"names stay below the root", namesStayBelow},
		{"what was written is read", writtenIsRead},
		{"exclusive creation is exclusive", exclusiveCreate},
		{"exclusive creation lets one of many win", exclusiveRace},
		{"opening obeys its flags", openFlags},
		{"appending appends", appending},
		{"files have holes and are cut", holesAndCuts},
		{"rename replaces files and nothing else", renames},
		{"links are names of one file", links},
		{"removing", removing},
		{"a removed file stays open", removedStaysOpen},
		{"folders are listed in order", listing},
		{"making folders", folders},
		{"times are kept", times},
		{"syncs succeed and need what they sync", syncs},
		{"one holds a lock", locks},
		{"one holds the lock of an open file", fileLocks},
		{"a sub tree is the same files", subs},
		{"errors name the file", errorsNameFiles},
		{"a closed file says so", closedFiles},
		{"space is told", spaces},
	} {
		t.Run(c.promise, func(t *testing.T) {
			t.Parallel()
			c.test(t, make(t))
		})
	}
}

// Write puts a file there, and fails the test if it cannot.
func Write(t testing.TB, f fs.FS, name, content string) {
	t.Helper()
	file, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// Read returns what a file holds, and fails the test if it cannot.
func Read(t testing.TB, f fs.FS, name string) string {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("the error is %v, want one that is %v", got, want)
	}
}

func wantContent(t *testing.T, f fs.FS, name, content string) {
	t.Helper()
	if got := Read(t, f, name); got != content {
		t.Errorf("%s holds %q, want %q", name, got, content)
	}
}

func wantNames(t *testing.T, f fs.FS, dir string, names ...string) {
	t.Helper()
	entries, err := f.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, names) {
		t.Errorf("%s lists %q, want %q", dir, got, names)
	}
}

func namesStayBelow(t *testing.T, f fs.FS) {
	Write(t, f, "file", "x")
	for _, name := range []string{"", "..", "../file", "/file", "a/../../file"} {
		_, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		want(t, err, fs.ErrInvalid)
		want(t, f.Mkdir(name, 0o700), fs.ErrInvalid)
		want(t, f.MkdirAll(name, 0o700), fs.ErrInvalid)
		want(t, f.Remove(name), fs.ErrInvalid)
		want(t, f.RemoveAll(name), fs.ErrInvalid)
		want(t, f.Rename("file", name), fs.ErrInvalid)
		want(t, f.Rename(name, "file"), fs.ErrInvalid)
		want(t, f.Link("file", name), fs.ErrInvalid)
		want(t, f.Chtimes(name, time.Now(), time.Now()), fs.ErrInvalid)
		want(t, f.SyncDir(name), fs.ErrInvalid)
		_, err = f.Stat(name)
		want(t, err, fs.ErrInvalid)
		_, err = f.Lstat(name)
		want(t, err, fs.ErrInvalid)
		_, err = f.ReadDir(name)
		want(t, err, fs.ErrInvalid)
		_, err = f.Lock(name)
		want(t, err, fs.ErrInvalid)
		_, err = f.Sub(name)
		want(t, err, fs.ErrInvalid)
		_, err = f.Space(name)
		want(t, err, fs.ErrInvalid)
	}
	want(t, f.RemoveAll("."), fs.ErrInvalid)
	want(t, f.Remove("."), fs.ErrInvalid)
	want(t, f.Mkdir(".", 0o700), fs.ErrInvalid)
	want(t, f.Rename(".", "root"), fs.ErrInvalid)
	if _, err := f.OpenFile("a\x00b", os.O_RDWR|os.O_CREATE, 0o600); err == nil {
		t.Error("a name with a zero byte was taken")
	}
	_, err := f.OpenFile(strings.Repeat("x", 256), os.O_RDWR|os.O_CREATE, 0o600)
	want(t, err, syscall.ENAMETOOLONG)
	wantContent(t, f, "a/../file", "x")
}

func writtenIsRead(t *testing.T, f fs.FS) {
	body := strings.Repeat("0123456789abcde\n", 1000) // some blocks and a part
	file, err := f.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	must(t, err)
	defer file.Close()
	if file.Name() != "f" {
		t.Errorf("the file is called %q", file.Name())
	}
	for rest := body; rest != ""; { // in pieces that do not fit blocks
		n := min(len(rest), 1001)
		got, err := file.Write([]byte(rest[:n]))
		must(t, err)
		if got != n {
			t.Fatalf("%d bytes were written of %d", got, n)
		}
		rest = rest[n:]
	}
	_, err = file.WriteAt([]byte("HERE"), 4094)
	must(t, err)
	body = body[:4094] + "HERE" + body[4098:]
	wantContent(t, f, "f", body)
	part := make([]byte, 100)
	n, err := file.ReadAt(part, int64(len(body)-10))
	if n != 10 || err != io.EOF || string(part[:n]) != body[len(body)-10:] {
		t.Errorf("reading over the end gave %d bytes and %v", n, err)
	}
	pos, err := file.Seek(-20, io.SeekEnd)
	must(t, err)
	n, err = file.Read(part[:10])
	if pos != int64(len(body)-20) || n != 10 || err != nil || string(part[:n]) != body[pos:pos+10] {
		t.Errorf("after a seek to %d: %d bytes and %v", pos, n, err)
	}
	info, err := file.Stat()
	must(t, err)
	if info.Size() != int64(len(body)) || info.IsDir() || info.Name() != "f" || info.Mode() != 0o640 {
		t.Errorf("the file is %s", stdfs.FormatFileInfo(info))
	}
	if _, err := file.Seek(-1, io.SeekStart); err == nil {
		t.Error("a seek before the start succeeded")
	}
}

func exclusiveCreate(t *testing.T, f fs.FS) {
	Write(t, f, "f", "old")
	must(t, f.Mkdir("d", 0o700))
	for _, name := range []string{"f", "d"} {
		_, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		want(t, err, fs.ErrExist)
		_, err = f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_TRUNC, 0o600)
		want(t, err, fs.ErrExist)
	}
	wantContent(t, f, "f", "old")
}

func exclusiveRace(t *testing.T, f fs.FS) {
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			file, err := f.OpenFile("f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				want(t, err, fs.ErrExist)
				return
			}
			won.Add(1)
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d created the same file", won.Load())
	}
}

func openFlags(t *testing.T, f fs.FS) {
	Write(t, f, "f", "content")
	must(t, f.Mkdir("d", 0o700))
	_, err := f.OpenFile("missing", os.O_RDWR, 0)
	want(t, err, fs.ErrNotExist)
	_, err = f.OpenFile("f/below", os.O_RDWR|os.O_CREATE, 0o600)
	want(t, err, syscall.ENOTDIR)
	_, err = f.OpenFile("missing/below", os.O_RDWR|os.O_CREATE, 0o600)
	want(t, err, fs.ErrNotExist)
	_, err = f.OpenFile("d", os.O_RDWR, 0)
	want(t, err, syscall.EISDIR)
	reader, err := f.OpenFile("f", os.O_RDONLY, 0)
	must(t, err)
	defer reader.Close()
	_, err = reader.Write([]byte("x"))
	want(t, err, syscall.EBADF)
	want(t, reader.Truncate(0), syscall.EINVAL)
	writer, err := f.OpenFile("f", os.O_WRONLY, 0)
	must(t, err)
	defer writer.Close()
	_, err = writer.Read(make([]byte, 1))
	want(t, err, syscall.EBADF)
	wantContent(t, f, "f", "content")
	Write(t, f, "f", "new") // O_TRUNC
	wantContent(t, f, "f", "new")
}

func appending(t *testing.T, f fs.FS) {
	Write(t, f, "f", "one ")
	a, err := f.OpenFile("f", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer a.Close()
	b, err := f.OpenFile("f", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer b.Close()
	for _, w := range []struct {
		file fs.File
		text string
	}{{a, "two "}, {b, "three "}, {a, "four"}} {
		_, err := w.file.Write([]byte(w.text))
		must(t, err)
	}
	wantContent(t, f, "f", "one two three four")
}

func holesAndCuts(t *testing.T, f fs.FS) {
	file, err := f.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	defer file.Close()
	_, err = file.WriteAt([]byte("end"), 10000)
	must(t, err)
	wantContent(t, f, "f", strings.Repeat("\x00", 10000)+"end")
	_, err = file.WriteAt([]byte("secret"), 0)
	must(t, err)
	must(t, file.Truncate(3))
	must(t, file.Truncate(6))
	wantContent(t, f, "f", "sec\x00\x00\x00") // what was cut does not come back
	must(t, file.Truncate(0))
	must(t, file.Truncate(5000))
	wantContent(t, f, "f", strings.Repeat("\x00", 5000))
}

func renames(t *testing.T, f fs.FS) {
	Write(t, f, "a", "a")
	Write(t, f, "b", "b")
	must(t, f.Mkdir("d", 0o700))
	must(t, f.Mkdir("d/e", 0o700))
	must(t, f.Rename("a", "b"))
	wantContent(t, f, "b", "a")
	must(t, f.Rename("b", "d/c"))
	wantContent(t, f, "d/c", "a")
	wantNames(t, f, ".", "d")
	must(t, f.Rename("d", "moved"))
	wantNames(t, f, "moved", "c", "e")
	want(t, f.Rename("missing", "x"), fs.ErrNotExist)
	want(t, f.Rename("moved/c", "missing/c"), fs.ErrNotExist)
	want(t, f.Rename("moved/c", "moved/e"), fs.ErrExist)
	want(t, f.Rename("moved/e", "moved/c"), syscall.ENOTDIR)
	want(t, f.Rename("moved", "moved/e/below"), syscall.EINVAL)
	must(t, f.Rename("moved/c", "moved/c"))
	must(t, f.Link("moved/c", "twin"))
	must(t, f.Rename("moved/c", "twin")) // two names of one file: both stay
	wantContent(t, f, "twin", "a")
	wantContent(t, f, "moved/c", "a")
}

func links(t *testing.T, f fs.FS) {
	Write(t, f, "a", "one")
	must(t, f.Mkdir("d", 0o700))
	must(t, f.Link("a", "d/b"))
	file, err := f.OpenFile("d/b", os.O_WRONLY, 0)
	must(t, err)
	_, err = file.Write([]byte("two"))
	must(t, errors.Join(err, file.Close()))
	wantContent(t, f, "a", "two")
	must(t, f.Remove("a"))
	wantContent(t, f, "d/b", "two")
	want(t, f.Link("a", "c"), fs.ErrNotExist)
	Write(t, f, "c", "")
	want(t, f.Link("c", "d/b"), fs.ErrExist)
	if f.Link("d", "e") == nil {
		t.Error("a folder got a second name")
	}
}

func removing(t *testing.T, f fs.FS) {
	must(t, f.MkdirAll("a/b/c", 0o700))
	Write(t, f, "a/b/f", "x")
	want(t, f.Remove("a"), syscall.ENOTEMPTY)
	want(t, f.Remove("missing"), fs.ErrNotExist)
	must(t, f.Remove("a/b/c"))
	must(t, f.Remove("a/b/f"))
	wantNames(t, f, "a/b")
	must(t, f.MkdirAll("a/b/c/d", 0o700))
	Write(t, f, "a/b/c/f", "x")
	must(t, f.RemoveAll("a/b"))
	wantNames(t, f, "a")
	must(t, f.RemoveAll("a/b"))
	must(t, f.RemoveAll("missing/below"))
}

func removedStaysOpen(t *testing.T, f fs.FS) {
	file, err := f.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = file.Write([]byte("old"))
	must(t, err)
	must(t, f.Remove("f"))
	Write(t, f, "f", "new")
	_, err = file.WriteAt([]byte("er"), 3)
	must(t, err)
	got := make([]byte, 5)
	_, err = file.ReadAt(got, 0)
	must(t, err)
	if string(got) != "older" {
		t.Errorf("the removed file holds %q", got)
	}
	wantContent(t, f, "f", "new")
	must(t, errors.Join(file.Sync(), file.Close()))
}

func listing(t *testing.T, f fs.FS) {
	for _, name := range []string{"b", "a", "C", "ä", "1"} {
		Write(t, f, name, name)
	}
	must(t, f.Mkdir("aa", 0o700))
	wantNames(t, f, ".", "1", "C", "a", "aa", "b", "ä")
	entries, err := f.ReadDir(".")
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if e.IsDir() != (e.Name() == "aa") || e.IsDir() != info.IsDir() || info.Name() != e.Name() {
			t.Errorf("the entry %v does not fit its file %v", e, stdfs.FormatFileInfo(info))
		}
	}
	_, err = f.ReadDir("missing")
	want(t, err, fs.ErrNotExist)
	_, err = f.ReadDir("a")
	want(t, err, syscall.ENOTDIR)
}

func folders(t *testing.T, f fs.FS) {
	must(t, f.Mkdir("a", 0o750))
	want(t, f.Mkdir("a", 0o700), fs.ErrExist)
	want(t, f.Mkdir("b/c", 0o700), fs.ErrNotExist)
	must(t, f.MkdirAll("a/b/c", 0o700))
	must(t, f.MkdirAll("a/b/c", 0o700))
	must(t, f.MkdirAll(".", 0o700))
	Write(t, f, "f", "")
	want(t, f.MkdirAll("f/d", 0o700), syscall.ENOTDIR)
	want(t, f.MkdirAll("f", 0o700), syscall.ENOTDIR)
	info, err := f.Stat("a")
	must(t, err)
	if !info.IsDir() || info.Mode().Perm() != 0o750 {
		t.Errorf("the folder is %s", stdfs.FormatFileInfo(info))
	}
	root, err := f.Stat(".")
	must(t, err)
	if !root.IsDir() {
		t.Error("the root is no folder")
	}
	_, err = f.Stat("a/missing")
	want(t, err, fs.ErrNotExist)
	_, err = f.Lstat("a/missing")
	want(t, err, fs.ErrNotExist)
}

func times(t *testing.T, f fs.FS) {
	Write(t, f, "f", "x")
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, f.Chtimes("f", then, then))
	info, err := f.Stat("f")
	must(t, err)
	if !info.ModTime().Equal(then) {
		t.Errorf("the file is of %v, want %v", info.ModTime(), then)
	}
	Write(t, f, "f", "y")
	info, err = f.Stat("f")
	must(t, err)
	if !info.ModTime().After(then) {
		t.Error("a write does not change the time")
	}
	want(t, f.Chtimes("missing", then, then), fs.ErrNotExist)
}

func syncs(t *testing.T, f fs.FS) {
	must(t, f.Mkdir("d", 0o700))
	file, err := f.OpenFile("d/f", os.O_WRONLY|os.O_CREATE, 0o600)
	must(t, err)
	_, err = file.Write([]byte("x"))
	must(t, err)
	must(t, file.SyncData())
	must(t, file.Sync())
	must(t, f.SyncDir("d"))
	must(t, f.SyncDir("."))
	if err := f.SyncAll(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	must(t, file.Close())
	want(t, f.SyncDir("missing"), fs.ErrNotExist)
	want(t, f.SyncDir("d/f"), syscall.ENOTDIR)
	dir, err := f.OpenFile("d", os.O_RDONLY, 0)
	must(t, err)
	must(t, dir.Sync())
	must(t, dir.Close())
}

func locks(t *testing.T, f fs.FS) {
	lock, err := f.Lock("lock")
	must(t, err)
	_, err = f.Lock("lock")
	want(t, err, fs.ErrLocked)
	other, err := f.Lock("other")
	must(t, err)
	must(t, other.Close())
	must(t, lock.Close())
	lock, err = f.Lock("lock")
	must(t, err)
	must(t, lock.Close())
	if lock.Close() == nil {
		t.Error("a lock was released twice")
	}
	_, err = f.Lock("missing/lock")
	want(t, err, fs.ErrNotExist)
}

func fileLocks(t *testing.T, f fs.FS) {
	open := func() fs.File {
		file, err := f.OpenFile("box", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		must(t, err)
		return file
	}
	a, b := open(), open()
	must(t, a.TryLock())
	must(t, a.TryLock()) // it holds it
	want(t, b.TryLock(), fs.ErrLocked)
	_, err := a.Write([]byte("kept"))
	must(t, err)
	must(t, a.Close())
	must(t, b.TryLock())
	must(t, b.Close())
	wantContent(t, f, "box", "kept")
	want(t, b.TryLock(), os.ErrClosed)
}

func subs(t *testing.T, f fs.FS) {
	must(t, f.MkdirAll("a/b", 0o700))
	sub, err := f.Sub("a")
	must(t, err)
	Write(t, sub, "b/f", "x")
	wantContent(t, f, "a/b/f", "x")
	wantNames(t, sub, ".", "b")
	_, err = sub.Stat("../a")
	want(t, err, fs.ErrInvalid)
	subsub, err := sub.Sub("b")
	must(t, err)
	wantContent(t, subsub, "f", "x")
	must(t, subsub.SyncDir("."))
	want(t, subsub.RemoveAll("."), fs.ErrInvalid)
	lock, err := f.Lock("a/lock")
	must(t, err)
	_, err = sub.Lock("lock")
	want(t, err, fs.ErrLocked)
	must(t, lock.Close())
	_, err = f.Sub("missing")
	want(t, err, fs.ErrNotExist)
	_, err = f.Sub("a/b/f")
	want(t, err, syscall.ENOTDIR)
}

func errorsNameFiles(t *testing.T, f fs.FS) {
	_, err := f.OpenFile("missing/f", os.O_RDONLY, 0)
	var pathErr *stdfs.PathError
	if !errors.As(err, &pathErr) || !strings.HasSuffix(pathErr.Path, path.Join("missing", "f")) {
		t.Errorf("opening: %v", err)
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno != syscall.ENOENT {
		t.Errorf("opening does not tell the system's error: %v", err)
	}
	var linkErr *os.LinkError
	if err := f.Rename("from", "to"); !errors.As(err, &linkErr) ||
		!strings.HasSuffix(linkErr.Old, "from") || !strings.HasSuffix(linkErr.New, "to") {
		t.Errorf("renaming: %v", err)
	}
}

func closedFiles(t *testing.T, f fs.FS) {
	file, err := f.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, file.Close())
	_, err = file.Write([]byte("x"))
	want(t, err, os.ErrClosed)
	_, err = file.Read(make([]byte, 1))
	want(t, err, os.ErrClosed)
	want(t, file.Sync(), os.ErrClosed)
	want(t, file.SyncData(), os.ErrClosed)
	want(t, file.Truncate(0), os.ErrClosed)
	want(t, file.Close(), os.ErrClosed)
}

func spaces(t *testing.T, f fs.FS) {
	s, err := f.Space(".")
	must(t, err)
	if s.TotalBytes == 0 || s.FreeBytes > s.TotalBytes {
		t.Errorf("the space is %+v", s)
	}
	_, err = f.Space("missing")
	want(t, err, fs.ErrNotExist)
}
