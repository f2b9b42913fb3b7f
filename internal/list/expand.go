package list

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/mail"
)

// Tags is what stands for the tags of a text (qmail reference 23.5): <#A#> and the like.
type Tags struct {
	Local   string    // of the list, or of its digest: <#l#>
	Target  string    // the address that the text is about: <#A#>, <#a#>, <#t#>
	Confirm string    // the address to answer to: <#R#>, <#r#>, <#c#>
	Action  string    // which kind of confirmation: <#X#>
	Cookie  string    // <#C#>
	When    time.Time // <#T#>
	Number  string    // of a message: <#n#>
	Params  []string  // <#0#> and on
}

// unset is what a tag without a value becomes, as in ezmlm.
const unset = "?????"

// errUnsafe is expand's error for what would let a stranger write header fields.
var errUnsafe = errors.New("the address of a request may not be put into header fields by <#A#>, <#a#> or <#t#>")

// quoted returns the local part of an address as a header writes it.
func (f *Folder) quoted(local string) string { return mail.Address{Local: local}.Quoted() }

// expand replaces the tags of a text. For settings, which make header fields, tags is nil and
// settings true.
func (f *Folder) expand(text, local string, tags *Tags, settings bool) (string, error) {
	if !strings.Contains(text, "<#") {
		return text, nil
	}
	if tags == nil {
		tags = &Tags{}
	}
	if tags.Local != "" {
		local = tags.Local
	}
	var b strings.Builder
	for {
		i := strings.Index(text, "<#")
		if i < 0 || len(text) < i+5 {
			b.WriteString(text)
			return b.String(), nil
		}
		if text[i+3:i+5] != "#>" {
			b.WriteString(text[:i+1])
			text = text[i+1:]
			continue
		}
		b.WriteString(text[:i])
		if settings && strings.IndexByte("Aat", text[i+2]) >= 0 {
			return "", errUnsafe
		}
		b.WriteString(f.tag(text[i+2], local, tags))
		text = text[i+5:]
	}
}

// tag is one tag's value; one that nobody knows is left out.
func (f *Folder) tag(c byte, local string, t *Tags) string {
	or := func(s string) string {
		if s == "" {
			return unset
		}
		return s
	}
	switch c {
	case 'A':
		return or(t.Target)
	case 'a':
		return or(mail.ParseAddress(t.Target).Local)
	case 't':
		return or(Verp(t.Target))
	case 'R':
		return or(t.Confirm)
	case 'r':
		return or(mail.ParseAddress(t.Confirm).Local)
	case 'c':
		return or(strings.TrimPrefix(mail.ParseAddress(t.Confirm).Local, local+"-"))
	case 'C':
		return or(t.Cookie)
	case 'T':
		if t.When.IsZero() {
			return unset
		}
		return strconv.FormatInt(t.When.Unix(), 10)
	case 'X':
		return or(t.Action)
	case 'L':
		return f.quoted(f.Local)
	case 'l':
		return f.quoted(local)
	case 'H', 'h':
		return f.Host
	case 'd':
		return f.dir
	case 'n':
		return or(t.Number)
	}
	if n := int(c) - '0'; n >= 0 && n < len(t.Params) {
		return t.Params[n]
	}
	return ""
}

// Text returns a text of the list's own, of the folders behind it, or the default. Lines that
// begin with # are remarks; a line !A or !R is the target's or the answering address; a
// line <=FLAGS=> begins a section for lists with these switches.
func (f *Folder) Text(name string, tags *Tags) (string, error) {
	content, found, err := f.find("text/" + name)
	if err != nil {
		return "", err
	}
	text := string(content)
	if !found {
		if text, found = texts[name]; !found {
			return "", broken("%s does not exist", f.path("text/"+name))
		}
	}
	var b strings.Builder
	shown := true
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "!A"):
			line = "   " + f.tag('A', "", tags)
		case strings.HasPrefix(line, "!R"):
			line = "   " + f.tag('R', "", tags)
		case len(line) >= 4 && strings.HasPrefix(line, "<=") && strings.HasSuffix(line, "=>"):
			shown = true
			for _, c := range []byte(line[2 : len(line)-2]) {
				shown = shown && f.option(c)
			}
			continue
		}
		if shown {
			// The error is for settings alone.
			line, _ = f.expand(line, f.Local, tags, false)
			b.WriteString(line + "\n")
		}
	}
	return b.String(), nil
}
