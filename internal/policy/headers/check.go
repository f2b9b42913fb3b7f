package headers

import (
	"bytes"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/mime"
	"github.com/postilion/postilion/internal/reason"
)

// This file looks at one message as it passes by: the header in memory, the body through a parser that keeps the
// headers of parts alone. What is beyond the bounds is told, never passed over in silence.

const (
	maxHeader = 1 << 20  // bytes of header fields of a message and all its parts
	maxParts  = 5000     // parts of a message
	maxNested = 50       // depth of parts
	maxWork   = 32 << 20 // bytes of text, each counted for every rule that it is compared with
	maxHits   = 20       // kept of a message
	maxShown  = 200      // bytes shown of what was hit
)

// Hit is a rule that matched.
type Hit struct {
	Rule string `json:"rule"`           // FILE:LINE
	Verb string `json:"action"`         // REJECT, DEFER, HOLD, PREPEND, WARN, DUNNO
	Test bool   `json:"test,omitempty"` // it is told only
	// What is what it matched, as "Subject: ILOVEYOU" or "attachment x.exe": a peer's words.
	What string `json:"what"`
	Part string `json:"part,omitempty"` // where that stands: "part 2", "message in part 2"; "" in the message's own header
	Text string `json:"text,omitempty"` // the rule's words: the reply, the log's, the field that is added
}

// String is a hit for logs and people.
func (h *Hit) String() string {
	s := h.Verb
	if h.Test {
		s = "would " + s
	}
	if s += ": " + h.What; h.Part != "" {
		s += " (" + h.Part + ")"
	}
	if h.Text != "" && h.Verb != verbNames[reject] && h.Verb != verbNames[deferre] {
		s += ": " + h.Text
	}
	return s
}

// Verdict is what the rules say of a message.
type Verdict struct {
	Hits []Hit `json:"hits"`
	More int   `json:"more,omitempty"` // hits beyond those
	// Refused is what the client is told; nil when the message is taken.
	Refused *reason.Error `json:"refused,omitempty"`
	Hold    bool          `json:"hold,omitempty"`
	// Complex tells what there was too much of to look at all; "" when all was looked at.
	Complex string `json:"complex,omitempty"`
}

// Check looks at one message: Header for its header, EndHeader, Body for the rest, and End. It is used by one
// goroutine and ends with End or Close.
type Check struct {
	set    *Set
	tables []*table
	header []byte
	size   int // of the header, bytes
	feed   *feed
	work   int
	met    []int8 // the conditions of a table for the field at hand: 0 not asked yet, 1 met, -1 not
	added  []byte // fields to be added, with LF line ends
	v      Verdict
}

// Header takes the next piece of the header, with LF line ends.
func (c *Check) Header(p []byte) {
	c.size += len(p)
	c.header = append(c.header, p[:min(len(p), max(maxHeader-len(c.header), 0))]...)
}

// EndHeader tells that the header is over. It returns fields to be added to it, with LF line ends, and the error that
// the message is refused with if that is known by now.
func (c *Check) EndHeader() (fields []byte, refused *reason.Error) {
	if c.size > maxHeader {
		c.tooMuch("header fields")
	}
	root, _ := mime.Parse(bytes.NewReader(c.header), limits()) // memory gives no error
	c.part("", root, own)
	if root.Type == "multipart" || root.Type == "message" {
		c.feed = newFeed()
		c.feed.write(c.header)
	}
	c.header = nil
	return c.added, c.v.Refused
}

// Body takes the next piece of what stands behind the header, the empty line included.
func (c *Check) Body(p []byte) {
	if c.feed != nil {
		c.feed.write(p)
	}
}

// End returns what the rules say.
func (c *Check) End() *Verdict {
	if c.feed == nil {
		return &c.v
	}
	root := c.feed.end()
	c.feed = nil
	if size := headSize(root); size > maxHeader {
		c.tooMuch("header fields")
	}
	c.below("", root)
	return &c.v
}

// Close ends a check whose verdict nobody wants. After End it does nothing.
func (c *Check) Close() {
	if c.feed != nil {
		c.feed.stop()
		c.feed = nil
	}
}

func limits() mime.Limits {
	return mime.Limits{Depth: maxNested, Parts: maxParts, HeaderBytes: maxHeader, FieldBytes: maxHeader}
}

func headSize(p *mime.Part) int64 {
	n := p.Head.Size
	if p.Message != nil {
		n += headSize(p.Message)
	}
	for _, q := range p.Parts {
		n += headSize(q)
	}
	return n
}

// below looks at what is in a part. label names the part as hits do.
func (c *Check) below(label string, p *mime.Part) {
	if p.Cut {
		c.tooMuch("parts")
	}
	if p.Message != nil {
		inner := "message in the message"
		if label != "" {
			inner = "message in " + label
		}
		c.part(inner, p.Message, nested)
		c.below(label, p.Message)
	}
	for i, q := range p.Parts {
		name := "part " + strconv.Itoa(i+1)
		if label != "" {
			name = label + "." + strconv.Itoa(i+1)
		}
		c.part(name, q, mimeFields)
		c.below(name, q)
	}
}

// part holds the rules against the fields of one header and the names of its file.
func (c *Check) part(label string, p *mime.Part, where scope) {
	for _, f := range p.Header {
		c.field(label, where, f)
	}
	c.attachments(label, p)
}

// field holds the rules against one field: of each file the first that matches decides, but for those on test.
func (c *Check) field(label string, where scope, f mime.Field) {
	name := strings.ToLower(f.Name)
	in := scopeOf(where, name)
	var values, lines []string
	for _, t := range c.tables {
		rules := t.of(name)
		if len(rules) == 0 || !t.sees(label, in) {
			continue
		}
		if values == nil {
			value := mime.Unfold(f.Value)
			values, lines = forms("", value), forms(f.Name+": ", value)
		}
		c.met = append(c.met[:0], make([]int8, len(t.conds))...)
		for _, i := range rules {
			r := &t.rules[i]
			if r.action.verb == prepend && label != "" || r.excepted(name) || !c.meets(t, r.within, lines) {
				continue
			}
			texts := r.sees(values, lines)
			if !c.spend(texts) {
				return
			}
			if text, groups, ok := r.match(texts); ok {
				shown := text
				if r.kind == oneField {
					shown = f.Name + ": " + text
				}
				c.hit(t, r, label, shown, r.action.words(text, groups))
				if !r.action.test && !c.set.test {
					break
				}
			}
		}
	}
}

// sees returns the texts that a rule for fields is compared with.
func (r *rule) sees(values, lines []string) []string {
	switch {
	case r.kind == anyField:
		return lines
	case r.bare:
		return withoutComments(values)
	}
	return values
}

// meets asks the conditions around a rule.
func (c *Check) meets(t *table, at int, lines []string) bool {
	for ; at >= 0; at = t.conds[at].within {
		if c.met[at] == 0 {
			c.met[at] = -1
			if !c.spend(lines) {
				return false
			}
			if _, _, ok := t.conds[at].match(lines); ok {
				c.met[at] = 1
			}
		}
		if c.met[at] < 0 {
			return false
		}
	}
	return true
}

// attachments holds the rules against the names of a part's file.
func (c *Check) attachments(label string, p *mime.Part) {
	var names [][]string
	for _, t := range c.tables {
		if len(t.attachments) == 0 {
			continue
		}
		if names == nil {
			for _, raw := range p.Filenames() {
				names = append(names, attachmentForms(raw))
			}
		}
		c.attachment(t, label, names)
	}
}

// attachment looks for the first rule of a file that matches one of the names.
func (c *Check) attachment(t *table, label string, names [][]string) {
	for _, i := range t.attachments {
		r := &t.rules[i]
		for _, texts := range names {
			if !c.spend(texts) {
				return
			}
			text, groups, ok := r.match(texts)
			if !ok {
				continue
			}
			c.hit(t, r, label, "attachment "+text, r.action.words(text, groups))
			if r.action.test || c.set.test {
				break
			}
			return
		}
	}
}

// spend counts what a comparison costs; false when the message has used up what it may.
func (c *Check) spend(texts []string) bool {
	const each = 64 // bytes that starting a comparison is worth
	for _, s := range texts {
		c.work += len(s) + each
	}
	if c.work > maxWork {
		c.tooMuch("comparisons")
		return false
	}
	return true
}

// tooMuch tells that not all is looked at.
func (c *Check) tooMuch(what string) {
	if c.v.Complex != "" {
		return
	}
	c.v.Complex = what
	if !c.set.accept && !c.set.test {
		c.refuse(reason.ContentTooComplex.With(what))
	}
}

// hit takes down what a rule does.
func (c *Check) hit(t *table, r *rule, label, what, text string) {
	a := &r.action
	test := a.test || c.set.test
	if a.verb == pass && !test {
		return // it says that nothing is to happen
	}
	h := Hit{Rule: t.place(r), Verb: verbNames[a.verb], Test: test, What: cut(strings.ToValidUTF8(what, "?"), maxShown), Part: label, Text: text}
	if a.verb == prepend {
		h.Text = a.field + ": " + text
	}
	if len(c.v.Hits) < maxHits {
		c.v.Hits = append(c.v.Hits, h)
	} else {
		c.v.More++
	}
	if test {
		return
	}
	switch a.verb {
	case hold:
		c.v.Hold = true
	case prepend:
		c.added = append(append(c.added, h.Text...), '\n')
	case reject, deferre:
		c.refuse(a.refusal(text).Because(hitError(h.Rule + ": " + h.What)))
	}
}

// hitError is the private cause of a refusal: which rule met what.
type hitError string

func (e hitError) Error() string { return string(e) }

// refuse keeps the first error, and a permanent one before a temporary.
func (c *Check) refuse(e *reason.Error) {
	if old := c.v.Refused; old == nil || old.Class == reason.Temporary && e.Class == reason.Permanent {
		c.v.Refused = e
	}
}

// feed hands pieces to a parser that wants to read: the parser runs within write until it has taken the piece. It
// has to end with end or stop.
type feed struct {
	next func() (struct{}, bool)
	stop func()
	p    []byte
	last bool
	root *mime.Part
}

func newFeed() *feed {
	f := new(feed)
	f.next, f.stop = iter.Pull(func(more func(struct{}) bool) {
		f.root, _ = mime.Parse(feedReader{f, more}, limits()) // a feed gives no error
	})
	f.next() // up to its first question for content
	return f
}

func (f *feed) write(p []byte) {
	f.p = p
	for len(f.p) > 0 {
		f.next()
	}
}

func (f *feed) end() *mime.Part {
	f.last = true
	f.next()
	return f.root
}

type feedReader struct {
	f    *feed
	more func(struct{}) bool
}

// Read implements io.Reader.
func (r feedReader) Read(b []byte) (int, error) {
	for len(r.f.p) == 0 {
		if r.f.last || !r.more(struct{}{}) {
			return 0, io.EOF
		}
	}
	n := copy(b, r.f.p)
	r.f.p = r.f.p[n:]
	return n, nil
}
