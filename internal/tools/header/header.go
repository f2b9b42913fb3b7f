// Package header holds mess822's programs that look at a message's header: iftocc, 822field,
// 822header, 822date, 822received and 822print (qmail reference 17.4). None changes anything.
package header

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail/mess822"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "iftocc", Short: "succeed if To or Cc names the recipient", Run: iftocc},
		{Name: "822header", Short: "print a message's header", Run: header},
		{Name: "822field", Short: "print a field's value, unfolded", Run: field},
		{Name: "822date", Short: "print a field's date in its zone, in UTC and in local time", Run: date},
		{Name: "822received", Short: "print the way that Received fields tell", Run: received},
		{Name: "822print", Short: "print a message with a readable header", Run: print822},
	}
}

// read returns the header of the input, or the exit code after a message.
func read(e *tool.Env) ([]mess822.Field, *bufio.Reader, string, int) {
	in := bufio.NewReaderSize(e.In(), 64<<10)
	fields, end, err := mess822.ReadHeader(in)
	if err != nil {
		return nil, nil, "", e.Fatal(tool.Temporary, "unable to read input: ", err)
	}
	return fields, in, end, tool.OK
}

// iftocc exits 0 when the recipient, or one of the addresses given, stands in To or Cc. Letters'
// case does not count; nothing else is rewritten.
func iftocc(_ context.Context, e *tool.Env) int {
	fields, _, _, code := read(e)
	if code != tool.OK {
		return code
	}
	want := e.Args[1:]
	if len(want) == 0 {
		r, ok := e.Lookup("RECIPIENT")
		if !ok {
			return tool.Permanent
		}
		want = []string{r}
	}
	for _, f := range fields {
		if f.Name != "to" && f.Name != "cc" {
			continue
		}
		for _, a := range mess822.Addresses(f.Value) {
			if a.IsAddress && slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(w, a.Addr) }) {
				return tool.OK
			}
		}
	}
	return tool.Permanent
}

func header(_ context.Context, e *tool.Env) int {
	fields, _, _, code := read(e)
	if code != tool.OK {
		return code
	}
	out := bufio.NewWriter(e.Out())
	for _, f := range fields {
		out.WriteString(f.Raw)
	}
	return flush(e, out)
}

func flush(e *tool.Env, out *bufio.Writer) int {
	if err := out.Flush(); err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}

// name returns the field that the arguments ask for.
func name(e *tool.Env, standard string) string {
	if len(e.Args) > 1 {
		return strings.ToLower(e.Args[1])
	}
	return standard
}

// field prints each such field's value on a line; without any it exits 100.
func field(_ context.Context, e *tool.Env) int {
	fields, _, _, code := read(e)
	if code != tool.OK {
		return code
	}
	out, found := bufio.NewWriter(e.Out()), false
	for _, f := range fields {
		if f.Name == name(e, "subject") {
			found = true
			out.WriteString(f.Value + "\n")
		}
	}
	if code := flush(e, out); code != tool.OK {
		return code
	}
	if !found {
		return tool.Permanent
	}
	return tool.OK
}

// date prints the date of the last such field that has one; without any it exits 100.
func date(_ context.Context, e *tool.Env) int {
	fields, _, _, code := read(e)
	if code != tool.OK {
		return code
	}
	w, found := lastDate(fields, name(e, "date"))
	if !found {
		return tool.Permanent
	}
	t := w.Time()
	_, err := fmt.Fprintf(e.Out(), "%s\n%s\n%s\n", written(w), t.Format("2006-01-02 15:04:05 +0000"), ctime(e, t))
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}

func lastDate(fields []mess822.Field, name string) (w mess822.When, found bool) {
	for _, f := range fields {
		if f.Name == name {
			if d, ok := mess822.ParseDate(f.Value); ok {
				w, found = d, true
			}
		}
	}
	return w, found
}

// written returns the date as its field has it.
func written(w mess822.When) string {
	sign, offset := '+', w.Offset
	if offset < 0 {
		sign, offset = '-', -offset
	}
	return fmt.Sprintf("%d-%02d-%02d %02d:%02d:%02d %c%02d%02d", w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, sign, offset/60, offset%60)
}

func ctime(e *tool.Env, t time.Time) string {
	return t.In(e.Local()).Format("Mon Jan _2 15:04:05 2006")
}

// received prints the Received fields, the earliest first, each with its date before it.
func received(_ context.Context, e *tool.Env) int {
	fields, _, _, code := read(e)
	if code != tool.OK {
		return code
	}
	out := bufio.NewWriter(e.Out())
	for _, f := range slices.Backward(fields) {
		if f.Name == "received" {
			hop(e, out, f.Value)
		}
	}
	return flush(e, out)
}

// hop prints one Received field, broken before from, by, for, id and the date.
func hop(e *tool.Env, out *bufio.Writer, value string) {
	if w, ok := mess822.ParseDate(value); ok {
		out.WriteString(ctime(e, w.Time()))
	} else {
		out.WriteString("\t\t\t")
	}
	out.WriteString(" ")
	const (
		start  = iota
		middle // behind something printed
		blank  // behind a blank
		behind // the ";"
	)
	state := start
	for _, t := range mess822.Tokens(value) {
		switch t.Kind {
		case ' ', '\t':
			if state != start && state != blank {
				out.WriteString(" ")
			}
			if state == middle {
				state = blank
			}
			continue
		case ';':
			if state == middle || state == blank {
				out.WriteString("\n\t\t\t ")
			}
			out.WriteString(";")
			state = behind
			continue
		case mess822.Comment:
			out.WriteString("(" + t.Text + ")")
		case mess822.Word:
			if state == blank && slices.Contains([]string{"from", "by", "for", "id"}, strings.ToLower(t.Text)) {
				out.WriteString("\n\t\t\t ")
			}
			out.WriteString(t.Text)
		default:
			out.WriteString(t.Text)
		}
		if state == start || state == blank {
			state = middle
		}
	}
	out.WriteString("\n")
}

// print822 prints the message with its header made readable; the text follows as it is.
func print822(_ context.Context, e *tool.Env) int {
	fields, in, end, code := read(e)
	if code != tool.OK {
		return code
	}
	out := bufio.NewWriter(e.Out())
	p := &printer{out: out, e: e}
	p.header(fields)
	out.WriteString(end)
	if _, err := io.Copy(out, in); err != nil {
		return e.Fatal(tool.Temporary, "unable to copy: ", err)
	}
	return flush(e, out)
}
