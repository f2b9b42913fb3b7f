package ezmlm

import (
	"strings"

	"github.com/postilion/postilion/internal/list"
	"github.com/postilion/postilion/internal/tools/tool"
)

// This file holds the programs that a post goes through.

const sendOptions = "cClLqQrRvVh:H:s:S:"

// send is ezmlm-send.
func send(c *call) int {
	if code, ok := c.open(sendOptions); !ok {
		return code
	}
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	sender, given := c.sender()
	header, _ := c.value('H')
	if header == "" {
		header, _ = c.value('h')
	}
	id, err := c.list.Send(c.ctx, list.Post{
		Content: message, Sender: sender, Shell: !given, KeepReceived: !c.on('r', true), ListField: header, Queue: c.send,
	})
	if err != nil {
		return c.fail(err)
	}
	c.queued(id)
	return tool.OK
}

// reject is ezmlm-reject.
func reject(c *call) int {
	if !c.options("bBcCfFhHqQsStTvV") {
		return c.e.UsageError(c.usage)
	}
	sender, err := c.needSender()
	if err != nil {
		return c.fail(err)
	}
	if len(c.args) > 0 {
		if err := c.openFolder(); err != nil {
			return c.fail(err)
		}
	}
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	verdict, err := list.Judge(c.list, list.Judgement{
		Content: message, Sender: sender,
		Commands: c.on('c', true), BodyCommands: c.on('b', false),
		NoSubject: !c.on('s', true), NotToList: c.on('T', false), NoHeaders: !c.on('h', true),
	})
	switch {
	case err != nil:
		return c.fail(err)
	case verdict == list.Junk:
		return tool.Stop
	case verdict == list.NotAddressed && c.on('q', false):
		return tool.Stop
	case verdict == list.NotAddressed:
		return c.fail(list.ErrNotAddressed)
	case verdict == list.Command && c.on('f', false) && c.list != nil:
		return c.forwardCommand(sender)
	case verdict == list.Command:
		return c.fail(list.ErrCommand)
	}
	return tool.OK
}

// forwardCommand sends a command that was posted to the list on to where commands are read.
func (c *call) forwardCommand(sender string) int {
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	line := "Delivered-To: command forwarder for " + c.list.Local + "@" + c.list.Host + "\n"
	to := c.list.Local + "-request@" + c.list.Host
	id, err := c.send(c.ctx, sender, []string{to}, prefixed(line, message))
	if err != nil {
		return c.fail(err)
	}
	c.e.Info("forward qp ", id)
	return tool.Stop
}

// weed is ezmlm-weed: 99 for what is no bounce, and no person's mail.
func weed(c *call) int {
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	drop, err := list.Weed(message)
	switch {
	case err != nil:
		return c.fail(err)
	case drop:
		return tool.Stop
	}
	return tool.OK
}

// returned is ezmlm-return.
func returned(c *call) int {
	if code, ok := c.open("dDvV"); !ok {
		return code
	}
	sender, err := c.needSender()
	if err != nil {
		return c.fail(err)
	}
	action, ok := c.e.Lookup("DEFAULT")
	if !ok {
		return c.e.Fatal(tool.Permanent, "DEFAULT not set")
	}
	message, err := c.message()
	if err != nil {
		return c.fail(err)
	}
	b := list.Bounces{List: c.list, Digest: c.on('d', false), PID: pid(), Sender: sender}
	switch err := b.Return(c.ctx, action, message); {
	case err == list.ErrTrash:
		c.e.Info("trash address")
	case err != nil:
		return c.fail(err)
	}
	return tool.Stop
}

// warn is ezmlm-warn.
func warn(c *call) int {
	if code, ok := c.open("dDl:t:vV"); !ok {
		return code
	}
	if c.list.Is("nowarn") {
		return tool.OK
	}
	w := list.Warn{Bounces: list.Bounces{List: c.list, PID: pid()}, Timeout: list.BounceTimeout, Queue: c.send, Told: c.queued}
	var ok bool
	if text, given := c.value('t'); given {
		if w.Timeout, ok = duration(text, 24*60*60); !ok {
			return c.e.UsageError(c.usage)
		}
	}
	if text, given := c.value('l'); given {
		if w.Lockout, ok = duration(text, 1); !ok {
			return c.e.UsageError(c.usage)
		}
	}
	kinds := []bool{false}
	if c.list.Is("digest") {
		kinds = append(kinds, true)
	}
	for _, o := range c.opts {
		if o.Name == 'd' || o.Name == 'D' {
			kinds = []bool{o.Name == 'd'}
		}
	}
	for _, digest := range kinds {
		w.Digest = digest
		if err := w.Run(c.ctx); err != nil {
			return c.fail(err)
		}
	}
	return tool.OK
}

const manageUsage = "[-aAbBcCdDeEfFlLmMnNqQsSuUvV] dir"

// manage is ezmlm-manage.
func manage(c *call) int {
	if code, ok := c.open("aAbBcCdDeEfFlLmMnNqQrRsSuUvV"); !ok {
		return code
	}
	r := list.Request{List: c.list, PID: pid(), Queue: c.send}
	var err error
	if r.Sender, err = c.needSender(); err != nil {
		return c.fail(err)
	}
	var ok bool
	if r.Action, ok = c.e.Lookup("DEFAULT"); !ok {
		return c.e.Fatal(tool.Permanent, "DEFAULT not set")
	}
	if r.ManageOptions, err = c.list.ManageDefaults(); err != nil {
		return c.fail(err)
	}
	o := &r.ManageOptions
	o.NoSubConfirm = !c.on('s', !o.NoSubConfirm)
	o.NoUnsubConfirm = !c.on('u', !o.NoUnsubConfirm)
	o.ModeratorsList = c.on('l', o.ModeratorsList)
	o.ModeratorsEdit = c.on('e', c.on('d', o.ModeratorsEdit))
	o.ModerateUnsub = c.on('m', false)
	o.NoGet = !c.on('c', true)
	o.NoBottom = !c.on('b', !o.NoBottom)
	o.Quiet = !c.on('n', true)
	o.NoAuthorsInLog = !c.on('f', true)
	for _, option := range c.opts {
		switch option.Name {
		case 'q':
			o.TellOwner = 0
		case 'Q':
			o.TellOwner++
		}
	}
	if r.Content, err = c.message(); err != nil {
		return c.fail(err)
	}
	id, note, err := r.Manage(c.ctx)
	switch {
	case err != nil:
		return c.fail(err)
	case note != "":
		c.e.Info(strings.TrimSpace(note))
	default:
		c.queued(id)
	}
	return tool.OK
}
