package mbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

func TestALockOfAProcessThatWasKilledHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	run := ThisRun()
	if run == "" {
		t.Skip("skipped: the system does not tell its boot")
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		lock string
		free bool
	}{
		"its maker ended":              {fmt.Sprintf("%d %s\n", ended.Process.Pid, run), true},
		"its maker lives":              {fmt.Sprintf("%d %s\n", os.Getpid(), run), false},
		"its maker ran somewhere else": {fmt.Sprintf("%d another %s\n", ended.Process.Pid, run), false},
		"another program's":            {fmt.Sprintf("%d\n", ended.Process.Pid), false},
		"empty":                        {"", false},
		"a process group":              {"-1 " + run + "\n", false},
		"endless":                      {strings.Repeat("1", 1000), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f, err := osfs.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "box.lock"), []byte(c.lock), 0o600); err != nil {
				t.Fatal(err)
			}
			s := &Store{FS: f, Run: run, LockWait: 50 * time.Millisecond}
			err = s.Append(context.Background(), "box", []byte("From a\n"), strings.NewReader("x\n"))
			if c.free && err != nil || !c.free && !errors.Is(err, fs.ErrLocked) {
				t.Errorf("have %v", err)
			}
		})
	}
}
