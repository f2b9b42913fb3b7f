package aliasing

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Hosts complete addresses.
type Hosts = aliases.Hosts

// dotForward obeys the first of its files that exists and is not empty. It exits 99 when that
// has taken the place of the deliveries that follow in .qmail, 0 when they are wanted.
func dotForward(ctx context.Context, e *tool.Env, q Queue, n Names) int {
	opts, files, ok := tool.GetOpt(e.Args[1:], "nN")
	if !ok {
		return e.UsageError("[ -nN ] file ...")
	}
	dry := false
	for _, o := range opts {
		dry = o.Name == 'n'
	}
	w := &dotRun{e: e, dry: dry}
	missing := variables(e,
		variable{"SENDER", new(string)}, variable{"NEWSENDER", &w.sender}, variable{"USER", &w.user}, variable{"HOST", &w.host},
		variable{"DTLINE", &w.dt}, variable{"UFLINE", &w.uf}, variable{"RPLINE", &w.rp})
	if missing != "" && !dry { // who tries a file by hand has no delivery's variables
		return e.Fatal(tool.Permanent, "$", missing, " must be set")
	}
	name, targets, code := w.choose(files)
	if code != tool.OK {
		return code
	}
	if name == "" {
		w.say("direct delivery")
		return tool.OK
	}
	hosts, err := n(ctx, e)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read controls: ", err)
	}
	for _, t := range targets {
		if code := w.target(hosts, t); code != tool.OK {
			return code
		}
	}
	return w.finish(ctx, q)
}

// dotRun is one run of dot-forward.
type dotRun struct {
	e            *tool.Env
	dry          bool
	sender       string
	user, host   string
	delivery     // the lines
	direct       bool
	programs, to []string
}

// say tells a dry run what would be done.
func (w *dotRun) say(what string) {
	if w.dry {
		_, _ = io.WriteString(w.e.Errs(), tool.Printable(what)+"\n") // the original's place for it
	}
}

// choose returns the first file that says anything, "" when there is none.
func (w *dotRun) choose(files []string) (string, []aliases.Target, int) {
	for _, name := range files {
		b, err := tool.ReadAtMost(w.e.Path(name), sourceLimit)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, w.e.Fatal(tool.Temporary, "unable to read ", name, ": ", err)
		}
		targets, faults := aliases.ParseList(name, b)
		if len(faults) > 0 {
			return "", nil, w.e.Fatal(tool.Temporary, faults[0].Error())
		}
		if len(targets) == 0 {
			w.say("skipping empty file " + name)
			continue
		}
		return name, targets, tool.OK
	}
	return "", nil, tool.OK
}

// target takes one target of the file.
func (w *dotRun) target(hosts Hosts, t aliases.Target) int {
	switch t.Kind {
	case aliases.Program:
		w.say("pipe through " + t.Text)
		w.programs = append(w.programs, t.Text)
	case aliases.File:
		return w.e.Fatal(tool.Temporary, "file delivery ", t.Text, " not supported")
	case aliases.Include:
		return w.e.Fatal(tool.Temporary, "file delivery :include:", t.Text, " not supported")
	default:
		user, host, hasHost := cutLast(t.Text, '@')
		if strings.EqualFold(user, w.user) && (!hasHost || strings.EqualFold(host, w.host)) {
			w.say("direct delivery")
			w.direct = true
			return tool.OK
		}
		a := hosts.Complete(t.Text)
		w.say("forward " + a)
		w.to = append(w.to, a)
	}
	return tool.OK
}

// finish runs the programs and sends the message on.
func (w *dotRun) finish(ctx context.Context, q Queue) int {
	if !w.dry && len(w.programs)+len(w.to) > 0 {
		m, err := openMessage(w.e)
		if err != nil {
			return w.e.Fatal(tool.Temporary, "unable to read message: ", err)
		}
		defer m.done()
		for _, p := range w.programs {
			if code := m.run(ctx, w.uf+w.rp+w.dt, p); code != tool.OK {
				return code
			}
		}
		if len(w.to) > 0 {
			if code := m.sendOn(ctx, q, w.dt, w.sender, w.to); code != tool.OK {
				return code
			}
		}
	}
	if w.direct {
		return tool.OK
	}
	return tool.Stop
}
