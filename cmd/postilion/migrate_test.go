package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A host that is mounted somewhere is named by its root, and its folders as it names them itself or as they lie here.
func TestAMountedHostsSettingsAreFoundUnderEitherName(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "etc/postfix")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("myhostname = mx.example.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{root}, {root, "/etc/postfix"}, {root, dir}, {filepath.Base(root), "/etc/postfix"}, {filepath.Base(root)}} {
		p := exec.Command("postilion", append([]string{"migrate", "postfix", "--root"}, args...)...)
		p.Dir = filepath.Dir(root)
		if out, err := p.CombinedOutput(); err != nil || !strings.Contains(string(out), `host = "mx.example.test"`) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}
