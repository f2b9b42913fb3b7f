package tool

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// Image is a program that replaces the process, and what is changed of the process before it.
type Image struct {
	Argv    []string
	Environ []string

	Account *Account // whose ids the process takes, its groups reduced to GID; nil changes none
	Limits  []Limit  // soft limits to set, in order
	Session bool     // make a new session, and with it a process group
}

// Account is a user and group by number.
type Account struct {
	UID, GID int
}

// Limit is one soft limit of setrlimit(2).
type Limit struct {
	Resource int
	Soft     uint64
}

// Chain replaces the process by argv with the environment given, as programs do that end in
// "prog args".
func (e *Env) Chain(argv, environ []string) int {
	return e.Become(Image{Argv: argv, Environ: environ})
}

// Become replaces the process. It returns only when that failed, with a message and the
// family's exit code: 111.
func (e *Env) Become(img Image) int {
	run := e.Exec
	if run == nil {
		run = e.replace
	}
	err := run(img)
	if failed, ok := errors.AsType[*stepError](err); ok {
		return e.Fatal(Temporary, "unable to ", failed.step, ": ", failed.error)
	}
	if err != nil {
		return e.Fatal(Temporary, "unable to run ", img.Argv[0], ": ", err)
	}
	return OK
}

// stepError is a change of the process that failed.
type stepError struct {
	step string
	error
}

func (s *stepError) Unwrap() error { return s.error }

// replace is execve(2) behind the changes that the image asks for.
func (e *Env) replace(img Image) error {
	path, err := FindProgram(img.Argv[0], (&Env{Environ: img.Environ}).Getenv("PATH"), "")
	if err != nil {
		return err
	}
	if img.Session {
		// It fails for a leader of a group alone, which has what it asks for.
		_, _ = syscall.Setsid()
	}
	if a := img.Account; a != nil {
		if err := syscall.Setgroups([]int{a.GID}); err != nil {
			return &stepError{"setgroups", err}
		}
		if err := syscall.Setgid(a.GID); err != nil {
			return &stepError{"setgid", err}
		}
		if err := syscall.Setuid(a.UID); err != nil {
			return &stepError{"setuid", err}
		}
	}
	environ := lastOfEach(img.Environ)
	for _, l := range img.Limits {
		var have syscall.Rlimit
		if err := syscall.Getrlimit(l.Resource, &have); err != nil {
			return &stepError{"getrlimit", err}
		}
		have.Cur = min(l.Soft, have.Max)
		if err := syscall.Setrlimit(l.Resource, &have); err != nil {
			return &stepError{"setrlimit", err}
		}
	}
	return syscall.Exec(path, img.Argv, environ)
}

// lastOfEach leaves each variable's last value alone.
func lastOfEach(environ []string) []string {
	seen := make(map[string]bool, len(environ))
	out := make([]string, 0, len(environ))
	for _, v := range slices.Backward(environ) {
		k, _, _ := strings.Cut(v, "=")
		if !seen[k] {
			seen[k] = true
			out = append(out, v)
		}
	}
	slices.Reverse(out)
	return out
}

// Command prepares a child with the run's environment, folder, output and errors; its input is
// empty. The error is about finding the program.
func (e *Env) Command(ctx context.Context, argv []string) (*exec.Cmd, error) {
	path, err := FindProgram(argv[0], e.Getenv("PATH"), e.Dir)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, path)
	c.Args = argv
	c.Dir, c.Env = e.Dir, lastOfEach(e.Environ)
	if c.Env == nil {
		c.Env = []string{}
	}
	c.Stdout, c.Stderr = e.Out(), e.Errs()
	return c, nil
}

// ExitCode turns what Wait of a child returned into the child's exit code; crashed means that a
// signal ended it.
func ExitCode(err error) (code int, crashed bool) {
	if err == nil {
		return 0, false
	}
	if x, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := x.ExitCode(); code >= 0 {
			return code, false
		}
	}
	return -1, true
}

// TemporaryError says whether trying again can mend what the system said (error_temp of the
// family's libraries).
func TemporaryError(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return false
	}
	switch errno {
	case syscall.EINTR, syscall.ENOMEM, syscall.ETXTBSY, syscall.EIO, syscall.ETIMEDOUT, syscall.EWOULDBLOCK,
		syscall.ENFILE, syscall.EMFILE, syscall.ENOSPC, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EDQUOT, syscall.ESTALE, syscall.EDEADLK, syscall.EBUSY:
		return true
	}
	return false
}

// FindProgram returns the file that name stands for: itself when it has a slash, else the first
// executable of that name along path, "/bin:/usr/bin" when that is empty. Relative names are
// relative to dir, which may be empty.
func FindProgram(name, path, dir string) (string, error) {
	e := Env{Dir: dir}
	if strings.Contains(name, "/") {
		return e.Path(name), nil
	}
	if name == "" {
		return "", syscall.ENOENT
	}
	if path == "" {
		path = "/bin:/usr/bin"
	}
	var failed error = syscall.ENOENT
	for folder := range strings.SplitSeq(path, ":") {
		if folder == "" {
			folder = "."
		}
		file := e.Path(folder + "/" + name)
		st, err := os.Stat(file)
		switch {
		case err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0:
			return file, nil
		case err == nil:
			failed = syscall.EACCES
		case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			failed = err
		}
	}
	return "", failed
}
