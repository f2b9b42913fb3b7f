// Package stamp holds the programs that put TAI64N time stamps before lines and turn them into
// local time (daemontools; qmail reference 21.6).
package stamp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

// localLines is tai64nlocal: a label is "@" and all hexadecimal digits behind it; lines that
// start otherwise pass.
func localLines(_ context.Context, e *tool.Env) int {
	in, out := e.Filter()
	for {
		err := localLine(e, in, out)
		if err != nil {
			return finish(e, out, err)
		}
	}
}

// localLine copies one line; the error is io.EOF at the end of the input.
func localLine(e *tool.Env, in *bufio.Reader, out *bufio.Writer) error {
	first, err := in.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == '@' {
		in.Discard(1)
		t, err := label(in)
		if err != nil {
			return err
		}
		t = t.In(e.Local())
		fmt.Fprintf(out, "%s.%09d", t.Format("2006-01-02 15:04:05"), t.Nanosecond())
	}
	for {
		part, err := in.ReadSlice('\n')
		out.Write(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// label reads hexadecimal digits, as many as there are: the last 8 are nanoseconds, 16 before
// them seconds, and more overflow.
func label(in *bufio.Reader) (time.Time, error) {
	var secs, nanos uint64
	for {
		c, err := in.ReadByte()
		if err != nil {
			return time.Time{}, err
		}
		var digit byte
		switch {
		case c >= '0' && c <= '9':
			digit = c - '0'
		case c >= 'a' && c <= 'f':
			digit = c - 'a' + 10
		default:
			return time.Unix(int64(secs-qmail.TAIOffset), int64(nanos)), in.UnreadByte()
		}
		secs = secs<<4 + nanos>>28
		nanos = nanos&0xfffffff<<4 + uint64(digit)
	}
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
