package tool

import (
	"errors"
	"os"
	"strings"
	"syscall"
)

// Chain replaces the process by argv, with the environment given, as programs do that end in
// "prog args". It returns the family's exit code, 111, with a message when that fails.
func (e *Env) Chain(argv, environ []string) int {
	run := e.Exec
	if run == nil {
		run = func(argv, environ []string) error {
			path, err := FindProgram(argv[0], lookup(environ, "PATH"), "")
			if err != nil {
				return err
			}
			return syscall.Exec(path, argv, environ)
		}
	}
	if err := run(argv, environ); err != nil {
		return e.Fatal(Temporary, "unable to run ", argv[0], ": ", err)
	}
	return OK
}

func lookup(environ []string, name string) string {
	return (&Env{Environ: environ}).Getenv(name)
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
