// Package tool is what every small program runs on: one struct with the whole world of one
// run, so that tests run programs in their own process, and the conventions of the family's
// messages and exit codes.
//
// A program is a function of that world. It never touches package os's Args, Stdin or
// environment, never calls os.Exit, and changes no state of the process but through Exec.
package tool

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/qmail"
)

// Exit codes of the family (qmail reference A.4).
const (
	OK        = 0
	Stop      = 99  // .qmail: done, do not read on
	Permanent = 100 // usage errors, and what trying again does not mend
	Temporary = 111
)

// Program is one entry of the table.
type Program struct {
	Name  string // the name it is linked under
	Short string // what it does, in one line
	Usage string // its arguments, as the usage message shows them
	Run   func(ctx context.Context, e *Env) int
}

// Env is the world of one run. Args must be set; every other field works when zero, except
// that a zero stream is empty or discards.
type Env struct {
	Args    []string // the program's name, then its arguments
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Environ []string // as os.Environ gives it; a later entry overrides an earlier one
	Dir     string   // the current folder; "" is the process's
	Now     func() time.Time
	Zone    *time.Location // local time; nil means the process's

	// Wait waits for a time; nil means a timer.
	Wait func(ctx context.Context, d time.Duration) error

	// FD returns a further descriptor by its number, 3 and up; nil when it is not open. The
	// caller closes nothing.
	FD func(n int) *os.File

	// Umask sets the process's mask of file modes; nil means umask(2).
	Umask func(mask int)

	// Exec replaces the process by another program, found along PATH. It returns only when that
	// failed. Nil means execve(2).
	Exec func(Image) error
}

// System returns the process's own world, for a program of that command line.
func System(args []string) *Env {
	return &Env{Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ()}
}

// Name returns the name the program was called by.
func (e *Env) Name() string {
	if len(e.Args) == 0 {
		return ""
	}
	return filepath.Base(e.Args[0])
}

// Time returns the present time.
func (e *Env) Time() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// Local returns the zone of local time.
func (e *Env) Local() *time.Location {
	if e.Zone != nil {
		return e.Zone
	}
	return time.Local
}

// Lookup returns a variable of the environment and whether it is set.
func (e *Env) Lookup(name string) (value string, ok bool) {
	for _, v := range e.Environ {
		if k, x, found := strings.Cut(v, "="); found && k == name {
			value, ok = x, true
		}
	}
	return value, ok
}

// Getenv returns a variable of the environment, "" when it is not set.
func (e *Env) Getenv(name string) string {
	v, _ := e.Lookup(name)
	return v
}

// With returns the environment with name set to value.
func (e *Env) With(name, value string) []string {
	return append(e.Without(name), name+"="+value)
}

// Without returns the environment with name not set.
func (e *Env) Without(name string) []string {
	out := make([]string, 0, len(e.Environ)+1)
	for _, v := range e.Environ {
		if k, _, _ := strings.Cut(v, "="); k != name {
			out = append(out, v)
		}
	}
	return out
}

// Path returns a file name as the process must open it: relative names are relative to Dir.
func (e *Env) Path(name string) string {
	if e.Dir == "" || filepath.IsAbs(name) {
		return name
	}
	// Not filepath.Join: a trailing "/" or ".." behind a link must stay what it was.
	return e.Dir + "/" + name
}

// In returns the program's standard input, never nil.
func (e *Env) In() io.Reader {
	if e.Stdin == nil {
		return strings.NewReader("")
	}
	return e.Stdin
}

// Out returns the program's standard output, never nil.
func (e *Env) Out() io.Writer {
	if e.Stdout == nil {
		return io.Discard
	}
	return e.Stdout
}

// Errs returns the program's standard error, never nil.
func (e *Env) Errs() io.Writer {
	if e.Stderr == nil {
		return io.Discard
	}
	return e.Stderr
}

// File returns the open descriptor n, nil when there is none.
func (e *Env) File(n int) *os.File {
	if e.FD != nil {
		return e.FD(n)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(n), syscall.F_GETFD, 0); errno != 0 {
		return nil
	}
	return os.NewFile(uintptr(n), fmt.Sprintf("descriptor %d", n))
}

// SetUmask sets the mask of the modes of files that the program makes.
func (e *Env) SetUmask(mask int) {
	if e.Umask != nil {
		e.Umask(mask)
		return
	}
	syscall.Umask(mask)
}

// Fatal writes `NAME: fatal: what` and returns the exit code. The parts of what are joined
// without a separator, as the family's strerr_die does; an error is written by ErrText.
func (e *Env) Fatal(code int, what ...any) int {
	e.say("fatal: ", what)
	return code
}

// Warn writes `NAME: warning: what`.
func (e *Env) Warn(what ...any) { e.say("warning: ", what) }

// Info writes `NAME: info: what`.
func (e *Env) Info(what ...any) { e.say("info: ", what) }

func (e *Env) say(level string, what []any) {
	var b strings.Builder
	b.WriteString(e.Name() + ": " + level)
	for _, w := range what {
		if err, ok := w.(error); ok {
			b.WriteString(ErrText(err))
			continue
		}
		fmt.Fprint(&b, w)
	}
	io.WriteString(e.Errs(), Printable(b.String())+"\n")
}

// UsageError writes `NAME: usage: NAME ARGUMENTS` and returns 100.
func (e *Env) UsageError(arguments string) int {
	line := e.Name() + ": usage: " + e.Name()
	if arguments != "" {
		line += " " + arguments
	}
	io.WriteString(e.Errs(), line+"\n")
	return Permanent
}

// Masked returns s with each byte that is not printable ASCII replaced.
func Masked(s string, by byte) string {
	b := []byte(s)
	for i, c := range b {
		if c < 32 || c > 126 {
			b[i] = by
		}
	}
	return string(b)
}

// Printable returns text with control bytes replaced by "?", for a terminal or a log.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if (r < ' ' && r != '\t') || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, text)
}

// ErrText returns an error as the family words it, without the names of calls and files that the
// system's packages put before it: its callers name the file themselves. What other packages
// say stays as it is.
func ErrText(err error) string {
	switch x := err.(type) {
	case syscall.Errno:
		if t, ok := qmail.ErrorText(x); ok {
			return t
		}
		return x.Error()
	case *fs.PathError:
		return ErrText(x.Err)
	case *os.LinkError:
		return ErrText(x.Err)
	case *os.SyscallError:
		return ErrText(x.Err)
	case *net.OpError:
		return ErrText(x.Err)
	case interface{ Unwrap() []error }:
		return ErrText(x.Unwrap()[0])
	}
	switch err {
	case fs.ErrNotExist:
		return "file does not exist"
	case fs.ErrPermission:
		return "permission denied"
	case fs.ErrExist:
		return "file already exists"
	}
	return err.Error()
}

// Sleep waits for d, or until ctx ends. The error is ctx's.
func (e *Env) Sleep(ctx context.Context, d time.Duration) error {
	if e.Wait != nil {
		return e.Wait(ctx, d)
	}
	return clock.Sleep(ctx, d)
}

// QmailHome returns the folder of the qmail host's files: $POSTILION_QMAIL, else /var/qmail,
// below $POSTILION_ROOT where that is set.
func (e *Env) QmailHome() string {
	if dir := e.Getenv("POSTILION_QMAIL"); dir != "" {
		return e.Path(dir)
	}
	return e.Getenv("POSTILION_ROOT") + "/var/qmail"
}

// Queue queues a message. It returns what the message goes by, or, with fail not "", "D" or "Z"
// and why it was not taken.
type Queue func(ctx context.Context, e *Env, from string, to []string, content io.Reader) (qp, fail string)
