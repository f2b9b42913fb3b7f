package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/tools/tool"
)

// accessed returns when a file was read last.
func accessed(st fs.FileInfo) time.Time {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return time.Unix(sys.Atim.Unix())
	}
	return st.ModTime()
}

func safecat(ctx context.Context, e *tool.Env) int {
	if len(e.Args) != 3 {
		return e.UsageError("<tempdir> <destdir>")
	}
	return store(ctx, e, e.Args[1], e.Args[2])
}

// maildir is safecat into a Maildir's tmp/ and new/.
func maildir(ctx context.Context, e *tool.Env) int {
	if len(e.Args) != 2 {
		return e.UsageError("<maildir>")
	}
	return store(ctx, e, e.Args[1]+"/tmp", e.Args[1]+"/new")
}

// store copies the input to a file in tmp, syncs it, links it into dest and prints its name.
func store(ctx context.Context, e *tool.Env, tmp, dest string) int {
	for _, dir := range []string{tmp, dest} {
		st, err := os.Stat(e.Path(dir))
		switch {
		case err != nil:
			return e.Fatal(tool.Temporary, "could not stat directory: ", err)
		case !st.IsDir():
			return e.Fatal(tool.Temporary, "not a directory: ", dir)
		case syscall.Access(e.Path(dir), 2) != nil: // W_OK
			return e.Fatal(tool.Temporary, "directory not writable: ", dir)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 24*time.Hour)
	defer cancel()
	name, err := freeName(ctx, e, tmp)
	if err != nil {
		return e.Fatal(tool.Temporary, "could not stat temporary file: ", err)
	}
	path := e.Path(tmp + "/" + name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return e.Fatal(tool.Temporary, "couldn't create output file: ", err)
	}
	defer os.Remove(path)
	if reading, err := copySynced(f, ending{ctx, e.In()}); err != nil {
		if reading {
			return e.Fatal(tool.Temporary, "unable to copy standard input: ", err)
		}
		return e.Fatal(tool.Temporary, "can't fsync/close output file: ", err)
	}
	if err := os.Link(path, e.Path(dest+"/"+name)); err != nil {
		return e.Fatal(tool.Temporary, "can't link output file: ", err)
	}
	if err := osfs.Sync(e.Path(dest)); err != nil {
		// The name may be lost in a crash: take it back, so that a second try makes no second copy.
		_ = os.Remove(e.Path(dest + "/" + name))
		return e.Fatal(tool.Temporary, "can't link output file: ", err)
	}
	fmt.Fprintln(e.Out(), name)
	return tool.OK
}

// freeName returns a name that tmp does not have: TAI seconds, microseconds, pid, host
// (qmail reference 19.1). It tries five times, two seconds apart.
func freeName(ctx context.Context, e *tool.Env, tmp string) (string, error) {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	for try := 1; ; try++ {
		now := e.Time()
		// TAI is ten seconds ahead of Unix time, leap seconds left out: names of the two sorts
		// never meet, and keep the order of the original's.
		name := fmt.Sprintf("%d.M%dP%d.%s", now.Unix()+10, now.Nanosecond()/1000, os.Getpid(), fileName(host))
		_, err := os.Stat(e.Path(tmp + "/" + name))
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err == nil {
			err = fs.ErrExist
		}
		if try == 5 {
			return "", err
		}
		if err := e.Sleep(ctx, 2*time.Second); err != nil {
			return "", err
		}
	}
}

// fileName returns the host with what means something in a Maildir's file name escaped.
func fileName(host string) string {
	out := make([]byte, 0, len(host))
	for i := range len(host) {
		switch c := host[i]; c {
		case '/':
			out = append(out, `\057`...)
		case ':':
			out = append(out, `\072`...)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// ending is a reader that fails when its time is over.
type ending struct {
	context.Context
	io.Reader
}

func (r ending) Read(p []byte) (int, error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
