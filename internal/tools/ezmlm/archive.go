package ezmlm

import (
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/list"
	"github.com/postilion/postilion/internal/tools/tool"
)

// This file holds the programs for what a list has sent: its archive, and digests.

const getUsage = "[-bBcCpPsSvV] [ -f format ] dir"

// get is ezmlm-get: it answers requests for messages, and sends digests where it is called without a
// command: by the list's own instructions, by hand, and by mail with the list's code.
func get(c *call) int {
	if code, ok := c.open("bBcClLpPqQsSvVf:t:"); !ok {
		return code
	}
	action, ok := c.e.Lookup("DEFAULT")
	if !ok {
		return c.digest(0, tool.OK)
	}
	format, ok, err := c.list.CheckDigestCode(action)
	switch {
	case err != nil:
		return c.fail(err)
	case ok:
		return c.digest(format, tool.Stop)
	}
	a := list.Archive{List: c.list, Action: action, PID: pid(), Queue: c.send}
	if a.Sender, err = c.needSender(); err == nil {
		a.Content, err = c.message()
	}
	if err != nil {
		return c.fail(err)
	}
	id, handled, err := a.Answer(c.ctx)
	switch {
	case err != nil:
		return c.fail(err)
	case !handled:
		return tool.OK
	}
	c.queued(id)
	return tool.Stop
}

// digest sends a digest and exits so.
func (c *call) digest(format byte, exit int) int {
	if text, given := c.value('f'); given && format == 0 {
		if len(text) != 1 || !strings.Contains("rmxvn", text) {
			return c.e.UsageError(getUsage)
		}
		format = text[0]
	}
	d := list.Digest{List: c.list, Format: format, PID: pid(), Queue: c.send}
	id, note, err := d.Send(c.ctx)
	switch {
	case err != nil:
		return c.fail(err)
	case note != "":
		c.e.Info(note)
	default:
		c.queued(id)
	}
	return exit
}

// testDigest is ezmlm-tstdig: 0 when a digest is due, else 99.
func testDigest(c *call) int {
	if code, ok := c.open("k:m:t:vV"); !ok {
		return code
	}
	limits, err := c.list.DigestLimits()
	if err != nil {
		return c.fail(err)
	}
	for letter, to := range map[rune]*uint64{'k': &limits.Kilobytes, 'm': &limits.Messages, 't': &limits.Hours} {
		if text, given := c.value(letter); given {
			if *to, err = strconv.ParseUint(text, 10, 31); err != nil {
				return c.e.UsageError(c.usage)
			}
		}
	}
	// In the instructions for commands, only requests for digests wait for one.
	if action := c.e.Getenv("DEFAULT"); action != "" && (!strings.HasPrefix(strings.ToLower(action), "dig") || strings.HasPrefix(strings.ToLower(action), "digest-")) {
		return tool.OK
	}
	due, err := c.list.DigestIsDue(limits)
	switch {
	case err != nil:
		return c.fail(err)
	case due:
		return tool.OK
	}
	return tool.Stop
}

// reindex is ezmlm-idx: it goes on behind what is indexed, with -f it begins anew.
func reindex(c *call) int {
	if code, ok := c.open("dDfFvV"); !ok {
		return code
	}
	if err := c.list.Reindex(c.ctx, c.on('f', false)); err != nil {
		return c.fail(err)
	}
	return tool.OK
}
