package crashfs

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// history is a drawn history of operations on a few names, done to one file system
// or to several alike.
type history struct {
	t    *rapid.T
	open map[string][]fs.File // by name given to OpenFile, one of each file system
	on   []fs.FS
}

var (
	someNames = rapid.SampledFrom([]string{"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "c/a"})
	someSizes = rapid.SampledFrom([]int{0, 1, 100, BlockSize - 1, BlockSize, BlockSize + 1, 3*BlockSize + 7})
	someFlags = rapid.SampledFrom([]int{
		os.O_RDWR, os.O_RDWR | os.O_CREATE, os.O_RDWR | os.O_CREATE | os.O_EXCL,
		os.O_RDWR | os.O_CREATE | os.O_TRUNC, os.O_RDWR | os.O_APPEND,
	})
)

// step does one operation everywhere and fails the test if the results differ.
func (h *history) step() {
	op := rapid.SampledFrom([]string{
		"open", "open", "write", "write", "write at", "truncate", "close", "mkdir", "remove", "remove all",
		"rename", "rename", "link", "sync", "sync data", "sync folder", "sync all",
	}).Draw(h.t, "operation")
	name := someNames.Draw(h.t, "name")
	switch op {
	case "open":
		flag := someFlags.Draw(h.t, "flag")
		if _, ok := h.open[name]; ok {
			return
		}
		var files []fs.File
		h.same(op, name, func(_ int, f fs.FS) (string, error) {
			file, err := f.OpenFile(name, flag, 0o600)
			if err == nil {
				files = append(files, file)
			}
			return "", err
		})
		if len(files) > 0 {
			h.open[name] = files
		}
	case "write", "write at", "truncate", "sync", "sync data", "close":
		h.fileStep(op, name)
	case "mkdir":
		h.same(op, name, func(_ int, f fs.FS) (string, error) { return "", f.Mkdir(name, 0o700) })
	case "remove":
		h.same(op, name, func(_ int, f fs.FS) (string, error) { return "", f.Remove(name) })
	case "remove all":
		h.same(op, name, func(_ int, f fs.FS) (string, error) { return "", f.RemoveAll(name) })
	case "rename":
		to := someNames.Draw(h.t, "to")
		h.same(op, name+" "+to, func(_ int, f fs.FS) (string, error) { return "", f.Rename(name, to) })
	case "link":
		to := someNames.Draw(h.t, "to")
		h.same(op, name+" "+to, func(_ int, f fs.FS) (string, error) { return "", f.Link(name, to) })
	case "sync folder":
		dir := rapid.SampledFrom([]string{".", "d", "d/e", "a"}).Draw(h.t, "folder")
		h.same(op, dir, func(_ int, f fs.FS) (string, error) { return "", f.SyncDir(dir) })
	case "sync all":
		for _, f := range h.on {
			if err := f.SyncAll(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				h.t.Fatal(err)
			}
		}
	}
}

func (h *history) fileStep(op, name string) {
	files, ok := h.open[name]
	if !ok {
		return
	}
	size := someSizes.Draw(h.t, "size")
	at := int64(someSizes.Draw(h.t, "at"))
	data := []byte(strings.Repeat(string(rune('A'+rapid.IntRange(0, 25).Draw(h.t, "letter"))), size))
	h.same(op, name, func(i int, _ fs.FS) (string, error) {
		switch op {
		case "write":
			n, err := files[i].Write(data)
			return fmt.Sprint(n), err
		case "write at":
			n, err := files[i].WriteAt(data, at)
			return fmt.Sprint(n), err
		case "truncate":
			return "", files[i].Truncate(int64(size))
		case "sync":
			return "", files[i].Sync()
		case "sync data":
			return "", files[i].SyncData()
		}
		delete(h.open, name)
		return "", files[i].Close()
	})
}

// same does an operation on each file system and compares what comes back.
func (h *history) same(op, name string, do func(i int, f fs.FS) (string, error)) {
	var first string
	for i, f := range h.on {
		result, err := do(i, f)
		result += " " + errorKind(err)
		if i == 0 {
			first = result
		} else if result != first {
			h.t.Fatalf("%s %s gives %q on %T and %q on %T", op, name, first, h.on[0], result, f)
		}
	}
}

// errorKind is the part of an error that callers may look at.
func errorKind(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, fs.ErrInvalid):
		return "invalid"
	case err != nil:
		return "other error"
	}
	return ""
}

func (h *history) close() {
	for _, files := range h.open {
		for _, f := range files {
			if err := f.Close(); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// dump describes all files and folders; a file of many names by all of them.
func dump(f fs.FS, dir string) string {
	var s strings.Builder
	entries, err := f.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			s.WriteString(name + "/\n" + dump(f, name))
			continue
		}
		file, err := f.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return err.Error()
		}
		content, err := io.ReadAll(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return err.Error()
		}
		fmt.Fprintf(&s, "%s %d %q\n", name, len(content), shorten(content))
	}
	return s.String()
}

// shorten writes runs of one byte as one.
func shorten(content []byte) string {
	var s strings.Builder
	for i, n := 0, 0; i < len(content); i += n {
		for n = 1; i+n < len(content) && content[i+n] == content[i]; n++ {
		}
		fmt.Fprintf(&s, "%c*%d ", content[i], n)
	}
	return s.String()
}

// Until the power fails, the model is what the operating system is.
func TestTheModelBehavesAsTheSystem(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if memory, err := os.MkdirTemp("/dev/shm", "crashfs"); err == nil { // syncs cost nothing there
		root = memory
		t.Cleanup(func() { os.RemoveAll(memory) })
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			rt.Fatal(err)
		}
		system, err := osfs.New(dir)
		if err != nil {
			rt.Fatal(err)
		}
		model := New(1)
		h := &history{t: rt, open: map[string][]fs.File{}, on: []fs.FS{system, model}}
		defer h.close()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			h.step()
			if want, got := dump(system, "."), dump(model, "."); got != want {
				rt.Fatalf("the system holds\n%s\nthe model holds\n%s", want, got)
			}
		}
	})
}

// Laws of cuts, over drawn histories: if everything survives, that is what was there;
// what a SyncAll covered is there whatever survives; a replay that moved on from
// cut to cut is where a new one is.
func TestLawsOfCuts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := NewWith(1, Options{Ext4: rapid.Bool().Draw(rt, "ext4")})
		h := &history{t: rt, open: map[string][]fs.File{}, on: []fs.FS{f}}
		defer h.close()
		was := map[int]string{0: ""} // by operation
		synced := map[int]bool{0: true}
		steps := rapid.IntRange(1, 60).Draw(rt, "steps")
		for range steps {
			before := f.Ops()
			h.step()
			if ops := f.Ops(); ops != before {
				was[ops] = dump(f, ".")
				synced[ops] = f.journal[ops-1].Kind == OpSyncAll
			}
		}
		moving := newReplay(f.disk)
		for n := range f.Ops() + 1 {
			moving.advance(f.journal, n)
			fresh := newReplay(f.disk)
			fresh.advance(f.journal, n)
			for i := range uint64(6) {
				fate := newFate(f.opts.Ext4, rand.New(rand.NewPCG(i, uint64(n))))
				got := dump(newFS(1, f.opts, moving.survive(fate), f.next), ".")
				if again := dump(newFS(1, f.opts, fresh.survive(fate), f.next), "."); again != got {
					rt.Fatalf("after operation %d a moving replay leaves\n%s\na new one\n%s", n, got, again)
				}
				if want, known := was[n]; known && (fate.kind == all || synced[n]) && got != want {
					rt.Fatalf("after operation %d there was\n%s\na cut leaves\n%s", n, want, got)
				}
			}
		}
	})
}
