package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What this package costs over package os: making and removing an empty file.
func BenchmarkCreateRemove(b *testing.B) {
	dir := b.TempDir()
	b.Run("package=os", func(b *testing.B) {
		name := filepath.Join(dir, "f")
		for b.Loop() {
			file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err := errors.Join(err, file.Close(), os.Remove(name)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("package=osfs", func(b *testing.B) {
		f, err := New(dir)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			file, err := f.OpenFile("f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err := errors.Join(err, file.Close(), f.Remove("f")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
