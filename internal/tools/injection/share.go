package injection

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/tools/tool"
)

// This file is what other families of programs use.

// Send queues a message; it is a tool.Queue.
func Send(ctx context.Context, e *tool.Env, from string, to []string, content io.Reader) (qp, fail string) {
	env := &inject.Envelope{From: from, Program: e.Name()}
	for _, t := range to {
		env.To = append(env.To, inject.Recipient{To: t})
	}
	o := handOff(ctx, e, env, content, nil)
	switch {
	case !o.ok():
		fail = o.Text
		if o.Detail != "" && !strings.Contains(fail, o.Detail) {
			fail += ": " + o.Detail
		}
		return "", fail
	case o.ID != "":
		return o.ID, ""
	}
	return strconv.Itoa(o.QP), ""
}

// Hosts returns what addresses are completed with.
func Hosts(ctx context.Context, e *tool.Env) (aliases.Hosts, error) {
	n, err := controls(ctx, e)
	return aliases.Hosts{Default: n.DefaultHost, Plus: n.PlusDomain, Domain: n.DefaultDomain}, err
}

// Control returns a control file's line, with its default where it is missing: the host's name as
// the server tells it, or the table's own (qmail reference 2.2).
func Control(ctx context.Context, e *tool.Env, name string) (string, error) {
	p, err := tool.ReadAtMost(e.QmailHome()+"/control/"+name, maxControl)
	if err == nil {
		return control.Value(p), nil
	}
	if !os.IsNotExist(err) {
		return "", err
	}
	f, ok := control.FileNamed(name)
	if ok && f.FromMe {
		n, err := controls(ctx, e)
		if err != nil {
			return "", err
		}
		if n.Me != "" {
			return n.Me, nil
		}
	}
	return f.Default, nil
}
