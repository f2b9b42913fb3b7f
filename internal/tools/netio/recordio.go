// Package netio holds the programs that stand between the network and a program (ucspi-tcp; qmail
// reference 22.4).
package netio

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"

	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "recordio", Short: "write down what goes in and out of a program", Usage: "program [arg ...]", Run: recordio},
	}
}

// maxLine is the most of a line that is written at once, in bytes.
const maxLine = 1000

// recordio runs a program and writes lines to standard error: its pid, < or >, the data, and a blank
// behind a complete line or + behind a part of one; [EOF] at an end. Unlike the original it writes control
// characters as "?".
func recordio(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("program [arg ...]")
	}
	l := &lines{w: e.Errs()}
	child := exec.CommandContext(ctx, e.Args[1], e.Args[2:]...)
	child.Env, child.Dir = e.Environ, e.Dir
	child.Stderr = (*shared)(l)
	if f, ok := e.Stderr.(*os.File); ok {
		child.Stderr = f
	}
	in, err1 := child.StdinPipe()
	out, err2 := child.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return e.Fatal(tool.Temporary, "unable to make a pipe: ", err)
	}
	if err := child.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = os.ErrNotExist // in the family's words
		}
		return e.Fatal(tool.Temporary, "unable to run ", e.Args[1], ": ", err)
	}
	l.pid = strconv.Itoa(child.Process.Pid)
	go func() {
		if e.Stdin != nil {
			l.copy('<', in, e.Stdin)
		}
		in.Close()
	}()
	l.copy('>', e.Stdout, out)
	err := child.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := exit.ExitCode(); code >= 0 {
			return code
		}
		return tool.Temporary // killed by a signal
	}
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return tool.Temporary
	}
	return tool.OK
}

// lines writes pieces of both directions, each line whole.
type lines struct {
	mu  sync.Mutex
	w   io.Writer
	pid string
}

func (l *lines) copy(direction byte, to io.Writer, from io.Reader) {
	buf := make([]byte, 8192)
	for {
		n, err := from.Read(buf)
		l.data(direction, buf[:n])
		if n > 0 && to != nil {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			l.line(direction, []byte("[EOF]"), "")
			return
		}
	}
}

func (l *lines) data(direction byte, p []byte) {
	for len(p) > 0 {
		n, mark, skip := 0, "+", 0
		for n < len(p) && n < maxLine && p[n] != '\n' {
			n++
		}
		if n < len(p) && p[n] == '\n' {
			mark, skip = " ", 1
		}
		l.line(direction, p[:n], mark)
		p = p[n+skip:]
	}
}

func (l *lines) line(direction byte, p []byte, mark string) {
	b := append([]byte(l.pid), ' ', direction, ' ')
	for _, c := range p {
		if c < ' ' && c != '\t' && c != '\r' || c >= 0x7f {
			c = '?'
		}
		if c != '\r' {
			b = append(b, c)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(append(append(b, mark...), '\n')) // what cannot be written is lost, as with the original
}

// shared is the program's own standard error between the lines.
type shared lines

// Write implements io.Writer.
func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
