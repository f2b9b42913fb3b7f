// Package wrap holds the programs that change something of the process and become another
// program: uid, limits, environment, lock, process group (daemontools; qmail reference 21.7).
//
// Usage errors exit 100 (envdir 111), failures 111. Nothing is changed before the command line
// has been understood.
package wrap

import (
	"context"
	"math"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "setuidgid", Short: "run a program under an account's uid and gid", Run: setuidgid},
		{Name: "envuidgid", Short: "run a program with an account's uid and gid in UID and GID", Run: envuidgid},
		{Name: "envdir", Short: "run a program with variables from a folder's files", Run: envdir},
		{Name: "softlimit", Short: "run a program with soft resource limits", Run: softlimit},
		{Name: "setlock", Short: "run a program with a file locked", Run: setlock},
		{Name: "pgrphack", Short: "run a program in a process group of its own", Run: pgrphack},
		{Name: "fghack", Short: "stay in front of a program that goes to the background", Run: fghack},
	}
}

// account looks the user up whom the first argument names; ok is false after a message.
func account(e *tool.Env) (tool.Account, int) {
	if len(e.Args) < 3 {
		return tool.Account{}, e.UsageError("account child")
	}
	u, err := user.Lookup(e.Args[1])
	if err != nil {
		return tool.Account{}, e.Fatal(tool.Temporary, "unknown account ", e.Args[1])
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if uidErr != nil || gidErr != nil {
		return tool.Account{}, e.Fatal(tool.Temporary, "unknown account ", e.Args[1])
	}
	return tool.Account{UID: uid, GID: gid}, tool.OK
}

func setuidgid(_ context.Context, e *tool.Env) int {
	a, code := account(e)
	if code != tool.OK {
		return code
	}
	return e.Become(tool.Image{Argv: e.Args[2:], Environ: e.Environ, Account: &a})
}

func envuidgid(_ context.Context, e *tool.Env) int {
	a, code := account(e)
	if code != tool.OK {
		return code
	}
	e.Environ = e.With("GID", strconv.Itoa(a.GID))
	return e.Chain(e.Args[2:], e.With("UID", strconv.Itoa(a.UID)))
}

// envdir sets the variable named as each file to the file's first line; an empty file removes
// its variable.
func envdir(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 3 {
		e.UsageError("dir child")
		return tool.Temporary // as the original: envdir(8)
	}
	dir := e.Args[1]
	entries, err := os.ReadDir(e.Path(dir))
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to switch to directory ", dir, ": ", err)
	}
	for _, d := range entries {
		name := d.Name()
		if name[0] == '.' {
			continue
		}
		// A value longer than this the kernel would refuse anyway (MAX_ARG_STRLEN, execve(2)).
		b, err := tool.ReadAtMost(e.Path(dir+"/"+name), 128<<10)
		if err != nil {
			return e.Fatal(tool.Temporary, "unable to read ", dir, "/", name, ": ", err)
		}
		if len(b) == 0 {
			e.Environ = e.Without(name)
			continue
		}
		line, _, _ := strings.Cut(string(b), "\n")
		line = strings.ReplaceAll(strings.TrimRight(line, " \t"), "\x00", "\n")
		e.Environ = e.With(name, line)
	}
	return e.Chain(e.Args[2:], e.Environ)
}

// limitsOf names the limits behind each option of softlimit; Go's syscall lacks some numbers
// (setrlimit(2), Linux).
var limitsOf = map[rune][]int{
	'a': {syscall.RLIMIT_AS}, 'c': {syscall.RLIMIT_CORE}, 'd': {syscall.RLIMIT_DATA},
	'f': {syscall.RLIMIT_FSIZE}, 'l': {rlimitMemlock}, 'o': {syscall.RLIMIT_NOFILE},
	'm': {syscall.RLIMIT_DATA, syscall.RLIMIT_STACK, rlimitMemlock, syscall.RLIMIT_AS},
	'p': {rlimitNproc}, 'r': {rlimitRSS}, 's': {syscall.RLIMIT_STACK}, 't': {syscall.RLIMIT_CPU},
}

const (
	rlimitRSS     = 5
	rlimitNproc   = 6
	rlimitMemlock = 8
)

func softlimit(_ context.Context, e *tool.Env) int {
	const usage = "[-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] " +
		"[-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child"
	opts, rest, ok := tool.GetOpt(e.Args[1:], "a:c:d:f:l:m:o:p:r:s:t:")
	if !ok || len(rest) == 0 {
		return e.UsageError(usage)
	}
	var limits []tool.Limit
	for _, o := range opts {
		soft := uint64(math.MaxUint64) // "=": the hard limit, to which larger ones are lowered
		if o.Value != "=" {
			n, tail := tool.ScanUint(o.Value)
			if tail != "" || o.Value == "" {
				return e.UsageError(usage)
			}
			soft = n
		}
		for _, r := range limitsOf[o.Name] {
			limits = append(limits, tool.Limit{Resource: r, Soft: soft})
		}
	}
	// The address space last: this process must still be able to set the others.
	slices.SortStableFunc(limits, func(a, b tool.Limit) int {
		return boolInt(a.Resource == syscall.RLIMIT_AS) - boolInt(b.Resource == syscall.RLIMIT_AS)
	})
	return e.Become(tool.Image{Argv: rest, Environ: e.Environ, Limits: limits})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// setlock holds a lock on a file as long as the program, or a child that inherited it, runs.
func setlock(_ context.Context, e *tool.Env) int {
	opts, rest, ok := tool.GetOpt(e.Args[1:], "nNxX")
	if !ok || len(rest) < 2 {
		return e.UsageError("[ -nNxX ] file program [ arg ... ]")
	}
	how, failed := syscall.LOCK_EX, func(what string, err error) int {
		return e.Fatal(tool.Temporary, "unable to ", what, " ", rest[0], ": ", err)
	}
	loud := failed
	for _, o := range opts {
		switch o.Name {
		case 'n':
			how = syscall.LOCK_EX | syscall.LOCK_NB
		case 'N':
			how = syscall.LOCK_EX
		case 'x':
			failed = func(string, error) int { return tool.OK }
		case 'X':
			failed = loud
		}
	}
	// Not package os: the descriptor must stay open in the program.
	fd, err := syscall.Open(e.Path(rest[0]), syscall.O_WRONLY|syscall.O_NDELAY|syscall.O_APPEND|syscall.O_CREAT, 0o600)
	if err != nil {
		return failed("open", err)
	}
	defer syscall.Close(fd)
	for {
		err = syscall.Flock(fd, how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return failed("lock", err)
	}
	return e.Chain(rest[1:], e.Environ)
}

func pgrphack(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("child")
	}
	return e.Become(tool.Image{Argv: e.Args[1:], Environ: e.Environ, Session: true})
}

// fghack gives the program some 30 copies of a pipe's end and waits until all of them are
// closed, which a daemon that closes its descriptors from 3 up defeats.
func fghack(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("child")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to create pipe: ", err)
	}
	defer r.Close()
	c, err := e.Command(ctx, e.Args[1:])
	if err == nil {
		c.Stdin = e.Stdin
		for range 30 {
			c.ExtraFiles = append(c.ExtraFiles, w)
		}
		err = c.Start()
	}
	w.Close()
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to run ", e.Args[1], ": ", err)
	}
	var b [512]byte
	for {
		if _, err := r.Read(b[:]); err != nil {
			break
		}
	}
	code, crashed := tool.ExitCode(c.Wait())
	if crashed {
		return e.Fatal(tool.Temporary, "child crashed")
	}
	return code
}
