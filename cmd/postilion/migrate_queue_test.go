package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A message that waits in a qmail's queue goes out from here, and a queue that qmail-send
// serves is left alone.
func TestAQmailsQueueIsTakenOver(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t), "--set", "process.single=true")
	dir := filepath.Join(t.TempDir(), "queue")
	for name, text := range map[string]string{
		"mess/3/26": "Received: (qmail 5 invoked by uid 0); 20 Nov 2026 10:00:00 -0000\nSubject: waited\n\nx\n", "info/3/26": "Fyou@example.org\x00",
		"local/3/26": "Tjoe-v-hello@example.test\x00", "mess/99": "half", "lock/sendmutex": "", "../control/virtualdomains": "example.test:joe-v\n",
	} {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	lock, err := os.Open(filepath.Join(dir, "lock", "sendmutex"))
	check(t, err)
	check(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	p, err := exec.Command("postilion", "migrate", "queue", dir, "--data", s.Data).CombinedOutput()
	if err == nil || !strings.Contains(string(p), "qmail-send serves "+dir) {
		t.Errorf("a queue that is served: %v, %s", err, p)
	}
	if out := s.Must("migrate", "queue", dir, "--dry-run"); !strings.Contains(out, "1 messages would be taken") {
		t.Errorf("--dry-run: %s", out)
	}
	lock.Close()
	want := regexp.MustCompile(`(?s)^26: taken as \w{26}, from <you@example.org>, .*\tto hello@example.test\n99: not carried: its injection never ended.*1 messages were taken, 1 of them new here\n$`)
	if out := s.Must("migrate", "queue", dir, "--held"); !want.MatchString(out) {
		t.Errorf("%s", out)
	}
	if out := s.Must("queue", "list"); !strings.Contains(out, "held") {
		t.Errorf("taken over with --held: %s", out)
	}
	s.Must("queue", "release", "--all", "--yes")
	s.Must("flush")
	s.arrives("waited")
	if _, err := os.Stat(filepath.Join(dir, "mess/3/26")); err != nil {
		t.Errorf("the source has changed: %v", err)
	}
}
