package control

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestTheHolderOfALockIsDescribed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": false, "x": false, "-1": false, "99999999999": false, strconv.Itoa(os.Getpid()) + "\n": true} {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, LockFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, known := LockHolder(data)
		if known != want || known && (p.PID != os.Getpid() || p.Name == "" || p.Stopped) {
			t.Errorf("%q: %+v %v", text, p, known)
		}
	}
	if _, known := LockHolder(t.TempDir()); known {
		t.Error("somebody holds what is not there")
	}
	for line, want := range map[string]Process{
		"12 (postilion) T 1 12": {Name: "postilion", Stopped: true},
		"12 (a) b) T) S 1":      {Name: "a) b) T"},
		"12 (x":                 {},
		") (":                   {},
		"12 (x)":                {Name: "x"},
	} {
		if name, stopped := parseStat(line); name != want.Name || stopped != want.Stopped {
			t.Errorf("%q: %q %v", line, name, stopped)
		}
	}
}
