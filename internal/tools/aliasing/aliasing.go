// Package aliasing holds the programs of fastforward and dot-forward, which send mail on by
// tables and .forward files, and those that compile the tables (qmail reference 18).
//
// A message is sent on in one piece, after every program of the table has succeeded: what exits
// 111 has sent nothing, though its programs run again at the next try.
package aliasing

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/postilion/postilion/internal/tools/tool"
)

// Queue queues a message.
type Queue = tool.Queue

// Names returns the hosts that addresses are completed with.
type Names func(ctx context.Context, e *tool.Env) (Hosts, error)

// Programs returns the family's entries.
func Programs(q Queue, n Names) []tool.Program {
	return []tool.Program{
		{Name: "fastforward", Short: "send a delivery's message on by a compiled table", Run: func(ctx context.Context, e *tool.Env) int { return fastforward(ctx, e, q) }},
		{Name: "dot-forward", Short: "send a delivery's message on by a .forward file", Run: func(ctx context.Context, e *tool.Env) int { return dotForward(ctx, e, q, n) }},
		{Name: "setforward", Short: "compile a table for fastforward", Run: setforward},
		{Name: "printforward", Short: "print a compiled table", Run: printforward},
		{Name: "setmaillist", Short: "compile a list of addresses", Run: setmaillist},
		{Name: "printmaillist", Short: "print a compiled list of addresses", Run: printmaillist},
		{Name: "newinclude", Short: "compile an :include: list", Run: func(ctx context.Context, e *tool.Env) int { return newinclude(ctx, e, n) }},
	}
}

// sourceLimit bounds what is read of a table's source, in bytes.
const sourceLimit = 256 << 20

// opened is a delivery's message, which can be read again and again.
type opened struct {
	*os.File
	env       *tool.Env
	temporary bool
}

// openMessage takes the standard input, by way of a nameless file when it is no file itself.
func openMessage(e *tool.Env) (*opened, error) {
	if f, ok := e.In().(*os.File); ok {
		if _, err := f.Seek(0, io.SeekStart); err == nil {
			return &opened{File: f, env: e}, nil
		}
	}
	f, err := os.CreateTemp(e.Getenv("TMPDIR"), "postilion-*")
	if err != nil {
		return nil, err
	}
	m := &opened{f, e, true}
	if err = os.Remove(f.Name()); err == nil {
		_, err = io.Copy(f, e.In())
	}
	if err != nil {
		m.done()
		return nil, err
	}
	return m, nil
}

// done gives a temporary file back.
func (m *opened) done() {
	if m.temporary {
		m.Close()
	}
}

// delivery is what the variables of a delivery say (qmail reference 9.2).
type delivery struct {
	uf, rp, dt string // the lines From, Return-Path, Delivered-To
}

// variables reads the variables named into the strings given, and reports the first that is
// missing.
func variables(e *tool.Env, want ...variable) (missing string) {
	for _, v := range want {
		s, ok := e.Lookup(v.name)
		if !ok && missing == "" {
			missing = v.name
		}
		*v.to = s
	}
	return missing
}

type variable struct {
	name string
	to   *string
}

// run feeds the message to a shell command, with prefix before it. It returns 0 or the exit
// code that ends the delivery (qmail reference 9.5).
func (m *opened) run(ctx context.Context, prefix, command string) int {
	e := m.env
	if _, err := m.Seek(0, io.SeekStart); err != nil {
		return e.Fatal(tool.Temporary, "unable to rewind message: ", err)
	}
	c, err := e.Command(ctx, []string{"/bin/sh", "-c", command})
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to run /bin/sh: ", err)
	}
	c.Stdin = m.File
	if prefix != "" {
		c.Stdin = io.MultiReader(strings.NewReader(prefix), m.File)
	}
	err = c.Run()
	code, crashed := tool.ExitCode(err)
	if crashed {
		return e.Fatal(tool.Temporary, "child crashed")
	}
	switch code {
	case 0, tool.Stop:
		return tool.OK
	case 100, 64, 65, 70, 76, 77, 78, 112:
		return tool.Permanent
	}
	return tool.Temporary
}

// sendOn queues the message with its Delivered-To line before it. It returns 0 or the exit code that ends the delivery.
func (m *opened) sendOn(ctx context.Context, q Queue, deliveredTo, from string, to []string) int {
	e := m.env
	if _, err := m.Seek(0, io.SeekStart); err != nil {
		return e.Fatal(tool.Temporary, "unable to rewind message: ", err)
	}
	qp, fail := q(ctx, e, from, to, io.MultiReader(strings.NewReader(deliveredTo), m.File))
	if fail != "" {
		code := tool.Temporary
		if fail[0] == 'D' {
			code = tool.Permanent
		}
		return e.Fatal(code, "unable to forward message: ", fail[1:])
	}
	_, _ = io.WriteString(e.Out(), e.Name()+": qp "+qp+"\n") // the log's; the message is queued
	return tool.OK
}

// readable checks that anybody may read a list's file, as fastforward wants, and reads it.
func readable(e *tool.Env, name string) ([]byte, error) {
	f, err := os.Open(e.Path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode()&0o004 == 0 {
		return nil, errNotWorldReadable
	}
	return io.ReadAll(io.LimitReader(f, sourceLimit))
}

var errNotWorldReadable = errors.New("is not world-readable")
