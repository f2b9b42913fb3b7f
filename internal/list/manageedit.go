package list

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"maps"
	"mime/quotedprintable"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file lets moderators of lists with remote administration change the list's texts by mail: the
// answer to a request holds the text between two marks, and is mailed back with what is to stand
// there (qmail reference 23.4).

// Bounds of a text that comes by mail.
const (
	EditLife = 100_000 * time.Second // how long it may be sent back, if nobody else changes it
	maxEdit  = 10 << 10              // bytes
)

// The marks around a text.
const (
	editStart = "%%% START OF TEXT FILE"
	editEnd   = "%%% END OF TEXT FILE"
)

var (
	errTextName = refuse("only letters and underscore allowed in file name (#5.6.0)")
	errNoText   = refuse("there is no text of that name (#5.1.1)")
	errNoMark   = refuse("missing start-of-text or end-of-text mark (#5.6.0)")
	errTextSize = refuse("the text is longer than %d bytes (#5.3.4)", maxEdit)
)

// textName returns the name of a text as an address has it, with "_" for "-". Names are those that
// lists ask for; no other file can be named.
func textName(s string) (string, error) {
	for i := range len(s) {
		if s[i] != '_' && (s[i] < 'a' || s[i] > 'z') {
			return "", errTextName
		}
	}
	name := strings.ReplaceAll(s, "_", "-")
	if _, ok := texts[name]; !ok {
		return "", errNoText
	}
	return name, nil
}

// textOf returns a text as it is kept, with its tags.
func (f *Folder) textOf(name string) (string, error) {
	content, found, err := f.find("text/" + name)
	if err != nil || found {
		return string(content), err
	}
	return texts[name], nil
}

// editCookie proves that its holder was sent the text as it is now.
func (f *Folder) editCookie(when, name, text string) string {
	return Cookie(f.Key, when, strings.ReplaceAll(text, "\x00", "_")+"text/"+name, '-')
}

// edit sends a moderator a text, or the names of all.
func (c *command) edit(name string) error {
	if !c.ModeratorsEdit || !c.remote {
		return errNoCommand
	}
	if !c.isMod {
		return errModerators
	}
	if name == "" {
		return c.show("List of editable text files for ", func(b *strings.Builder) error {
			b.WriteString("Send a mail to " + c.f.Local + "-edit.NAME@" + c.f.Host + " for one of these, with \"_\" in place of \"-\":\n\n")
			for _, name := range slices.Sorted(maps.Keys(texts)) {
				b.WriteString("   " + name + "\n")
			}
			return nil
		})
	}
	file, err := textName(name)
	if err != nil {
		return err
	}
	text, err := c.f.textOf(file)
	if err != nil {
		return err
	}
	when := strconv.FormatInt(c.f.Now().Unix(), 10)
	confirm := c.f.Local + "-ed." + when + "." + name + "." + c.f.editCookie(when, file, text) + "@" + c.f.Host
	writeField(&c.letter.late, "Reply-To", quotedAddress(confirm))
	return c.show("EDIT "+name+" for ", func(b *strings.Builder) error {
		b.WriteString("Change what stands between the two marks and send it back, marks and all, as an answer\nto this mail. Lines that begin with # are remarks.\n\n" +
			editStart + "\n" + text)
		if !strings.HasSuffix(text, "\n") {
			b.WriteByte('\n')
		}
		b.WriteString(editEnd + "\n")
		return nil
	})
}

// edited takes a text that was sent back: TIME.NAME.COOKIE.
func (c *command) edited(ctx context.Context, proof string) error {
	if !c.ModeratorsEdit || !c.remote {
		return errNoCommand
	}
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return errCookie
	}
	sec, err := strconv.ParseInt(parts[0], 10, 63)
	if err != nil || !c.f.fresh(sec, EditLife) {
		return errCookie
	}
	file, err := textName(parts[1])
	if err != nil {
		return err
	}
	lock, err := c.f.Lock(ctx, "lock") // the text must not change meanwhile
	if err != nil {
		return err
	}
	defer lock.Close()
	old, err := c.f.textOf(file)
	if err != nil {
		return err
	}
	if parts[2] != c.f.editCookie(parts[0], file, old) {
		return errCookie
	}
	text, err := c.sentText()
	if err != nil {
		return err
	}
	if err := c.f.mkdir("text"); err != nil {
		return err
	}
	if err := c.f.replaceWith("text/"+file, "text/"+file+"_", 0o644, []byte(text)); err != nil {
		return err
	}
	c.mod = c.Sender // not necessarily the moderator who asked
	return c.show("Success editing "+parts[1]+" for ", func(b *strings.Builder) error {
		b.WriteString("The text has been changed.\n")
		return nil
	})
}

// sentText returns what stands between the marks, without what the mail program put before lines.
func (c *command) sentText() (string, error) {
	if _, err := c.Content.Seek(c.body, io.SeekStart); err != nil {
		return "", unreadable(err)
	}
	raw, err := io.ReadAll(io.LimitReader(c.Content, 16*maxEdit))
	if err != nil {
		return "", unreadable(err)
	}
	for _, field := range c.fields {
		if name, value := fieldName(field); name == "content-transfer-encoding" {
			raw = decoded(raw, lowerASCII(oneLine(value)))
		}
	}
	var b strings.Builder
	begun, quote := false, ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\r\n")
		switch i := strings.Index(line, "%%%"); {
		case !begun && i >= 0 && strings.HasPrefix(line[i:], editStart):
			begun, quote = true, line[:i]
		case begun && i >= 0 && strings.HasPrefix(line[i:], editEnd):
			return b.String(), nil
		case begun:
			b.WriteString(strings.TrimPrefix(line, quote) + "\n")
			if b.Len() > maxEdit {
				return "", errTextSize
			}
		}
	}
	return "", errNoMark
}

// decoded undoes an encoding of MIME; what is not encoded so stays as it is.
func decoded(raw []byte, encoding string) []byte {
	var out []byte
	var err error
	switch encoding {
	case "quoted-printable":
		out, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(raw)))
	case "base64":
		out, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(raw)), ""))
	default:
		return raw
	}
	if err != nil && len(out) == 0 {
		return raw
	}
	return out
}
