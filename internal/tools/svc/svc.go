// Package svc holds the programs that look at services and command them: svstat, svc, svok
// (daemontools; qmail reference 21.2, 21.3). They speak to the folders of real supervise
// processes and to those that this server's roles keep in the same form.
package svc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/postilion/postilion/internal/qmail/supervise"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "svstat", Short: "tell whether services are up, and since when", Run: svstat},
		{Name: "svc", Short: "start, stop or signal services", Run: svc},
		{Name: "svok", Short: "tell by the exit code whether a service is supervised", Run: svok},
	}
}

func svstat(_ context.Context, e *tool.Env) int {
	_, dirs, ok := tool.GetOpt(e.Args[1:], "")
	if !ok {
		return e.UsageError("dir ...")
	}
	for _, dir := range dirs {
		fmt.Fprintf(e.Out(), "%s: %s\n", tool.Printable(dir), Status(e, dir))
	}
	return tool.OK
}

// Status returns what svstat prints of a service, behind "DIR: ".
func Status(e *tool.Env, dir string) string {
	at := e.Path(dir)
	st, err := os.Stat(at)
	if err == nil && !st.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return "unable to chdir: " + tool.ErrText(err)
	}
	_, err = os.Stat(at + "/" + supervise.Down)
	normallyDown := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "unable to stat down: " + tool.ErrText(err)
	}
	switch running, err := supervised(at); {
	case err != nil:
		return "unable to open supervise/ok: " + tool.ErrText(err)
	case !running:
		return "supervise not running"
	}
	status := at + "/" + supervise.Folder + "/" + supervise.File
	b, err := tool.ReadAtMost(status, supervise.Size)
	if err != nil {
		return "unable to open supervise/status: " + tool.ErrText(err)
	}
	s, err := supervise.Parse(b)
	if err != nil {
		return "unable to read supervise/status: bad format"
	}
	return s.Text(e.Time(), normallyDown)
}

// supervised says whether somebody reads the service's pipe supervise/ok.
func supervised(dir string) (bool, error) {
	err := pipe(dir+"/"+supervise.Folder+"/"+supervise.OK, nil)
	if errors.Is(err, syscall.ENXIO) {
		return false, nil
	}
	return err == nil, err
}

// pipe opens a named pipe that somebody reads, and writes to it. Nobody reading it is ENXIO. It
// never waits, and writes to pipes alone.
func pipe(name string, what []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Mode()&fs.ModeNamedPipe == 0 {
		return cmpErr(err, syscall.ENXIO)
	}
	if len(what) > 0 {
		_, err = f.Write(what)
	}
	return err
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func svc(_ context.Context, e *tool.Env) int {
	const letters = "udopchaitkx"
	opts, dirs, ok := tool.GetOpt(e.Args[1:], letters)
	if !ok {
		fmt.Fprintln(e.Errs(), "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill")
		return tool.Permanent
	}
	var commands []byte
	for _, o := range opts {
		// Once each, in the order given: svc.c.
		if c := byte(o.Name); !slices.Contains(commands, c) {
			commands = append(commands, c)
		}
	}
	for _, dir := range dirs {
		Command(e, dir, commands)
	}
	return tool.OK
}

// Command sends commands to a service, each a byte, and warns when that fails. The bool says
// whether they were sent.
func Command(e *tool.Env, dir string, commands []byte) bool {
	at := e.Path(dir)
	st, err := os.Stat(at)
	if err == nil && !st.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		e.Warn("unable to chdir to ", dir, ": ", err)
		return false
	}
	err = pipe(at+"/"+supervise.Folder+"/"+supervise.Control, commands)
	switch {
	case errors.Is(err, syscall.ENXIO):
		e.Warn("unable to control ", dir, ": supervise not running")
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		e.Warn("unable to control ", dir, ": ", err)
	case err != nil:
		e.Warn("error writing commands to ", dir, ": ", err)
	}
	return err == nil
}

func svok(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("dir")
	}
	dir := e.Args[1]
	if st, err := os.Stat(e.Path(dir)); err != nil || !st.IsDir() {
		return e.Fatal(tool.Temporary, "unable to chdir to ", dir, ": ", cmpErr(err, syscall.ENOTDIR))
	}
	switch running, err := supervised(e.Path(dir)); {
	case errors.Is(err, fs.ErrNotExist):
		return tool.Permanent
	case err != nil:
		return e.Fatal(tool.Temporary, "unable to open ", dir, "/supervise/ok: ", err)
	case !running:
		return tool.Permanent
	}
	return tool.OK
}
