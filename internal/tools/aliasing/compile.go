package aliasing

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/tools/admin"
	"github.com/postilion/postilion/internal/tools/tool"
)

// input reads the standard input.
func input(e *tool.Env) ([]byte, int) {
	b, err := io.ReadAll(io.LimitReader(e.In(), sourceLimit))
	if err != nil {
		return nil, e.Fatal(tool.Temporary, "unable to read input: ", err)
	}
	return b, tool.OK
}

// replace puts what write writes in the place of final, by way of tmp.
func replace(e *tool.Env, tmp, final string, write func(io.WriteSeeker) error) int {
	err := admin.Replace(e.Path(tmp), e.Path(final), write)
	step, ok := errors.AsType[*admin.Step](err)
	switch {
	case !ok:
		return tool.OK
	case step.Name == "move":
		return e.Fatal(tool.Temporary, "unable to move ", tmp, " to ", final, ": ", step)
	}
	return e.Fatal(tool.Temporary, "unable to write ", tmp, ": ", step)
}

func setforward(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 3 {
		return e.UsageError("data.cdb data.tmp")
	}
	src, code := input(e)
	if code != tool.OK {
		return code
	}
	table, err := aliases.ParseForward("standard input", src)
	if bad, ok := errors.AsType[*aliases.SetforwardError](err); ok {
		return e.Fatal(tool.Permanent, bad.Text)
	}
	if err != nil {
		return e.Fatal(tool.Temporary, err)
	}
	return replace(e, e.Args[2], e.Args[1], func(f io.WriteSeeker) error { return aliases.CompileForward(table, f) })
}

func printforward(_ context.Context, e *tool.Env) int {
	b, code := input(e)
	if code != tool.OK {
		return code
	}
	out := bufio.NewWriter(e.Out())
	r, err := cdb.FromBytes(b)
	if err == nil {
		err = aliases.PrintForward(out, r)
	}
	if err != nil {
		return e.Fatal(tool.Permanent, "bad database format")
	}
	if err := out.Flush(); err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}

// maxAddress bounds an address in a list, in bytes.
const maxAddress = 800

func setmaillist(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 3 {
		return e.UsageError("list.bin list.tmp")
	}
	src, code := input(e)
	if code != tool.OK {
		return code
	}
	if bytes.IndexByte(src, 0) >= 0 {
		return e.Fatal(tool.Temporary, "NUL in input")
	}
	return writeList(e, e.Args[2], e.Args[1], aliases.ParseMaillist(src))
}

// writeList writes a compiled list.
func writeList(e *tool.Env, tmp, final string, list []string) int {
	for _, entry := range list {
		if len(entry) > maxAddress {
			return e.Fatal(tool.Temporary, "addresses must be under 800 bytes")
		}
	}
	return replace(e, tmp, final, func(f io.WriteSeeker) error {
		_, err := f.Write(aliases.AppendMaillist(nil, list))
		return err
	})
}

func printmaillist(_ context.Context, e *tool.Env) int {
	b, code := input(e)
	if code != tool.OK {
		return code
	}
	if len(b) > 0 && b[len(b)-1] != 0 {
		return e.Fatal(tool.Permanent, "bad mailing list format")
	}
	out := bufio.NewWriter(e.Out())
	for _, entry := range aliases.ReadMaillist(b) {
		if entry == "" || !strings.Contains("&./", entry[:1]) {
			return e.Fatal(tool.Permanent, "bad mailing list format")
		}
		out.WriteString(tool.Printable(entry) + "\n")
	}
	if err := out.Flush(); err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}

// newinclude compiles LIST, a file of :include:'s syntax, into LIST.bin.
func newinclude(ctx context.Context, e *tool.Env, n Names) int {
	if len(e.Args) < 2 {
		return e.UsageError("list")
	}
	name := e.Args[1]
	src, err := tool.ReadAtMost(e.Path(name), sourceLimit)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read ", name, ": ", err)
	}
	hosts, err := n(ctx, e)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read controls: ", err)
	}
	targets, faults := aliases.ParseList(name, src)
	if len(faults) > 0 {
		return e.Fatal(tool.Temporary, faults[0].Error())
	}
	var list []string
	for _, t := range targets {
		switch t.Kind {
		case aliases.Program:
			return e.Fatal(tool.Temporary, "program delivery |", t.Text, " not supported")
		case aliases.File:
			return e.Fatal(tool.Temporary, "file delivery ", t.Text, " not supported")
		case aliases.Include:
			list = append(list, t.Text+".bin")
		default:
			list = append(list, "&"+hosts.Complete(t.Text))
		}
	}
	return writeList(e, name+".tmp", name+".bin", list)
}
