package box

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/tools/tool"
)

// maildir2mbox moves the messages of $MAILDIR to the end of the mbox $MAIL, by way of $MAILTMP on
// the same file system. Every step is made durable before the next: a crash can repeat
// messages, never lose one (qmail reference 10.4).
func maildir2mbox(_ context.Context, e *tool.Env) int {
	mbox, ok := e.Lookup("MAIL")
	if !ok {
		return e.Fatal(tool.Temporary, "MAIL not set")
	}
	tmp, ok := e.Lookup("MAILTMP")
	if !ok {
		return e.Fatal(tool.Temporary, "MAILTMP not set")
	}
	dir, code := enter(e)
	if code != tool.OK {
		return code
	}
	Clean(dir, e.Time())
	list, err := Scan(dir, e.Time(), "new", "cur")
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to scan $MAILDIR/", failedPath(err), ": ", err)
	}
	if len(list) == 0 {
		return tool.OK
	}
	m := &mover{dir: dir, mbox: mbox, tmp: tmp, list: list}
	// $MAIL and $MAILTMP are relative to $MAILDIR, into which the original changes.
	m.at = tool.Env{Dir: dir}
	if err := m.run(); err != nil {
		return e.Fatal(tool.Temporary, err)
	}
	for _, m := range list {
		if err := os.Remove(dir + "/" + m.Name); err != nil {
			e.Warn("$MAILDIR/", m.Name, " will be delivered twice; unable to unlink: ", err)
		}
	}
	return tool.OK
}

// enter returns the folder that $MAILDIR names.
func enter(e *tool.Env) (string, int) {
	name, ok := e.Lookup("MAILDIR")
	if !ok {
		return "", e.Fatal(tool.Temporary, "MAILDIR not set")
	}
	dir := e.Path(name)
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return "", e.Fatal(tool.Temporary, "unable to chdir to ", name, ": ", err)
	}
	return dir, tool.OK
}

// failedPath returns the file that an error of package os is about.
func failedPath(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Path
	}
	return ""
}

// mover writes a copy of an mbox with a Maildir's messages behind it, and puts it in the mbox's
// place.
type mover struct {
	at        tool.Env // the folder that names are relative to
	dir       string   // the Maildir
	mbox, tmp string
	list      []Message
	out       *bufio.Writer
}

// failed words an error as the program says it.
func failed(what, name string, err error) error {
	return fmt.Errorf("%s %s: %s", what, name, tool.ErrText(err))
}

func (m *mover) run() error {
	lock, err := os.OpenFile(m.at.Path(m.mbox), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return failed("unable to lock", m.mbox, err)
	}
	defer lock.Close()
	if err := flock(lock); err != nil {
		return failed("unable to lock", m.mbox, err)
	}
	old, err := os.Open(m.at.Path(m.mbox))
	if err != nil {
		return failed("unable to read", m.mbox, err)
	}
	defer old.Close()
	f, err := os.OpenFile(m.at.Path(m.tmp), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return failed("unable to create", m.tmp, err)
	}
	defer f.Close()
	m.out = bufio.NewWriterSize(f, 64<<10)
	in := &failedReader{Reader: old}
	if _, err := io.Copy(m.out, in); err != nil {
		if in.failed {
			return failed("unable to read", m.mbox, err)
		}
		return failed("unable to write to", m.tmp, err)
	}
	for _, msg := range m.list {
		if err := m.message(msg); err != nil {
			return err
		}
	}
	if err := errors.Join(m.out.Flush(), f.Sync()); err != nil {
		return failed("unable to write to", m.tmp, err)
	}
	if err := f.Close(); err != nil {
		return failed("unable to write to", m.tmp, err)
	}
	if err := os.Rename(m.at.Path(m.tmp), m.at.Path(m.mbox)); err != nil {
		return fmt.Errorf("unable to move %s to %s: %s", m.tmp, m.mbox, tool.ErrText(err))
	}
	if err := osfs.Sync(folderOf(m.at.Path(m.mbox))); err != nil {
		return failed("unable to sync the folder of", m.mbox, err)
	}
	return nil
}

func folderOf(path string) string {
	i := strings.LastIndexByte(path, '/')
	switch {
	case i < 0:
		return "."
	case i == 0:
		return "/"
	}
	return path[:i]
}

func flock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

// message appends one message with its From_ line, ">" before each line that looks like one, and
// the blank line behind it.
func (m *mover) message(msg Message) error {
	f, err := os.Open(m.dir + "/" + msg.Name)
	if err != nil {
		return failed("unable to read", "$MAILDIR/"+msg.Name, err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	start, end := true, byte('\n')
	for first := true; ; {
		part, err := r.ReadSlice('\n')
		if first {
			// A From_ line of its own: the header's first line is Return-Path from a delivery.
			m.out.WriteString("From " + fromSender(part) + " ")
			m.out.Write(append(qmail.AppendFromDate(nil, msg.Modified), '\n'))
			first = false
		}
		if len(part) > 0 {
			if start && looksLikeFrom(part) {
				m.out.WriteByte('>')
			}
			m.out.Write(part)
			end = part[len(part)-1]
			start = end == '\n'
		}
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return failed("unable to read", "$MAILDIR/"+msg.Name, err)
		}
	}
	if end != '\n' {
		m.out.WriteByte('\n')
	}
	if err := m.out.WriteByte('\n'); err != nil {
		return failed("unable to write to", m.tmp, err)
	}
	return nil
}

// fromSender returns the sender of a From_ line: what a Return-Path line names, its blanks as
// "-".
func fromSender(line []byte) string {
	rest, ok := bytes.CutPrefix(line, []byte("Return-Path: <"))
	rest, whole := bytes.CutSuffix(rest, []byte(">\n"))
	switch {
	case !ok || !whole:
		return "XXX"
	case len(rest) == 0:
		return "MAILER-DAEMON"
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return '-'
		}
		return r
	}, string(rest))
}

// looksLikeFrom says whether a line is "From " behind any number of ">" (mboxrd).
func looksLikeFrom(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
}
