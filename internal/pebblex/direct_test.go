package pebblex

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestAlignedMemoryIsWholeBlocks(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, block - 1, block, block + 1, 5*block - 3} {
		for _, shift := range []int{0, 1, 513} {
			b := bytes.Repeat([]byte{'x'}, size+shift)[shift:]
			got := align(b)
			want := append(bytes.Repeat([]byte{'x'}, size), make([]byte, (block-size%block)%block)...)
			if !bytes.Equal(got, want) || address(got)%block != 0 {
				t.Errorf("%d bytes, shifted by %d, became %d at %x", size, shift, len(got), address(got)%block)
			}
			again := align(got[:size])
			if address(again) != address(got) {
				t.Errorf("%d bytes that are aligned were copied", size)
			}
		}
	}
}

// What is written past the cache is found through it, over the ends of blocks and over what an earlier use left.
func TestWritesPastTheCacheAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, bytes.Repeat([]byte("earlier "), 8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gate{FS: System(), dirs: []string{dir}, froze: func(err error) { t.Error(err) }}
	l := &log{fs: g, dir: dir, size: 1 << 20, spare: &spares{fs: g, dir: dir, list: []string{old}, most: 1}}
	bodies := make([]Attachment, 40)
	db := mustPebble(t)
	for i := range bodies {
		bodies[i] = Attachment{Key: []byte{'b', byte(i)}, Data: bytes.Repeat([]byte{byte(i)}, 1+i*i*17)}
		if err := l.write(db.NewBatch(), []*Attachment{&bodies[i]}, new(noLocker), func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		for n := range bodies[:i+1] {
			body := make([]byte, len(bodies[n].Data))
			if found, err := l.read(bodies[n].place, body); !found || err != nil || !bytes.Equal(body, bodies[n].Data) {
				t.Fatalf("after record %d body %d is found %v, %v", i, n, found, err)
			}
		}
	}
	r, err := l.now.reader()
	if err != nil {
		t.Fatal(err)
	}
	r.whole = true
	if _, err := r.opening(); err != nil {
		t.Fatal(err)
	}
	records := 0
	for err == nil {
		if err = r.next(); err == nil {
			records++
		}
	}
	if records != len(bodies) {
		t.Errorf("%d of %d records are read back, then: %v", records, len(bodies), err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

// Some file systems let a file be opened so, and then refuse every write.
func TestWhereTheCacheCannotBePassedWritesAreSynced(t *testing.T) {
	t.Parallel()
	g := &gate{FS: System(), froze: func(err error) { t.Error(err) }}
	f, err := g.CreateDurable("", filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.direct == nil {
		t.Skip("the file system of the tests cannot be written past the cache")
	}
	unaligned := align(make([]byte, 3*block))[1 : 1+block]
	copy(unaligned, "content")
	if err := f.WriteDurable(unaligned, 0); err != nil { // which is what such a file system says of every write
		t.Fatal(err)
	}
	if f.direct != nil {
		t.Error("the next write would be tried in vain again")
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 7))
	if err != nil || string(got) != "content" {
		t.Errorf("read %q, %v", got, err)
	}
}

type noLocker struct{}

func (noLocker) Lock()   {}
func (noLocker) Unlock() {}

func mustPebble(t *testing.T) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), FormatMajorVersion: Format})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
