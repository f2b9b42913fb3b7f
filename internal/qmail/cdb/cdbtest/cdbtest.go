// Package cdbtest compiles databases with the programs of the distribution, for tests that ours are the
// same.
package cdbtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Compile gives text to a program that is called with a database's name and a temporary one, such as
// tcprules(1), and returns its exit code and, with 0, the database.
func Compile(t testing.TB, program, text string) (code int, file []byte) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(program, filepath.Join(dir, "cdb"), filepath.Join(dir, "tmp"))
	cmd.Stdin = strings.NewReader(text)
	if err := cmd.Run(); err != nil {
		return cmd.ProcessState.ExitCode(), nil
	}
	file, err := os.ReadFile(filepath.Join(dir, "cdb"))
	if err != nil {
		t.Fatal(err)
	}
	return 0, file
}
