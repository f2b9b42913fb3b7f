package mime

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// Description is what the parser sees in a message, for people and programs that compare it with
// what another sees.
type Description struct {
	Subject   string               `json:"subject,omitempty"` // encoded words decoded
	Date      *time.Time           `json:"date,omitempty"`    // absent where it is missing or cannot be read
	MessageID string               `json:"message_id,omitempty"`
	Addresses map[string][]Mailbox `json:"addresses,omitempty"` // by field name in lower case
	Header    []FieldText          `json:"header"`
	Parts     []PartText           `json:"parts"` // depth first
}

// FieldText is a header field, unfolded.
type FieldText struct {
	Name    string `json:"name"`
	Value   string `json:"value"`             // invalid UTF-8 replaced
	Decoded string `json:"decoded,omitempty"` // where encoded words or the message's character set make a difference
}

// Mailbox is an Address for people: the name decoded.
type Mailbox struct {
	Name    string  `json:"name,omitempty"`
	Local   string  `json:"local,omitempty"`
	Domain  string  `json:"domain,omitempty"`
	Route   string  `json:"route,omitempty"`
	Group   *string `json:"group,omitempty"`
	Invalid string  `json:"invalid,omitempty"`
}

// Mailboxes turns addresses into their form for people.
func Mailboxes(list []Address) []Mailbox {
	out := make([]Mailbox, 0, len(list))
	for _, a := range list {
		m := Mailbox{Name: DecodeWords(a.Name), Local: a.Local, Domain: a.Domain, Route: a.Route, Invalid: a.Invalid}
		if a.InGroup {
			group := DecodeWords(a.Group)
			m.Group = &group
		}
		out = append(out, m)
	}
	return out
}

// PartText describes a part.
type PartText struct {
	Number      string            `json:"number"` // IMAP's; "" is the message itself
	Type        string            `json:"type"`
	Params      map[string]string `json:"params,omitempty"` // decoded
	Encoding    string            `json:"encoding,omitempty"`
	Disposition string            `json:"disposition,omitempty"`
	Filename    string            `json:"filename,omitempty"`
	ID          string            `json:"id,omitempty"`
	Offset      int64             `json:"offset"`    // of the body in the message, bytes
	Size        int64             `json:"size"`      // of the body, bytes
	WireSize    int64             `json:"wire_size"` // with CRLF line ends
	Lines       int64             `json:"lines"`
	Cut         bool              `json:"cut,omitempty"` // a limit kept it from being read further
	// Of leaves: the content with its transfer encoding removed.
	DecodedSize *int64 `json:"decoded_size,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	Text        string `json:"text,omitempty"` // of text parts up to 64 KiB, as UTF-8
}

// maxText is the most text that a description shows of a part, in bytes.
const maxText = 64 << 10

var addressFields = []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc"}

// Describe reads a message that is in memory.
func Describe(message []byte) Description {
	root, _ := Parse(bytes.NewReader(message), Limits{}) // a bytes.Reader gives no error
	charset := root.textCharset()
	d := Description{
		Subject:   DecodeWords(Legible(root.Header.Get("Subject"), charset)),
		MessageID: strings.ToValidUTF8(root.Header.Get("Message-ID"), "\uFFFD"),
		Header:    []FieldText{},
	}
	if t, err := mail.ParseDate(root.Header.Get("Date")); err == nil {
		d.Date = &t
	}
	for _, f := range root.Header {
		value := Unfold(f.Value)
		text := FieldText{Name: strings.ToValidUTF8(f.Name, "\uFFFD"), Value: strings.ToValidUTF8(value, "\uFFFD")}
		if decoded := DecodeWords(Legible(value, charset)); decoded != text.Value {
			text.Decoded = decoded
		}
		d.Header = append(d.Header, text)
	}
	for _, name := range addressFields {
		for _, v := range root.Header.All(name) {
			if d.Addresses == nil {
				d.Addresses = map[string][]Mailbox{}
			}
			key := strings.ToLower(name)
			d.Addresses[key] = append(d.Addresses[key], Mailboxes(ParseAddresses(Legible(v, charset)))...)
		}
	}
	root.Walk(func(number string, p *Part) { d.Parts = append(d.Parts, p.describe(number, message, charset)) })
	return d
}

// textCharset returns the character set of the first text that names one; "" where none does.
func (q *Part) textCharset() (charset string) {
	q.Walk(func(_ string, p *Part) {
		if charset == "" && p.Type == "text" {
			charset = param(p.Params, "charset")
		}
	})
	return charset
}

// legibleParams is parameters with their values made legible.
func legibleParams(list []Param, charset string) []Param {
	out := slices.Clone(list)
	for i := range out {
		out[i].Value = Legible(out[i].Value, charset)
	}
	return out
}

func (q *Part) describe(number string, message []byte, charset string) PartText {
	params := legibleParams(q.Params, charset)
	t := PartText{
		Number: number, Type: q.Type + "/" + q.Subtype, Encoding: q.Encoding, Disposition: q.Disposition,
		ID: strings.ToValidUTF8(q.Header.Get("Content-ID"), "\uFFFD"), Filename: filename(legibleParams(q.DispParams, charset), params),
		Offset: q.Body.Offset, Size: q.Body.Size, WireSize: q.Body.WireSize, Lines: q.Body.Lines, Cut: q.Cut,
	}
	for _, p := range q.Params {
		name, _, _ := strings.Cut(p.Name, "*")
		if t.Params == nil {
			t.Params = map[string]string{}
		}
		t.Params[name] = Decoded(params, name)
	}
	if q.IsMultipart() || q.Message != nil {
		return t
	}
	// What cannot be decoded to its end counts as far as it goes.
	content, _ := io.ReadAll(Content(q.Encoding, bytes.NewReader(message[q.Body.Offset:q.Body.Offset+q.Body.Size])))
	size, sum := int64(len(content)), sha256.Sum256(content)
	t.DecodedSize, t.SHA256 = &size, hex.EncodeToString(sum[:])
	if q.Type == "text" && len(content) <= maxText {
		t.Text = toUTF8(param(q.Params, "charset"), string(content))
	}
	return t
}

// filename returns the name that the part's writer gave its file, decoded; "" without. It
// is a peer's word: never a path to open.
func filename(disposition, params []Param) string {
	return cmp.Or(Decoded(disposition, "filename"), Decoded(params, "name"))
}
