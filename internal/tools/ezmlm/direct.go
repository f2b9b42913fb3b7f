package ezmlm

import (
	"bufio"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/list"
	"github.com/postilion/postilion/internal/tools/tool"
)

// This file holds the programs by which a list's owner changes and asks for subscribers, and those
// that let posts through by their senders.

// sub is ezmlm-sub.
func sub(c *call) int {
	return c.change("nNmMcC:h:H:", func(t *list.Table, address, name string) error {
		_, err := t.Add(c.ctx, address, "+manual", name)
		return err
	})
}

// unsub is ezmlm-unsub.
func unsub(c *call) int {
	return c.change("nNmMh:H:", func(t *list.Table, address, _ string) error {
		_, err := t.Remove(c.ctx, address, "-manual")
		return err
	})
}

// change calls do for each address of the command line or, without any, of the input's lines. With -n
// each comes with a name.
func (c *call) change(letters string, do func(t *list.Table, address, name string) error) int {
	if code, ok := c.open(letters); !ok {
		return code
	}
	name := ""
	if len(c.args) > 0 && isTable(c.args[0]) {
		name, c.args = c.args[0], c.args[1:]
	}
	t, err := c.table(name)
	if err != nil {
		return c.fail(err)
	}
	withNames := c.on('n', false)
	if len(c.args) == 0 {
		return c.changeLines(t, withNames, do)
	}
	for len(c.args) > 0 {
		address, comment := c.args[0], ""
		c.args = c.args[1:]
		if withNames && len(c.args) > 0 {
			comment, c.args = c.args[0], c.args[1:]
		}
		if err := do(t, address, comment); err != nil {
			return c.e.Fatal(code(err), address, ": ", err)
		}
	}
	return tool.OK
}

func (c *call) changeLines(t *list.Table, withNames bool, do func(t *list.Table, address, name string) error) int {
	r := bufio.NewScanner(c.e.In())
	for n := 1; r.Scan(); n++ {
		address, comment := strings.TrimSpace(r.Text()), ""
		if address == "" || address[0] == '#' {
			continue
		}
		if withNames {
			address, comment, _ = strings.Cut(strings.NewReplacer("\\", " ", "\t", " ").Replace(address), " ")
		}
		if err := do(t, address, strings.TrimSpace(comment)); err != nil {
			return c.e.Fatal(code(err), "line ", n, ": ", address, ": ", err)
		}
	}
	if err := r.Err(); err != nil {
		return c.e.Fatal(tool.Temporary, "unable to read input: ", err)
	}
	return tool.OK
}

// code is the exit code for an error.
func code(err error) int {
	if e, ok := err.(*list.Error); ok && e.Permanent {
		return tool.Permanent
	}
	return tool.Temporary
}

// listAddresses is ezmlm-list; -n writes how many there are.
func listAddresses(c *call) int {
	if code, ok := c.open("mMnNvV"); !ok {
		return code
	}
	name := ""
	if len(c.args) > 0 {
		name = c.args[0]
	}
	t, err := c.table(name)
	if err != nil {
		return c.fail(err)
	}
	all, err := t.All()
	if err != nil {
		return c.fail(err)
	}
	w := bufio.NewWriter(c.e.Out())
	if c.on('n', false) {
		io.WriteString(w, itoa(len(all))+"\n")
	} else {
		for _, a := range all {
			io.WriteString(w, tool.Printable(a)+"\n")
		}
	}
	if err := w.Flush(); err != nil {
		return c.e.Fatal(tool.Temporary, "unable to write to standard output: ", err)
	}
	return tool.OK
}

// isSubscriber is ezmlm-issubn: 0 when the sender is on one of the lists, else 99; -n the other way
// round.
func isSubscriber(c *call) int {
	if code, ok := c.open("nNvV"); !ok {
		return code
	}
	sender, err := c.needSender()
	if err != nil {
		return c.fail(err)
	}
	found, err := c.inAny(c.args, sender)
	switch {
	case err != nil:
		return c.fail(err)
	case found == c.on('N', true):
		return tool.OK
	}
	return tool.Stop
}

// checkSub is ezmlm-checksub: it refuses senders that are on none of the lists; with -n, those that
// are on one.
func checkSub(c *call) int {
	if code, ok := c.open("m:nNvV"); !ok {
		return code
	}
	sender, err := c.needSender()
	if err != nil {
		return c.fail(err)
	}
	found, err := c.inAny(c.args, sender)
	if err != nil {
		return c.fail(err)
	}
	want := c.on('N', true)
	if found == want {
		return tool.OK
	}
	owner := c.list.Local + "-owner@" + c.list.Host
	text := "Sorry, I've been told to reject your posts. Contact " + owner + " if you have questions about this."
	if want {
		text = "Sorry, only subscribers may post. If you are a subscriber, please forward this message to " + owner + " to get your new address included."
	}
	if own, ok := c.value('m'); ok {
		text = own
	}
	io.WriteString(c.e.Out(), text+"\n")
	return tool.Permanent
}
