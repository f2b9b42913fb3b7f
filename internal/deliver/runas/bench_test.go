package runas

import (
	"context"
	"os"
	"testing"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/fstest"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// benchmarked is what a delivery does, without its syncs.
func benchmarked(b *testing.B, f fs.FS, search func() error) {
	for _, dir := range []string{"tmp", "new"} {
		if err := f.Mkdir(dir, 0o700); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			if err := search(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stat", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.Stat("new"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Maildir", func(b *testing.B) {
		for b.Loop() {
			file, err := f.OpenFile("tmp/x", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				b.Fatal(err)
			}
			file.Write(make([]byte, 4096))
			file.Close()
			if err := f.Rename("tmp/x", "new/x"); err != nil {
				b.Fatal(err)
			}
			dir, err := f.OpenFile("new", os.O_RDONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			dir.Close()
			if err := f.Remove("new/x"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFiles(b *testing.B) {
	needRoot(b)
	for name, s := range services(b, Options{}) {
		b.Run(name, func(b *testing.B) {
			u := newUser(b)
			fstest.Write(b, tree(b, s, u), ".qmail-default", "./Maildir/\n")
			benchmarked(b, tree(b, s, u), func() error {
				_, err := s.Search(context.Background(), u, Search{Names: []string{".qmail-a-b", ".qmail-a-default", ".qmail-default"}, Exist: []string{".qmail-a-b-owner"}, Limit: 1 << 20})
				return err
			})
		})
	}
	b.Run("without", func(b *testing.B) {
		u := newUser(b)
		f, err := osfs.New(u.Home)
		if err != nil {
			b.Fatal(err)
		}
		fstest.Write(b, f, ".qmail-default", "./Maildir/\n")
		benchmarked(b, f, func() error {
			for _, name := range []string{".", ".qmail-a-b", ".qmail-a-default", ".qmail-a-b-owner"} {
				f.Stat(name)
			}
			fstest.Read(b, f, ".qmail-default")
			return nil
		})
	})
}

func BenchmarkRun(b *testing.B) {
	needRoot(b)
	for name, s := range services(b, Options{}) {
		b.Run(name, func(b *testing.B) {
			u := newUser(b)
			for b.Loop() {
				if r := sh(b, s, u, "exit 0"); r.Exit != 0 {
					b.Fatal(r)
				}
			}
		})
	}
}
