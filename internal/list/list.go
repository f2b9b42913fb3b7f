// Package list keeps mailing lists in the folders that ezmlm and ezmlm-idx made, and that their
// programs can go on using: settings, subscribers, log, archive, bounces, texts (qmail reference 23).
// It knows nothing of processes, queues and .qmail files; the programs of tools/ezmlm do.
//
// Two rules: what was acknowledged is on the disk (a file is replaced as a whole, synced, renamed,
// its folder synced), and nothing that a message says becomes part of a path.
package list

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// Error is why a list does not do what was asked. Text is for the log, and for the sender of what
// is refused.
type Error struct {
	Permanent bool // trying again does not help
	Text      string
	Cause     error // of the system, if any
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// refuse makes an error that trying again does not mend.
func refuse(format string, args ...any) *Error {
	return &Error{Permanent: true, Text: fmt.Sprintf(format, args...)}
}

// broken makes an error about a file that somebody must mend: mail waits for that.
func broken(format string, args ...any) *Error {
	return &Error{Text: fmt.Sprintf(format, args...)}
}

// failed makes an error of what the system said about a file: "unable to read DIR/key: ...".
func (f *Folder) failed(doing, name string, err error) *Error {
	return &Error{Text: "unable to " + doing + " " + f.path(name) + ": " + cause(err), Cause: err}
}

// cause returns what the system said, without the names of calls and files.
func cause(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		err = l.Err
	}
	return err.Error()
}

// Bounds of what is read whole.
const (
	maxSetting = 1 << 20 // bytes of a file of settings or a text
	maxKey     = 64 << 10
)

// path returns a file's name as an operator knows it.
func (f *Folder) path(name string) string { return strings.TrimSuffix(f.dir, "/") + "/" + name }

// read returns a file's content; missing is no error.
func (f *Folder) read(name string, limit int64) (content []byte, found bool, err error) {
	content, err = readFile(f.fs, name, limit)
	switch {
	case err == nil:
		return content, true, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	}
	return nil, false, f.failed("read", name, err)
}

var errTooLong = errors.New("the file is too long")

// readFile reads a whole file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	file, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLong
	}
	return b, err
}

// replace gives a file a new content in one step, by way of the file tmp beside it: after a crash
// there is the old content or the new one, and after replace returns the new one.
func (f *Folder) replace(name, tmp string, perm fs.FileMode, write func(w io.Writer) error) error {
	file, err := f.fs.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return f.failed("create", tmp, err)
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.fs.Rename(tmp, name)
	}
	if err == nil {
		err = f.fs.SyncDir(path.Dir(name))
	}
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			return e
		}
		return f.failed("write", name, err)
	}
	return nil
}

// replaceWith is replace with a content at hand.
func (f *Folder) replaceWith(name, tmp string, perm fs.FileMode, content []byte) error {
	return f.replace(name, tmp, perm, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// mkdir makes a folder, and its name durable, where it is missing. Its parent exists.
func (f *Folder) mkdir(name string) error {
	err := f.fs.Mkdir(name, 0o755)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err == nil:
		err = f.fs.SyncDir(path.Dir(name))
	}
	if err != nil {
		return f.failed("create", name, err)
	}
	return nil
}

// remove removes a file; one that is gone is no error. A crash may bring it back.
func (f *Folder) remove(name string) error {
	if err := f.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failed("delete", name, err)
	}
	return nil
}

// How long a lock is waited for, and how often it is asked for.
const (
	lockWait = 5 * time.Minute
	lockPoll = 20 * time.Millisecond
)

// Lock takes the exclusive lock that ezmlm's programs take on the same file (flock(2)): "lock",
// "lockbounce", "mod/lock", below digest/ for a digest's. Closing releases it. After lockWait the error tells that it
// is held.
func (f *Folder) Lock(ctx context.Context, name string) (io.Closer, error) {
	file, err := f.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, f.failed("open", name, err)
	}
	for waited := time.Duration(0); ; waited += lockPoll {
		err = file.TryLock()
		if err == nil {
			return file, nil
		}
		if errors.Is(err, fs.ErrLocked) && waited < lockWait {
			if err = f.wait(ctx, lockPoll); err == nil {
				continue
			}
		}
		file.Close()
		return nil, &Error{Text: "unable to obtain lock on " + f.path(name) + ": " + cause(err), Cause: err}
	}
}
