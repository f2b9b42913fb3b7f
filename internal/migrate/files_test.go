package migrate_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/migratetest"
)

func TestAFileThatCannotBeReadIsNotedAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	dir, _ := migratetest.Tree(t, "/etc", map[string]string{"good": "a\n", "folder/x": "", "large": ""})
	if err := os.Truncate(filepath.Join(dir, "large"), 64<<20+1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"good":    "",
		"missing": "",
		"pipe":    "cannot be read: it is no regular file",
		"folder":  "cannot be read: it is no regular file",
		"large":   "cannot be read: it is larger than 67108864 bytes",
	} {
		var r migrate.Report
		data, err := r.File(filepath.Join(dir, name))
		got := ""
		for _, n := range r.Notes {
			got += n.Text
		}
		if got != want || (err == nil) != (name == "good") || (name == "good") != (string(data) == "a\n") {
			t.Errorf("%s: %q, %v, noted %q; want %q", name, data, err, got, want)
		}
	}
}
