package crashfs

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/fstest"
)

func check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, f fs.FS, name string, flag int) fs.File {
	t.Helper()
	file, err := f.OpenFile(name, flag, 0o600)
	check(t, err)
	return file
}

func write(t testing.TB, file fs.File, content string) {
	t.Helper()
	_, err := file.Write([]byte(content))
	check(t, err)
}

// durable makes a file whose content and name are durable.
func durableFile(t testing.TB, f fs.FS, name, content string) {
	t.Helper()
	file := open(t, f, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	write(t, file, content)
	check(t, file.Sync(), file.Close(), f.SyncDir(path.Dir(name)))
}

// outcomes returns what cuts at the end may leave, as described by see.
func outcomes(f *FS, see func(f *FS) string) map[string]int {
	seen := map[string]int{}
	for i := range uint64(3000) {
		seen[see(f.CrashAt(f.Ops(), f.NewRand(i)))]++
	}
	return seen
}

// tree describes files by name and content, "a=x b=y".
func tree(f *FS) string {
	var parts []string
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := f.ReadDir(dir)
		if err != nil {
			parts = append(parts, err.Error())
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if e.IsDir() {
				parts = append(parts, name+"/")
				walk(name)
				continue
			}
			parts = append(parts, name+"="+content(f, name))
		}
	}
	walk(".")
	return strings.Join(parts, " ")
}

func content(f *FS, name string) string {
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(b), "\x00", "0")
}

// Each test below makes one state and names everything a cut may leave of it.
func TestWhatACutLeaves(t *testing.T) {
	t.Parallel()
	for promise, c := range map[string]struct {
		run  func(t *testing.T, f *FS)
		want []string
		ext4 []string // nil: as want
	}{
		"a file with name and content synced stays": {
			run:  func(t *testing.T, f *FS) { durableFile(t, f, "a", "x") },
			want: []string{"a=x"},
		},
		"a synced file may lose its name, not so on ext4": {
			run: func(t *testing.T, f *FS) {
				a := open(t, f, "a", os.O_WRONLY|os.O_CREATE)
				write(t, a, "x")
				check(t, a.Sync())
			},
			want: []string{"a=x", ""},
			ext4: []string{"a=x"},
		},
		"a synced name may lose its content": {
			run: func(t *testing.T, f *FS) {
				write(t, open(t, f, "a", os.O_WRONLY|os.O_CREATE), "x")
				check(t, f.SyncDir("."))
			},
			// Size without data, and data without size.
			want: []string{"a=x", "a=", "a=0", "a=" + garbageByte},
			ext4: []string{"a=x", "a=", "a=0"},
		},
		"all is synced by one": {
			run: func(t *testing.T, f *FS) {
				check(t, f.Mkdir("d", 0o700))
				write(t, open(t, f, "d/a", os.O_WRONLY|os.O_CREATE), "x")
				write(t, open(t, f, "b", os.O_WRONLY|os.O_CREATE), "y")
				check(t, f.SyncAll())
			},
			want: []string{"b=y d/ d/a=x"},
		},
		"a removal may come to the disk unasked, or not": {
			run: func(t *testing.T, f *FS) {
				durableFile(t, f, "a", "x")
				check(t, f.Remove("a"))
			},
			want: []string{"a=x", ""},
		},
		"a synced removal stays": {
			run: func(t *testing.T, f *FS) {
				durableFile(t, f, "a", "x")
				check(t, f.Remove("a"), f.SyncDir("."))
			},
			want: []string{""},
		},
		"a rename never loses both names": {
			run: func(t *testing.T, f *FS) {
				check(t, f.Mkdir("d", 0o700), f.SyncDir("."))
				durableFile(t, f, "a", "x")
				check(t, f.Rename("a", "d/b"))
			},
			want: []string{"a=x d/", "d/ d/b=x", "a=x d/ d/b=x"},
			ext4: []string{"a=x d/", "d/ d/b=x"},
		},
		"a rename is there once its new folder is synced": {
			run: func(t *testing.T, f *FS) {
				check(t, f.Mkdir("d", 0o700), f.SyncDir("."))
				durableFile(t, f, "a", "x")
				check(t, f.Rename("a", "d/b"), f.SyncDir("d"))
			},
			want: []string{"d/ d/b=x", "a=x d/ d/b=x"},
			ext4: []string{"d/ d/b=x"},
		},
		"a rename is there once its old folder is synced": {
			run: func(t *testing.T, f *FS) {
				check(t, f.Mkdir("d", 0o700), f.SyncDir("."))
				durableFile(t, f, "a", "x")
				check(t, f.Rename("a", "d/b"), f.SyncDir("."))
			},
			want: []string{"d/ d/b=x"},
		},
		"a chain of renames keeps one name": {
			run: func(t *testing.T, f *FS) {
				durableFile(t, f, "a", "x")
				check(t, f.Rename("a", "b"), f.Rename("b", "c"), f.Remove("c"))
			},
			want: []string{"a=x", "b=x", "c=x", "", "a=x b=x", "a=x c=x", "b=x c=x", "a=x b=x c=x"},
			ext4: []string{"a=x", "b=x", "c=x", ""},
		},
		"a replaced file is old or new": {
			run: func(t *testing.T, f *FS) {
				durableFile(t, f, "a", "old")
				durableFile(t, f, "b", "new")
				check(t, f.Rename("b", "a"))
			},
			want: []string{"a=old b=new", "a=new", "a=new b=new"},
			ext4: []string{"a=old b=new", "a=new"},
		},
		"a folder has one name": {
			run: func(t *testing.T, f *FS) {
				check(t, f.Mkdir("d", 0o700))
				durableFile(t, f, "d/a", "x")
				check(t, f.SyncDir("."), f.Rename("d", "e"))
			},
			want: []string{"d/ d/a=x", "e/ e/a=x"},
		},
		"link and remove may lose the file, not so on ext4": {
			run: func(t *testing.T, f *FS) {
				durableFile(t, f, "a", "x")
				check(t, f.Link("a", "b"), f.Remove("a"))
			},
			want: []string{"a=x", "a=x b=x", "b=x", ""},
			ext4: []string{"a=x", "a=x b=x", "b=x"},
		},
		"a synced name is lost with its folder": {
			run: func(t *testing.T, f *FS) {
				check(t, f.MkdirAll("d/e", 0o700))
				durableFile(t, f, "d/e/a", "x")
				check(t, f.SyncDir("d"))
			},
			want: []string{"d/ d/e/ d/e/a=x", ""},
			ext4: []string{"d/ d/e/ d/e/a=x"},
		},
		"data written over is old or new": {
			run: func(t *testing.T, f *FS) {
				durableFile(t, f, "a", "old")
				file := open(t, f, "a", os.O_WRONLY)
				write(t, file, "new")
			},
			want: []string{"a=old", "a=new"},
		},
		"an empty file filled again may hold nothing, zeroes, old or new": {
			run: func(t *testing.T, f *FS) {
				durableFile(t, f, "a", "old")
				write(t, open(t, f, "a", os.O_WRONLY|os.O_TRUNC), "new")
			},
			want: []string{"a=old", "a=new", "a=", "a=000"},
		},
	} {
		t.Run(promise, func(t *testing.T) {
			t.Parallel()
			strict := New(1)
			c.run(t, strict)
			wantClasses(t, strict, c.want)
			ext4 := NewWith(1, Options{Ext4: true})
			c.run(t, ext4)
			if c.ext4 == nil {
				c.ext4 = c.want
			}
			wantClasses(t, ext4, c.ext4)
		})
	}
}

// garbageByte stands for any byte that the test did not write.
const garbageByte = "?"

// wantClasses fails the test unless a cut may leave each of want, and nothing else.
// Strange bytes of a's content are one class.
func wantClasses(t *testing.T, f *FS, want []string) {
	t.Helper()
	got := outcomes(f, func(f *FS) string {
		s := tree(f)
		if len(s) == len("a=x") && strings.HasPrefix(s, "a=") && !strings.Contains("x0", s[2:]) {
			return "a=" + garbageByte
		}
		return s
	})
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("%v: a cut never leaves %q", f.opts, w)
		}
		delete(got, w)
	}
	for g, n := range got {
		t.Errorf("%v: a cut leaves %.100q (%d of 3000 times), which must not be", f.opts, g, n)
	}
}

func TestBlocksOfOneWriteAreTorn(t *testing.T) {
	t.Parallel()
	f := New(1)
	durableFile(t, f, "a", strings.Repeat("o", 4*BlockSize))
	write(t, open(t, f, "a", os.O_WRONLY), strings.Repeat("n", 4*BlockSize))
	var between, inside bool
	for s := range outcomes(f, func(f *FS) string { return content(f, "a") }) {
		if len(s) != 4*BlockSize {
			t.Fatalf("a cut leaves %d bytes of a file whose size never changed", len(s))
		}
		var blocks [4]bool
		for i := range blocks {
			b := s[i*BlockSize : (i+1)*BlockSize]
			blocks[i] = b[0] == 'n'
			for at := 0; at < BlockSize; at += sectorSize {
				if sector := b[at : at+sectorSize]; strings.Trim(sector, sector[:1]) != "" {
					t.Fatal("a sector is torn")
				}
			}
			inside = inside || strings.Trim(b, b[:1]) != ""
		}
		between = between || !blocks[0] && blocks[3]
	}
	if !between || !inside {
		t.Errorf("later blocks without earlier ones: %v, torn blocks: %v; want both", between, inside)
	}
}

// After a failed sync Linux forgets that the pages were dirty.
func TestAFailedSyncLosesWhatTheNextSeemsToSave(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(f *FS, file fs.File) error{
		"Sync": func(_ *FS, file fs.File) error { return file.Sync() },
		"SyncAll": func(f *FS, file fs.File) error {
			err := f.SyncAll()
			if told := file.Sync(); !errors.Is(told, syscall.EIO) {
				t.Errorf("the file's own Sync does not tell: %v", told)
			}
			return err
		},
	} {
		f := New(1)
		a := open(t, f, "a", os.O_RDWR|os.O_CREATE)
		write(t, a, "x")
		remove := f.Inject(Fault{Kinds: OpSync | OpSyncAll})
		if err := fail(f, a); !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: the injected error is %v", name, err)
		}
		remove()
		check(t, a.Sync(), f.SyncDir("."))
		if got := fstest.Read(t, f, "a"); got != "x" {
			t.Errorf("%s: before the cut a holds %q", name, got)
		}
		if got := content(f.CrashAt(f.Ops(), f.NewRand(1)), "a"); got != "0" {
			t.Errorf("%s: after the cut a holds %q, want a zero", name, got)
		}
		write(t, a, "y") // makes the block dirty again, and so saves it
		check(t, a.Sync())
		if got := content(f.CrashAt(f.Ops(), f.NewRand(1)), "a"); got != "xy" {
			t.Errorf("%s: written again a holds %q", name, got)
		}
	}
}

// What a SyncAll of one caller loses is another's too: who has the file open learns of it, and nobody learns by a SyncAll
// again.
func TestAFailedSyncOfAllIsToldToEachOpenFileOnce(t *testing.T) {
	t.Parallel()
	f := New(1)
	saved, lost := open(t, f, "saved", os.O_RDWR|os.O_CREATE), open(t, f, "lost", os.O_RDWR|os.O_CREATE)
	write(t, saved, "x")
	check(t, saved.Sync())
	write(t, lost, "x")
	other := open(t, f, "lost", os.O_RDWR)
	f.Inject(Fault{Kinds: OpSyncAll})
	if err := f.SyncAll(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the injected error is %v", err)
	}
	if err := f.SyncAll(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the next SyncAll: %v", err)
	}
	check(t, saved.Sync())
	unaware := open(t, f, "lost", os.O_RDWR) // nobody has been told yet
	for _, file := range []fs.File{lost, other, unaware} {
		if err := file.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("a file that was open does not tell: %v", err)
		}
		check(t, file.Sync())
	}
	check(t, open(t, f, "lost", os.O_RDWR).Sync())
}

func TestFaults(t *testing.T) {
	t.Parallel()
	f := New(1)
	f.FailAt(3, syscall.ENOSPC)
	a := open(t, f, "a", os.O_RDWR|os.O_CREATE)
	write(t, a, "one")
	if _, err := a.Write([]byte("two")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("operation 3 gave %v", err)
	}
	write(t, a, "three")
	if got := fstest.Read(t, f, "a"); got != "onethree" {
		t.Errorf("a holds %q", got)
	}
	if got := f.Op(3); got != "write a (3 bytes at 0): no space left on device" {
		t.Errorf("operation 3 is %q", got)
	}
	remove := f.Inject(Fault{Kinds: OpRead, Match: func(c Call) bool { return c.Name == "a" }, Skip: 1, Times: -1})
	_, err := a.ReadAt(make([]byte, 1), 0)
	check(t, err)
	for range 3 {
		var pathErr *os.PathError
		if _, err = a.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) || !errors.As(err, &pathErr) {
			t.Errorf("an unreadable file gave %v", err)
		}
	}
	remove()
	_, err = a.ReadAt(make([]byte, 1), 0)
	check(t, err)
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	f := New(1)
	durableFile(t, f, "old", strings.Repeat("x", BlockSize))
	f = f.CrashAt(f.Ops(), f.NewRand(1)) // what was there counts too
	f.SetCapacity(3 * BlockSize)
	a := open(t, f, "a", os.O_WRONLY|os.O_CREATE)
	n, err := a.Write(make([]byte, 3*BlockSize))
	if n != 2*BlockSize || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d bytes were written with error %v", n, err)
	}
	if s, err := f.Space("."); err != nil || s.FreeBytes != 0 || s.TotalBytes != 3*BlockSize {
		t.Errorf("the full disk's space is %+v, %v", s, err)
	}
	_, err = a.WriteAt([]byte("over"), 0)
	check(t, err, f.Remove("old"))
	write(t, a, "there is room again")
	check(t, f.Remove("a")) // still open
	if _, err := a.WriteAt(make([]byte, 1), 9*BlockSize); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a removed file that is open takes no room: %v", err)
	}
	check(t, a.Close())
	if s, err := f.Space("."); err != nil || s.FreeBytes != 3*BlockSize {
		t.Errorf("the empty disk's space is %+v, %v", s, err)
	}
}

func TestLocksVanishWithPower(t *testing.T) {
	t.Parallel()
	f := New(1)
	_, err := f.Lock("lock")
	check(t, err)
	lock, err := f.CrashAt(f.Ops(), f.NewRand(1)).Lock("lock")
	check(t, err, lock.Close())
}

func TestTimesSurviveASyncOnly(t *testing.T) {
	t.Parallel()
	f := New(1)
	durableFile(t, f, "a", "x")
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	check(t, f.Chtimes("a", then, then))
	year := func(f *FS) string {
		info, err := f.Stat("a")
		check(t, err)
		return info.ModTime().Format("2006")
	}
	if got := outcomes(f, year); got["2001"] == 0 || got["2026"] == 0 {
		t.Errorf("an unsynced time is of %v, want either", got)
	}
	check(t, open(t, f, "a", os.O_RDONLY).Sync())
	if got := outcomes(f, year); len(got) != 1 || got["2001"] == 0 {
		t.Errorf("a synced time is of %v", got)
	}
}

func TestTheClockGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	f := New(1)
	durableFile(t, f, "a", "x")
	f = f.CrashAt(f.Ops(), f.NewRand(1))
	durableFile(t, f, "b", "x")
	a, err := f.Stat("a")
	check(t, err)
	b, err := f.Stat("b")
	check(t, err)
	if !b.ModTime().After(a.ModTime()) {
		t.Errorf("a file made after the cut is of %v, one from before of %v", b.ModTime(), a.ModTime())
	}
}

// Survivors are copies: what is done to one changes neither the disk nor another.
func TestSurvivorsAreApart(t *testing.T) {
	t.Parallel()
	f := New(1)
	durableFile(t, f, "a", "x")
	one := f.CrashAt(f.Ops(), f.NewRand(1))
	two := f.CrashAt(f.Ops(), f.NewRand(2))
	write(t, open(t, one, "a", os.O_WRONLY|os.O_APPEND), "y")
	check(t, one.Remove("a"))
	durableFile(t, one, "b", "z")
	write(t, open(t, f, "a", os.O_WRONLY), "w")
	for name, c := range map[string]struct {
		f    *FS
		want string
	}{"the first": {one, "b=z"}, "the second": {two, "a=x"}, "the disk": {f, "a=w"}} {
		if got := tree(c.f); got != c.want {
			t.Errorf("%s holds %q, want %q", name, got, c.want)
		}
	}
	// Going back in the journal is possible too.
	if got := tree(f.CrashAt(0, f.NewRand(1))); got != "" {
		t.Errorf("before the first operation there was %q", got)
	}
	if got := tree(f.CrashAt(4, f.NewRand(1))); got != "a=x" {
		t.Errorf("after the fourth operation there was %q", got)
	}
}

func TestTheSameChanceGivesTheSameSurvivor(t *testing.T) {
	t.Parallel()
	f := New(1)
	for i := range 50 {
		name := string(rune('A' + i))
		write(t, open(t, f, name, os.O_WRONLY|os.O_CREATE), strings.Repeat(name, 100*i))
	}
	for i := range uint64(50) {
		if a, b := tree(f.CrashAt(90, f.NewRand(i))), tree(f.CrashAt(90, f.NewRand(i))); a != b {
			t.Fatalf("chance %d gave two survivors:\n%s\n%s", i, a, b)
		}
	}
}
