// Package stamp holds the programs that put TAI64N time stamps before lines and turn them into
// local time (daemontools; qmail reference 21.6).
package stamp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "tai64n", Short: "put a TAI64N time stamp before each line", Run: stampLines},
		{Name: "tai64nlocal", Short: "turn TAI64N time stamps into local time", Run: localLines},
	}
}

// stampLines is tai64n. A line's stamp is the time at which its first byte was read.
func stampLines(_ context.Context, e *tool.Env) int {
	in, out := e.Filter()
	start := true
	for {
		part, err := in.ReadSlice('\n')
		if len(part) > 0 {
			if start {
				out.Write(append(qmail.AppendTAI64N(nil, e.Time()), ' '))
			}
			out.Write(part)
			start = part[len(part)-1] == '\n'
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return finish(e, out, err)
		}
	}
}

// localLines is tai64nlocal. Where the original makes a date of any line that begins with "@", or dies
// of it, what is no label passes here.
func localLines(_ context.Context, e *tool.Env) int {
	in, out := e.Filter()
	for {
		err := localLine(e, in, out)
		if err != nil {
			return finish(e, out, err)
		}
	}
}

// labelLength is that of "@" and 24 hexadecimal digits.
const labelLength = 25

// localLine copies one line; the error is io.EOF at the end of the input.
func localLine(e *tool.Env, in *bufio.Reader, out *bufio.Writer) error {
	first, err := in.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == '@' {
		head, _ := in.Peek(labelLength + 1) // shorter at the end of the input
		if t, ok := label(head); ok {
			in.Discard(labelLength)
			t = t.In(e.Local())
			fmt.Fprintf(out, "%s.%09d", t.Format("2006-01-02 15:04:05"), t.Nanosecond())
		}
	}
	for {
		part, err := in.ReadSlice('\n')
		out.Write(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// label reads the label that a line begins with: no digit may follow, and its time has a year of four digits.
func label(head []byte) (t time.Time, ok bool) {
	if len(head) > labelLength && strings.IndexByte("0123456789abcdef", head[labelLength]) >= 0 {
		return t, false
	}
	t, rest, err := qmail.ParseTAI64N(string(head))
	if err != nil || len(head)-len(rest) < labelLength || bytes.ContainsAny(head[:labelLength], "ABCDEF") {
		return t, false
	}
	return t, t.Year() >= 0 && t.Year() <= 9999
}

// finish flushes and returns the exit code after reading ended with err.
func finish(e *tool.Env, out *bufio.Writer, err error) int {
	if err == io.EOF {
		err = out.Flush()
	}
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to copy: ", err)
	}
	return tool.OK
}
