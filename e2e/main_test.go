// Package e2e tests the program as its users meet it: the built binary, run in a data
// folder of its own on free loopback ports, spoken to over its protocols and verbs.
//
// The tests know nothing of the program's insides but the layout of a Maildir. Those
// that need root, a mount or a foreign program skip with one line that says so. With
// -soak N the tests that kill and cut power go on N times as long; SOAK=1 in the
// environment means -soak 20.
package e2e

import (
	"flag"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/postilion/postilion/e2e/e2etest"
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

// What the tests say most.
const patience = e2etest.Patience

var (
	check      = e2etest.Check
	eventually = e2etest.Eventually
	needRoot   = e2etest.NeedRoot
	dial       = e2etest.Dial
	dialSMTP   = e2etest.DialSMTP
	dialPOP    = e2etest.DialPOP
	code       = e2etest.Code
	newSink    = e2etest.NewSink
)

var binaries e2etest.Binaries

func TestMain(m *testing.M) {
	code := m.Run()
	binaries.Remove()
	os.Exit(code)
}

// binary returns the program, built with the given tag ("" is the one users get).
func binary(t testing.TB, tag string) string {
	t.Helper()
	return binaries.Path(t, "postilion", tag)
}

// tools returns the small programs.
func tools(t testing.TB) string {
	t.Helper()
	return binaries.Path(t, "postilion-tools", "")
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
