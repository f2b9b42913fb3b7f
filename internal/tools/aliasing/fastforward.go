package aliasing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/tools/tool"
)

// forwarding is one run of fastforward.
type forwarding struct {
	e  *tool.Env
	db *aliases.ForwardDB

	todo  []string // commands; the last is next
	seen  map[string]bool
	runs  []string // programs, and who gets the message, the last first
	rcpts []string
}

// maxCommands bounds the commands of one message: a table that names more is not a table but a
// list, which belongs into a list manager.
const maxCommands = 1 << 20

func fastforward(ctx context.Context, e *tool.Env, q Queue) int {
	opts, rest, ok := tool.GetOpt(e.Args[1:], "nNpPdD")
	if !ok || len(rest) == 0 {
		return e.UsageError("[ -nNpP ] data.cdb")
	}
	var dry, pass, byExt bool
	for _, o := range opts {
		switch o.Name {
		case 'n', 'N':
			dry = o.Name == 'n'
		case 'p', 'P':
			pass = o.Name == 'p'
		case 'd', 'D':
			byExt = o.Name == 'd'
		}
	}
	target, code := incoming(e, byExt)
	if code != tool.OK {
		return code
	}
	var d delivery
	var sender string
	db, closer, err := openTable(e, rest[0])
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read ", rest[0], ": ", err)
	}
	defer closer.Close()
	if missing := variables(e, variable{"SENDER", &sender}, variable{"DTLINE", &d.dt}); missing != "" {
		return e.Fatal(tool.Permanent, "$", missing, " must be set")
	}
	d.uf, d.rp = e.Getenv("UFLINE"), e.Getenv("RPLINE")
	f := &forwarding{e: e, db: db, seen: map[string]bool{}}
	// A recipient without a host is nobody: targets without "@" are for other targets alone.
	user, host, found := cutLast(target, '@')
	var first aliases.Forward
	if found {
		first, found, err = db.Find(user, host)
	}
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read ", rest[0], ": ", err)
	}
	if !found {
		if pass {
			return tool.OK
		}
		fmt.Fprintln(e.Errs(), "Sorry, no mailbox here by that name. (#5.1.1)")
		return tool.Permanent
	}
	if first.Owned && sender != "" && sender != "#@[]" {
		sender = first.Owner
	}
	if code := f.expand(first.Commands); code != tool.OK {
		return code
	}
	if dry {
		code = f.describe(sender)
	} else {
		code = f.deliver(ctx, q, &d, sender)
	}
	if code == tool.OK && pass {
		return tool.Stop
	}
	return code
}

// cutLast splits at the last sep.
func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// incoming returns the address that the message came for.
func incoming(e *tool.Env, byExt bool) (string, int) {
	if !byExt {
		if r, ok := e.Lookup("RECIPIENT"); ok {
			return r, tool.OK
		}
		return "", e.Fatal(tool.Permanent, "$RECIPIENT must be set")
	}
	local, ok := e.Lookup("DEFAULT")
	if !ok {
		if local, ok = e.Lookup("EXT"); !ok {
			return "", e.Fatal(tool.Permanent, "$DEFAULT or $EXT must be set")
		}
	}
	host, ok := e.Lookup("HOST")
	if !ok {
		return "", e.Fatal(tool.Permanent, "$HOST must be set")
	}
	return local + "@" + host, tool.OK
}

// openTable opens a compiled table.
func openTable(e *tool.Env, name string) (*aliases.ForwardDB, io.Closer, error) {
	f, err := os.Open(e.Path(name))
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var r *cdb.Reader
		if r, err = cdb.New(f, st.Size()); err == nil {
			return aliases.NewForwardDB(name, r), f, nil
		}
	}
	f.Close()
	return nil, nil, err
}

// expand follows commands until programs and addresses are left. Each is taken once, so loops end.
func (f *forwarding) expand(commands []string) int {
	f.push(commands)
	for len(f.todo) > 0 {
		c := f.todo[len(f.todo)-1]
		f.todo = f.todo[:len(f.todo)-1]
		if f.seen[c] || c == "" {
			continue
		}
		if f.seen[c] = true; len(f.seen) > maxCommands {
			return f.e.Fatal(tool.Temporary, "more than ", maxCommands, " instructions for one message")
		}
		code := tool.OK
		switch c[0] {
		case '&':
			code = f.address(c[1:])
		case '.', '/':
			code = f.list(c)
		case '|', '!':
			f.runs = append(f.runs, c)
		default:
			code = f.e.Fatal(tool.Temporary, "unknown instruction ", c)
		}
		if code != tool.OK {
			return code
		}
	}
	slices.Reverse(f.runs)
	slices.Reverse(f.rcpts)
	return tool.OK
}

func (f *forwarding) push(commands []string) { f.todo = append(f.todo, commands...) }

// address follows an address that the table knows. One with an owner of its own stays: it gets
// the message, and its mail then goes out in its owner's name.
func (f *forwarding) address(a string) int {
	entry, found, err := f.db.Lookup(a)
	if err != nil {
		return f.e.Fatal(tool.Temporary, "unable to read table: ", err)
	}
	if !found || entry.Owned {
		f.rcpts = append(f.rcpts, a)
		return tool.OK
	}
	f.push(entry.Commands)
	return tool.OK
}

// list follows a compiled list.
func (f *forwarding) list(name string) int {
	b, err := readable(f.e, name)
	if errors.Is(err, errNotWorldReadable) {
		return f.e.Fatal(tool.Temporary, name, " ", err)
	}
	if err != nil {
		return f.e.Fatal(tool.Temporary, "unable to read ", name, ": ", err)
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte{0}) {
		return f.e.Fatal(tool.Temporary, "unable to read ", name, ": not a compiled list")
	}
	list := aliases.ReadMaillist(b)
	for _, entry := range list {
		// A list runs no programs: its owner need not be this user.
		if entry == "" || strings.IndexByte("&./", entry[0]) < 0 {
			return f.e.Fatal(tool.Temporary, "unable to read ", name, ": not a compiled list")
		}
	}
	f.push(list)
	return tool.OK
}

// describe prints what would be done.
func (f *forwarding) describe(sender string) int {
	var b strings.Builder
	for _, r := range f.runs {
		b.WriteString("run " + tool.Printable(r) + "\n")
	}
	if len(f.rcpts) > 0 {
		b.WriteString("from <" + tool.Printable(sender) + ">\n")
		for _, r := range f.rcpts {
			b.WriteString("to <" + tool.Printable(r) + ">\n")
		}
	} else {
		b.WriteString("no forwarding\n")
	}
	_, _ = io.WriteString(f.e.Errs(), b.String()) // the original's place for it
	return tool.OK
}

func (f *forwarding) deliver(ctx context.Context, q Queue, d *delivery, sender string) int {
	m, err := openMessage(f.e)
	if err != nil {
		return f.e.Fatal(tool.Temporary, "unable to read message: ", err)
	}
	defer m.done()
	for _, r := range f.runs {
		prefix := ""
		if r[0] == '!' {
			prefix = d.uf + d.rp + d.dt
		}
		if code := m.run(ctx, prefix, r[1:]); code != tool.OK {
			return code
		}
	}
	if len(f.rcpts) == 0 {
		return tool.OK
	}
	return m.sendOn(ctx, q, d.dt, sender, f.rcpts)
}
