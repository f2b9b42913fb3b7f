// Package tooltest runs small programs within a test's process, and the originals of the
// distribution beside them.
package tooltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/tools/tool"
)

// Call is one run of a program.
type Call struct {
	Args []string // without the program's name
	In   string
	From io.Reader // in place of In
	Env  []string
	Dir  string

	Exec func(tool.Image) error
	Now  time.Time
}

// Result is what a run left.
type Result struct {
	Code     int
	Out, Err string
}

// Run runs the program of that name out of a table.
func Run(t testing.TB, table []tool.Program, name string, c Call) Result {
	t.Helper()
	for _, p := range table {
		if p.Name == name {
			var out, errs locked
			e := &tool.Env{
				Args: append([]string{name}, c.Args...), Stdin: strings.NewReader(c.In), Stdout: &out, Stderr: &errs,
				Environ: c.Env, Dir: c.Dir, Exec: c.Exec, Zone: time.UTC, Umask: func(int) {},
			}
			if c.From != nil {
				e.Stdin = c.From
			}
			if !c.Now.IsZero() {
				e.Now = func() time.Time { return c.Now }
			}
			code := p.Run(t.Context(), e)
			return Result{code, out.String(), errs.String()}
		}
	}
	t.Fatalf("there is no program %s", name)
	return Result{}
}

// Sent is a message that a program queued.
type Sent struct {
	From    string
	To      []string
	Content string
}

// Outbox is a queue that takes everything or, with Fail, nothing for that reason. Its Queue is a
// tool.Queue.
type Outbox struct {
	Sent []Sent
	Fail string
}

// Queue takes a message.
func (o *Outbox) Queue(_ context.Context, _ *tool.Env, from string, to []string, content io.Reader) (qp, fail string) {
	if o.Fail != "" {
		return "", o.Fail
	}
	b, err := io.ReadAll(content)
	if err != nil {
		return "", "Z" + err.Error()
	}
	o.Sent = append(o.Sent, Sent{from, to, string(b)})
	return "300", ""
}

// locked is a buffer that a program and its children write to.
type locked struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Original returns where the distribution's program is, or skips the test.
func Original(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: package %s", name, pkg)
	}
	return path
}

// RunOriginal runs a program of the distribution.
func RunOriginal(t testing.TB, path string, c Call) Result {
	t.Helper()
	x := exec.CommandContext(t.Context(), path, c.Args...)
	var out, errs bytes.Buffer
	x.Stdin, x.Stdout, x.Stderr, x.Dir = strings.NewReader(c.In), &out, &errs, c.Dir
	x.Env = append([]string{"PATH=/usr/bin:/bin", "TZ=UTC"}, c.Env...)
	err := x.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{x.ProcessState.ExitCode(), out.String(), errs.String()}
}
