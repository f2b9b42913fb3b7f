// Package e2e tests the program as its users meet it: the built binary, run in a data
// folder of its own on free loopback ports, spoken to over its protocols and verbs.
//
// The tests know nothing of the program's insides but the layout of a Maildir. Those
// that need root, a mount or a foreign program skip with one line that says so. With
// -soak N the tests that kill and cut power go on N times as long; SOAK=1 in the
// environment means -soak 20.
package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

var soak = flag.Int("soak", soakEnv(), "how many times longer the tests under load run")

// soakEnv reads SOAK: a number above 1, or else a long run of some 20 minutes.
func soakEnv() int {
	text, set := os.LookupEnv("SOAK")
	n, err := strconv.Atoi(text)
	switch {
	case !set || text == "" || text == "0":
		return 1
	case err != nil || n < 2:
		return 20
	}
	return n
}

// binaryEnv names a binary that was built before, instead of a fresh one.
const binaryEnv = "POSTILION_E2E_BINARY"

// builds is where the binaries are built, once each.
type builds struct {
	dir string
	mu  sync.Mutex
	of  map[string]func() (string, error)
}

var binaries builds

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	flag.Parse()
	// The roles' uids must be able to pass.
	dir, err := os.MkdirTemp("", "postilion-e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries.dir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// binary returns the program, built with the given tag ("" is the one users get).
func binary(t testing.TB, tag string) string {
	t.Helper()
	if given := os.Getenv(binaryEnv); given != "" && tag == "" {
		return given
	}
	binaries.mu.Lock()
	if binaries.of == nil {
		binaries.of = map[string]func() (string, error){}
	}
	build := binaries.of[tag]
	if build == nil {
		build = sync.OnceValues(func() (string, error) { return goBuild(binaries.dir, tag) })
		binaries.of[tag] = build
	}
	binaries.mu.Unlock()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func goBuild(dir, tag string) (string, error) {
	path := filepath.Join(dir, "postilion"+tag)
	cmd := exec.Command("go", "build", "-tags", tag, "-o", path, "./cmd/postilion")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out.Bytes())
	}
	return path, nil
}

// needRoot skips a test that mounts or sends signals to other uids' processes.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: needs root")
	}
}

// needProgram skips a test of a foreign program that is not installed.
func needProgram(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("skipped: %s is not installed", name)
		}
	}
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
