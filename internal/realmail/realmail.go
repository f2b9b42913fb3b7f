// Package realmail reads the archives of real mail that tests are run on. They lie beside the
// repository, not in it: a test that wants one is skipped where it is missing.
package realmail

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Open opens a file of the folder; the test is skipped when there is none of that name.
func Open(t testing.TB, name string) *os.File {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run inside the repository")
		}
	}
	f, err := os.Open(filepath.Join(dir, "..", "shared", "fixtures", name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("skipped: %s is not in ../shared/fixtures beside the repository", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Each calls read with the regular files of an archive (tar.zst), in order, until it returns false.
func Each(t testing.TB, archive string, read func(name string, content []byte) bool) {
	t.Helper()
	z, err := zstd.NewReader(Open(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !read(strings.TrimPrefix(h.Name, "./"), content) {
			return
		}
	}
}
