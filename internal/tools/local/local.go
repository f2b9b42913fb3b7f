// Package local holds programs for .qmail that look at a delivery: preline and qbiff (qmail
// reference 13). They rely on the variables of a delivery (9.2).
package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "preline", Short: "run a program with From, Return-Path and Delivered-To lines before the message", Run: preline},
		{Name: "qbiff", Short: "tell a user who is logged in of new mail", Run: qbiff},
	}
}

// preline feeds a program the lines UFLINE, RPLINE and DTLINE and the message. -f, -r and -d leave
// one of them out.
func preline(ctx context.Context, e *tool.Env) int {
	const usage = "cmd [ arg ... ]"
	lines := map[rune]string{}
	for letter, name := range map[rune]string{'f': "UFLINE", 'r': "RPLINE", 'd': "DTLINE"} {
		v, ok := e.Lookup(name)
		if !ok {
			return e.UsageError(usage)
		}
		lines[letter] = v
	}
	opts, argv, ok := tool.GetOpt(e.Args[1:], "frdFRD")
	if !ok || len(argv) == 0 {
		return e.UsageError(usage)
	}
	without := map[rune]bool{}
	for _, o := range opts {
		lower := o.Name | 0x20
		without[lower] = o.Name == lower
	}
	head := ""
	for _, letter := range "frd" {
		if !without[letter] {
			head += lines[letter]
		}
	}
	c, err := e.Command(ctx, argv)
	var in io.WriteCloser
	if err == nil {
		if in, err = c.StdinPipe(); err == nil {
			err = c.Start()
		}
	}
	if err != nil {
		code := tool.Permanent
		if tool.TemporaryError(err) {
			code = tool.Temporary
		}
		return e.Fatal(code, "unable to run ", argv[0], ": ", err)
	}
	copied := feed(in, head, e.In())
	code, crashed := tool.ExitCode(c.Wait())
	switch {
	case copied != nil:
		return e.Fatal(tool.Temporary, "unable to copy input: ", copied)
	case crashed:
		return e.Fatal(tool.Temporary, "child crashed")
	}
	return code
}

// feed writes head and the message to a program, which may stop reading whenever it likes. The
// error is about reading the message.
func feed(w io.WriteCloser, head string, message io.Reader) error {
	defer w.Close()
	if _, err := io.WriteString(w, head); err != nil {
		return nil
	}
	if f, ok := message.(*os.File); ok {
		if _, err := io.Copy(w, f); err != nil && !errors.Is(err, syscall.EPIPE) {
			return err
		}
		return nil
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := message.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// qbiff writes sender, subject and the first text of the message to the terminals of $USER that
// allow it (biff y). It always succeeds: it is no delivery.
func qbiff(_ context.Context, e *tool.Env) int {
	user, ok := e.Lookup("USER")
	sender, ok2 := e.Lookup("SENDER")
	local, ok3 := e.Lookup("LOCAL")
	if !ok || !ok2 || !ok3 || len(user) > utmpUserLen {
		return tool.OK
	}
	text := "\r\n\a" + tool.Masked("*** TO <"+local+"> FROM <"+sender+">", '_') + "\r\n" + tool.Masked(excerpt(e.In()), '/') + "\r\n"
	root := e.Getenv("POSTILION_ROOT")
	db, err := tool.ReadAtMost(root+"/var/run/utmp", 16<<20)
	if err != nil {
		return tool.OK
	}
	for _, line := range terminals(db, user) {
		tell(root+"/dev/"+line, text)
	}
	return tool.OK
}

// excerpt is four blanks, the subjects and the beginning of the text, 78 bytes at most.
func excerpt(message io.Reader) string {
	const limit = 78
	r := bufio.NewReaderSize(io.LimitReader(message, 1<<20), 64<<10)
	text, subject, inHeader := "    ", false, true
	for len(text) < limit {
		line, err := r.ReadString('\n')
		switch {
		case inHeader && line == "\n":
			inHeader = false
		case inHeader && line != "" && (line[0] == ' ' || line[0] == '\t'):
			if subject {
				text += line
			}
		case inHeader:
			name, value, _ := strings.Cut(line, ":")
			if subject = strings.EqualFold(strings.TrimRight(name, " \t"), "subject"); subject {
				text += strings.TrimLeft(value, " \t\n")
			}
		default:
			text += line
		}
		if err != nil {
			break
		}
	}
	return text[:min(len(text), limit)]
}

// An entry of utmp(5) on 64-bit Linux.
const (
	utmpSize    = 384
	utmpLine    = 8
	utmpLineLen = 32
	utmpUser    = 44
	utmpUserLen = 32
	userProcess = 7
)

// terminals lists the terminals on which a user is logged in.
func terminals(db []byte, user string) (lines []string) {
	for ; len(db) >= utmpSize; db = db[utmpSize:] {
		name, _, _ := bytes.Cut(db[utmpUser:utmpUser+utmpUserLen], []byte{0})
		line, _, _ := bytes.Cut(db[utmpLine:utmpLine+utmpLineLen], []byte{0})
		if binary.LittleEndian.Uint16(db) != userProcess || string(name) != user {
			continue
		}
		if len(line) > 0 && line[0] != '/' && bytes.IndexByte(line, '.') < 0 {
			lines = append(lines, string(line))
		}
	}
	return lines
}

// tell writes to a terminal that is the user's and has its x bit. It waits for nobody.
func tell(name, text string) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Mode().Perm()&0o100 == 0 {
		return
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid == uint32(os.Getuid()) {
		_, _ = io.WriteString(f, text) // a terminal that is gone is told nothing
	}
}
