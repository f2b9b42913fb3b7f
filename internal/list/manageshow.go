package list

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// This file holds the commands that show something: who is on the list, who came and went, a message.

// list shows a moderator who is on the list.
func (c *command) list() error {
	if !c.ModeratorsList || !c.modSub && !c.remote {
		return errNoCommand
	}
	if !c.isMod {
		return errModerators
	}
	all, err := c.table.All()
	if err != nil {
		return err
	}
	return c.show("Subscriber list for ", func(b *strings.Builder) error {
		if c.verb == "list" {
			b.WriteString("\nSubscribers to this list are:\n\n")
			for _, a := range all {
				b.WriteString(a + "\n")
			}
		}
		fmt.Fprintf(b, "\n  ======> %d\n", len(all))
		return nil
	})
}

// log shows a moderator who came and went.
func (c *command) log(pattern string) error {
	if !c.ModeratorsList || !c.remote {
		return errNoCommand
	}
	if !c.isMod {
		return errModerators
	}
	subject := "Subscriber log for "
	if pattern != "" {
		subject = "Log search results for "
	}
	return c.show(subject, func(b *strings.Builder) error {
		return c.table.SearchLog(pattern, func(line string) { b.WriteString(line + "\n") })
	})
}

// show is answer with what write writes in place of a text, for the moderator.
func (c *command) show(subject string, write func(*strings.Builder) error) error {
	writeField(&c.letter.late, "Subject", subject+c.f.quoted(c.local)+"@"+c.f.Host)
	if err := c.say("top"); err != nil {
		return err
	}
	if err := write(&c.letter.text); err != nil {
		return err
	}
	c.to = []string{c.mod}
	return c.bottom()
}

// get shows one message of the archive, on lists that have no program of their own for that; on others too, where
// the address is none that the program reads, such as LOCAL-digest-get.1. It goes to the target, who must be a reader.
func (c *command) get(number string) error {
	if c.f.Is("modgetonly") && !c.isMod {
		return errModerators
	}
	if c.f.Is("subgetonly") {
		if found, err := c.f.listed(c.target, readerTables()); err != nil {
			return err
		} else if !found {
			return errReaders
		}
	}
	n, _ := strconv.ParseUint(number, 10, 63)
	m, found, err := c.f.Message(n)
	if err != nil {
		return err
	}
	if !found {
		return c.answer("Archive retrieval from ", []string{"get-bad"}, c.target)
	}
	defer m.Close()
	text, err := io.ReadAll(io.LimitReader(m, maxShown))
	if err != nil {
		return unreadable(err)
	}
	writeField(&c.letter.late, "Subject", "Archive retrieval from "+c.f.quoted(c.local)+"@"+c.f.Host)
	if err := c.say("top"); err != nil {
		return err
	}
	c.letter.text.WriteString("> " + strings.ReplaceAll(string(text), "\n", "\n> ") + "\n")
	c.to = []string{c.target}
	return c.bottom()
}

// maxShown bounds a message that is shown within another, in bytes.
const maxShown = 4 << 20

// mailto encodes the local part of an address for a URI (RFC 6068 2).
func mailto(local string) string {
	var b strings.Builder
	for i := range len(local) {
		if c := local[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"?;<>&/:%+#[]\\,", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(local[i])
	}
	return b.String()
}
