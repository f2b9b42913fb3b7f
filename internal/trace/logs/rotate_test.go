package logs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Roles write their logs into one folder. What one lays into another's place there leads that one to none of its own files.
func TestWhatOthersPutInTheLogsPlaceIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, victim := filepath.Join(dir, "log"), filepath.Join(dir, "victim")
	if err := errors.Join(os.WriteFile(victim, []byte("old\n"), 0o600), os.Symlink(victim, name)); err != nil {
		t.Fatal(err)
	}
	r, err := openRotating(name, 100, 2) // the operator's own link
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("new\n")); err != nil {
		t.Error(err)
	}
	r.Close()
	if p, err := os.ReadFile(victim); err != nil || string(p) != "old\nnew\n" {
		t.Errorf("%q, %v", p, err)
	}
	if os.Geteuid() != 0 {
		t.Skip("links of others need root")
	}
	if err := os.Lchown(name, 70_000, 70_000); err != nil {
		t.Fatal(err)
	}
	if _, err := openRotating(name, 100, 2); err == nil || err.Error() != "open "+name+": it is a link that another user has made" {
		t.Errorf("%v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Lchown(fifo, 70_000, 70_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := openRotating(fifo, 100, 2); !errors.Is(err, syscall.ENXIO) { // nobody reads: it is not waited for
		t.Errorf("%v", err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := openRotating(fifo, 100, 2); err == nil || err.Error() != "open "+fifo+": another user has put something there that is no file" {
		t.Errorf("%v", err)
	}
	if p, err := os.ReadFile(victim); err != nil || string(p) != "old\nnew\n" {
		t.Errorf("%q, %v", p, err)
	}
}

// logrotate renames, and who needs room removes: lines that go on into such a file are found by nobody.
func TestALogThatOthersRemoveOrRenameGoesOnInANewFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	r, err := openRotating(name, 1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write := func(line string) {
		t.Helper()
		if _, err := r.Write([]byte(line)); err != nil {
			t.Error(err)
		}
	}
	want := func(name, text string) {
		t.Helper()
		if p, err := os.ReadFile(name); err != nil || string(p) != text {
			t.Errorf("%s holds %q, want %q (%v)", name, p, text, err)
		}
	}
	write("1\n")
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	write("2\n")
	want(name, "2\n")
	if err := errors.Join(os.Remove(name), os.WriteFile(name, []byte("theirs\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	write("3\n")
	want(name, "theirs\n3\n")
	if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	write("4\n") // goes on where it went
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	write("5\n")
	want(name, "5\n")
	want(name+".old", "1\n")
}
