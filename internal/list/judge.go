package list

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail/mess822"
)

// Judgement is a post to be looked at before it is sent (qmail reference 23.7).
type Judgement struct {
	Content io.ReadSeeker
	Sender  string

	Commands     bool // look for a subject that is a command
	BodyCommands bool // and for a text that begins with one
	NoSubject    bool // a post need have no subject
	NotToList    bool // the list need not be in To or Cc
	NoHeaders    bool // take no notice of DIR/headerreject
}

// Verdict is what Judge says of a post that it has no reason of its own to refuse.
type Verdict int

// The verdicts.
const (
	Fine         Verdict = iota
	Junk                 // says itself that it is bulk: dropped
	NotAddressed         // the list is neither in To nor in Cc
	Command              // meant for a command's address
)

// What Judge's verdicts are refused with.
var (
	ErrNotAddressed = refuse("List address must be in To: or Cc: (#5.7.0)")
	ErrCommand      = refuse("Sorry, I don't accept commands in the subject line. Please send a message to the -help address shown in the ``Mailing-List:'' header for command info (#5.7.0)")
	errBodyCommand  = refuse("Sorry, as the message starts with ``[un]subscribe'' it looks like an administrative request. Please send a message to the -help address shown in the ``Mailing-List:'' header for [un]subscribe info (#5.7.0)")
	errNoSubject    = refuse("Sorry, I don't accept message with empty Subject (#5.7.0)")
)

// judge is one post being looked at.
type judge struct {
	Judgement
	f           *Folder
	most, least int64 // bytes of the body; 0 for no bound
	headers     map[string]bool
	reject      map[string]bool // MIME types that are refused
	rules       postRules

	subject, content string
	junk, addressed  bool
}

// Judge looks at a post for a list; f is nil where the list is not known.
func Judge(f *Folder, j Judgement) (Verdict, error) {
	if j.Sender == "" {
		return Fine, errBounce
	}
	g := &judge{Judgement: j, f: f}
	if err := g.settings(); err != nil {
		return Fine, err
	}
	fields, body, err := readHeader(j.Content)
	if err != nil {
		return Fine, err
	}
	if err := g.header(fields); err != nil {
		return Fine, err
	}
	verdict, err := g.verdict()
	if err != nil || verdict != Fine {
		return verdict, err
	}
	if err := g.mediaType(); err != nil {
		return Fine, err
	}
	if _, err := j.Content.Seek(body, io.SeekStart); err != nil {
		return Fine, unreadable(err)
	}
	return Fine, g.body(bufio.NewReaderSize(j.Content, 32<<10))
}

func (g *judge) settings() error {
	if g.f == nil {
		g.NotToList = true
		return nil
	}
	size, found, err := g.f.Line("msgsize")
	if err != nil {
		return err
	}
	if found && size != "" {
		most, least, _ := strings.Cut(size, ":")
		if g.most, err = strconv.ParseInt(most, 10, 63); err == nil && least != "" {
			g.least, err = strconv.ParseInt(least, 10, 63)
		}
		if err != nil || g.most < 0 || g.least < 0 {
			return broken("%s: %q is not the most bytes of a message, and behind a colon the least", g.f.path("msgsize"), size)
		}
	}
	if !g.NoHeaders {
		if g.headers, _, err = g.f.set("headerreject"); err != nil {
			return err
		}
	}
	if g.reject, _, err = g.f.set("mimereject"); err != nil {
		return err
	}
	g.rules, err = g.f.postRules()
	return err
}

func (g *judge) header(fields []string) error {
	for _, field := range fields {
		name, value := fieldName(field)
		if g.headers[name] {
			return errListed
		}
		switch name {
		case "to", "cc":
			g.addressed = g.addressed || g.NotToList || g.names(value)
		case "subject":
			g.subject = oneLine(value)
		case "content-type":
			g.content = oneLine(value)
		case "precedence":
			p := lowerASCII(oneLine(value))
			g.junk = g.junk || p == "junk" || p == "bulk"
		}
	}
	return nil
}

// names reports whether one of a field's addresses is the list's.
func (g *judge) names(value string) bool {
	for _, a := range mess822.Addresses(value) {
		if a.IsAddress && strings.EqualFold(strings.TrimSuffix(a.Addr, "@"), g.f.Local+"@"+g.f.Host) {
			return true
		}
	}
	// ezmlm looks for the address within the text: what addresses wrap around it does not matter.
	return strings.Contains(lowerASCII(oneLine(value)), lowerASCII(g.f.Local+"@"+g.f.Host))
}

func (g *judge) verdict() (Verdict, error) {
	subject := lowerASCII(g.subject)
	isCommand := false
	switch subject {
	case "help", "remove", "subscribe", "unsubscribe":
		isCommand = true
	case "(null)", "(none)", "(no subject)":
		subject = ""
	}
	if g.BodyCommands && (strings.HasPrefix(subject, "subscribe") || strings.HasPrefix(subject, "unsubscribe")) {
		isCommand = true
	}
	switch {
	case g.junk:
		return Junk, nil
	case !g.NotToList && !g.addressed:
		return NotAddressed, nil
	case subject == "" && !g.NoSubject:
		return Fine, errNoSubject
	case isCommand && g.Commands:
		return Command, nil
	}
	return Fine, nil
}

// mediaType refuses a message as a whole by its type.
func (g *judge) mediaType() error {
	if media := mediaType(g.content); media != "" && (g.reject[media] || g.rules.removes(media) && (!g.rules.keepTypes || !strings.HasPrefix(media, "multipart/"))) {
		return refuse("Sorry, I don't accept messages of MIME Content-Type '%s' (#5.2.3)", shownType(media))
	}
	return nil
}

// shownType is a type for a text that goes into a bounce.
func shownType(media string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, media[:min(len(media), 100)])
}

// body counts the body's bytes, without those of headers of parts, and looks at its parts' types.
func (g *judge) body(r *bufio.Reader) error {
	m := mimeShape{contentType: g.content}
	m.parse()
	size, inPart, atStart, first := int64(0), false, true, true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return unreadable(err)
		}
		text := string(line)
		switch {
		case text == "\n" || text == "":
			inPart = false
		case atStart && m.boundary != "" && strings.HasPrefix(text, m.boundary):
			inPart = true
		case inPart:
			name, value := fieldName(text)
			if media := mediaType(oneLine(value)); name == "content-type" && g.reject[media] {
				return refuse("Sorry, a message part has an unacceptable MIME Content-Type: '%s' (#5.2.3)", shownType(media))
			}
		default:
			lower := lowerASCII(text[:min(len(text), 20)])
			if first && g.BodyCommands && (strings.HasPrefix(lower, "subscribe") || strings.HasPrefix(lower, "unsubscribe")) {
				return errBodyCommand
			}
			first = false
			size += int64(len(text))
			if g.most > 0 && size > g.most {
				return refuse("Sorry, I don't accept messages larger than %d bytes (#5.2.3)", g.most)
			}
		}
		atStart = err == nil
		if err == io.EOF {
			break
		}
	}
	if size < g.least {
		return refuse("Sorry, I don't accept messages shorter than %d bytes (#5.2.3)", g.least)
	}
	return nil
}
