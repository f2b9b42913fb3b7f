package ezmlm

import (
	"io"
	"path/filepath"

	"github.com/postilion/postilion/internal/list"
	"github.com/postilion/postilion/internal/tools/tool"
)

// This file holds the programs for posts that wait for somebody's word.

const storeOptions = "bBcCmMpPqQrRsSvVyY"

// store is ezmlm-store: it sends a post at once where the list asks nobody.
func store(c *call) int {
	if code, ok := c.open(storeOptions); !ok {
		return code
	}
	confirm := c.on('y', c.list.Is("confirmpost"))
	if !confirm && !c.list.Moderated() {
		return c.itself(send, "ezmlm-send", append(c.passOn("cCrR"), c.dir())...)
	}
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	p := list.Pending{
		List: c.list, Content: message, Confirm: confirm, HeaderOnly: !c.on('b', true), PID: pid(), Queue: c.send,
		ModeratorsOnly: c.on('P', c.list.Is("modpostonly")),
	}
	sender, given := c.sender()
	p.Sender, p.Shell = sender, !given
	id, err := p.Store(c.ctx)
	if err != nil {
		return c.fail(err)
	}
	c.queued(id)
	return tool.OK
}

// gate is ezmlm-gate: posts of senders in one of the tables are sent at once.
func gate(c *call) int {
	if code, ok := c.open(storeOptions); !ok {
		return code
	}
	sender, given := c.sender()
	known := false
	if given && len(c.args) > 0 {
		var err error
		if known, err = c.inAny(c.args, sender); err != nil {
			return c.fail(err)
		}
	}
	if known {
		return c.itself(send, "ezmlm-send", append(c.passOn("cCrR"), c.dir())...)
	}
	return c.itself(store, "ezmlm-store", append(c.passOn("cCrRmMpPsSyY"), c.dir())...)
}

// decision reads what moderate and confirm share.
func (c *call) decision() (d list.Decision, err error) {
	d = list.Decision{List: c.list, PID: pid(), Queue: c.send}
	if d.Sender, err = c.needSender(); err != nil {
		return d, err
	}
	var ok bool
	if d.Local, ok = c.e.Lookup("LOCAL"); !ok {
		return d, &list.Error{Permanent: true, Text: "LOCAL not set"}
	}
	if d.Default, ok = c.e.Lookup("DEFAULT"); !ok {
		return d, &list.Error{Permanent: true, Text: "DEFAULT not set"}
	}
	d.Content, err = c.message()
	return d, err
}

// moderate is ezmlm-moderate.
func moderate(c *call) int {
	if code, ok := c.open("cCmMrRvVt:T:"); !ok {
		return code
	}
	d, err := c.decision()
	if err != nil {
		return c.fail(err)
	}
	id, note, err := d.Moderate(c.ctx, c.forward)
	return c.decided(id, note, err)
}

// confirm is ezmlm-confirm.
func confirm(c *call) int {
	if code, ok := c.open("cCmMrRvVt:T:"); !ok {
		return code
	}
	d, err := c.decision()
	if err != nil {
		return c.fail(err)
	}
	note, err := d.Confirmed(c.ctx, c.forward)
	return c.decided("", note, err)
}

func (c *call) decided(id, note string, err error) int {
	switch {
	case c.said && err != nil:
		return code(err)
	case err != nil:
		return c.fail(err)
	case note != "":
		c.e.Info(note)
	default:
		c.queued(id)
	}
	return tool.OK
}

// family are the programs that a stored post may be given to.
var family = map[string]func(*call) int{"ezmlm-send": send, "ezmlm-store": store, "ezmlm-gate": gate}

// forward gives a stored post to the program on the command line, or to ezmlm-send.
func (c *call) forward(post io.ReadSeeker, sender string) error {
	argv := c.args
	if len(argv) == 0 {
		argv = append(append([]string{"ezmlm-send"}, c.passOn("cCrR")...), c.dir())
	}
	e := *c.e
	e.Environ = c.e.With("SENDER", sender)
	e.Stdin = post
	e.Args = argv
	var exit int
	if run, ok := family[filepath.Base(argv[0])]; ok {
		exit = run(&call{ctx: c.ctx, e: &e, queue: c.queue})
	} else {
		var err error
		if exit, err = c.foreign(&e, argv); err != nil {
			return err
		}
	}
	if exit == tool.OK || exit == tool.Stop {
		return nil
	}
	c.said = true
	return &list.Error{Permanent: exit == tool.Permanent, Text: argv[0] + " did not take the post"}
}

// foreign runs a program that is not of the family, with the post as its input.
func (c *call) foreign(e *tool.Env, argv []string) (exit int, err error) {
	x, err := e.Command(c.ctx, argv)
	if err != nil {
		return 0, &list.Error{Text: "unable to run " + argv[0] + ": " + tool.ErrText(err), Cause: err}
	}
	x.Stdin = e.In()
	exit, crashed := tool.ExitCode(x.Run())
	if crashed {
		return 0, &list.Error{Text: argv[0] + " crashed"}
	}
	return exit, nil
}

// clean is ezmlm-clean.
func clean(c *call) int {
	if code, ok := c.open("mMrRvV"); !ok {
		return code
	}
	x := list.Clean{List: c.list, Return: c.on('r', !c.list.Is("noreturnposts")), PID: pid(), Queue: c.send, Told: c.queued}
	if err := x.Run(c.ctx); err != nil {
		return c.fail(err)
	}
	return tool.OK
}

// request is ezmlm-request, for LIST-request alone: it sends the mail on to the address of the
// command in its subject.
func request(c *call) int {
	if code, ok := c.open("vV"); !ok {
		return code
	}
	action, ok := c.e.Lookup("DEFAULT")
	if !ok {
		return c.e.Fatal(tool.Permanent, "DEFAULT not set")
	}
	sender, err := c.needSender()
	if err != nil {
		return c.fail(err)
	}
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	to, line, err := list.CommandOfRequest(c.list, sender, action, message)
	if err != nil {
		return c.fail(err)
	}
	if to == "" {
		return tool.OK
	}
	return c.sendOn(line, sender, to)
}

// sendOn queues the message at hand, below a line that tells loops, and ends the delivery.
func (c *call) sendOn(line, from, to string) int {
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	id, err := c.send(c.ctx, from, []string{to}, prefixed(line, message))
	if err != nil {
		return c.fail(err)
	}
	c.queued(id)
	return tool.Stop
}

// split is ezmlm-split.
func split(c *call) int {
	if code, ok := c.open("dDvV"); !ok {
		return code
	}
	file := "split"
	if len(c.args) > 0 {
		file = c.args[0]
	}
	if !c.on('D', true) {
		return c.splitInput(file)
	}
	action, ok := c.e.Lookup("DEFAULT")
	if !ok {
		return c.e.Fatal(tool.Permanent, "DEFAULT not set")
	}
	sender, err := c.needSender()
	if err != nil {
		return c.fail(err)
	}
	to, err := list.SublistFor(c.list, file, sender, action)
	if err != nil {
		return c.fail(err)
	}
	if to == "" {
		return tool.OK
	}
	line, ok := c.e.Lookup("DTLINE")
	if !ok {
		return c.e.Fatal(tool.Permanent, "DTLINE not set")
	}
	return c.sendOn(line, c.list.Local+"-return-@"+c.list.Host, to)
}

// dir is the list's folder as it was named.
func (c *call) dir() string { return c.list.Dir() }
