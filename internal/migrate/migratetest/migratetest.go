// Package migratetest makes hosts of a few files, for tests of what reads their settings.
package migratetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Tree makes the files of a host below a new root, which ends with the test. A name is a path of the
// host, or one in its folder dir. It returns where dir is on this disk, and the root.
func Tree(t testing.TB, dir string, files map[string]string) (folder, root string) {
	t.Helper()
	root = t.TempDir()
	for name, content := range files {
		if !strings.HasPrefix(name, "/") {
			name = filepath.Join(dir, name)
		}
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(root, dir), root
}
