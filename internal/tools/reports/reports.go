// Package reports holds qmailanalog's programs: matchup, the z-reports, the filters on
// matchup's output, and tai64nfrac (qmail reference 20).
package reports

import (
	"bufio"
	"context"
	"io"
	"slices"
	"syscall"

	"github.com/postilion/postilion/internal/qmail/analog"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	list := []tool.Program{
		{Name: "matchup", Short: "join a log's lines into one record a message and a delivery", Run: matchup},
		{Name: "tai64nfrac", Short: "turn TAI64N stamps into decimal seconds", Run: tai64nfrac},
		filter("xqp", "a queue process", func(a string) analog.Filter { return analog.Filter{QP: a} }),
		filter("xrecipient", "a recipient, as local.address or remote.address", func(a string) analog.Filter { return analog.Filter{Recipient: a} }),
		filter("xsender", "a sender", func(a string) analog.Filter { return analog.Filter{Sender: analog.Bracketed(a)} }),
	}
	titles := map[string]string{"overall": "Basic statistics", "sendmail": "Deliveries as sendmail logs them"}
	for _, r := range analog.Reports() {
		titles[r.Name] = r.Title
	}
	for _, name := range analog.Names() {
		list = append(list, tool.Program{Name: "z" + name, Short: "report from matchup's output: " + titles[name], Run: report(name)})
	}
	return slices.Clip(list)
}

// matchup reads a log and writes records; what is pending goes to descriptor 5.
func matchup(_ context.Context, e *tool.Env) int {
	in := analog.NewLines(e.In())
	in.Now, in.Zone = e.Time(), e.Local()
	var pending io.Writer
	if f := e.File(5); f != nil {
		pending = f
	}
	if err := analog.Matchup(in, e.Out(), pending); err != nil {
		return e.Fatal(tool.Temporary, "unable to match up: ", err)
	}
	if pending == nil {
		return e.Fatal(tool.Temporary, "unable to write fd 5: ", error(syscall.EBADF))
	}
	return tool.OK
}

func report(name string) func(context.Context, *tool.Env) int {
	return func(_ context.Context, e *tool.Env) int {
		if _, err := analog.Write(name, e.In(), e.Out()); err != nil {
			return e.Fatal(tool.Temporary, "unable to report: ", err)
		}
		return tool.OK
	}
}

func filter(name, what string, of func(string) analog.Filter) tool.Program {
	run := func(_ context.Context, e *tool.Env) int {
		if len(e.Args) != 2 {
			return e.UsageError("value")
		}
		if err := of(e.Args[1]).Copy(e.In(), e.Out()); err != nil {
			return e.Fatal(tool.Temporary, "unable to copy: ", err)
		}
		return tool.OK
	}
	return tool.Program{Name: name, Short: "choose the lines of matchup's output about " + what, Run: run}
}

// tai64nfrac turns any stamp that matchup understands into decimal seconds.
func tai64nfrac(_ context.Context, e *tool.Env) int {
	in := analog.NewLines(e.In())
	in.Now, in.Zone = e.Time(), e.Local()
	out := bufio.NewWriter(e.Out())
	for {
		l, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return e.Fatal(tool.Temporary, "unable to read input: ", err)
		}
		if l.Stamp == "" {
			out.WriteString(l.Raw + "\n")
		} else {
			out.WriteString(l.Stamp + " " + l.Text + "\n")
		}
	}
	if err := out.Flush(); err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}
