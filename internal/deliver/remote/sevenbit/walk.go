package sevenbit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"strings"
)

// Bounds on what a message may make the walk hold.
const (
	lineSize   = 16 << 10 // longer lines come in pieces
	maxValue   = 16 << 10 // bytes of a Content-Type
	maxParts   = 10_000
	maxNesting = 100
)

// Why a message cannot be walked, and so not be converted.
var (
	errParts   = errors.New("it has too many parts")
	errNesting = errors.New("its parts are nested too deeply")
	errValue   = errors.New("a Content-Type field is too long")
	errType    = errors.New("a multipart's Content-Type cannot be read")
)

// kind is what a piece of a message is.
type kind uint8

const (
	field     kind = iota // (a piece of) a line of a header
	headerEnd             // the empty line after a header; no bytes when it is missing
	body                  // (a piece of) a line of a leaf's body
	pad                   // preamble and epilogue of a multipart, which nobody reads
	delimiter             // a boundary line
)

// piece is what a walk goes through, in order; together they are the message.
type piece struct {
	kind  kind
	bytes []byte // valid until the next one
	part  int    // the part that a field, headerEnd or body belongs to
	start bool   // of a field: its first line, or a piece at its start
	cte   bool   // of a field: within Content-Transfer-Encoding
}

// encoding is a Content-Transfer-Encoding.
type encoding uint8

const (
	plain      encoding = iota // none or 7bit
	eightBit                   // 8bit
	binary                     // binary
	quoted                     // quoted-printable
	base64Text                 // base64
	unknown
)

// content is what a part's Content-Type says.
type content uint8

const (
	text content = iota
	multipart
	message
	opaque // anything else
	fixed  // message/partial and message/external-body, which must not be encoded (RFC 2046 5.2.2)
)

// part is one header with its body.
type part struct {
	content    content
	encoding   encoding
	root       bool // of a message: MIME-Version belongs here
	hasVersion bool
	hasType    bool
}

// walker splits a message into pieces. It holds one line, two fields, the boundaries of
// the multiparts that are open, and a few bytes about each part.
type walker struct {
	r     *bufio.Reader
	parts []part  // those whose headers have ended
	open  []frame // the multiparts around the current line
	state kind    // field, body or pad

	part         part    // the current one, while its header lasts
	deflt        content // of a part without a Content-Type
	into         *[]byte // the value that the current field goes to; nil for others
	ctype, coded []byte  // the values of Content-Type and Content-Transfer-Encoding
	inCTE        bool

	mid     bool   // within a line
	pending []byte // a delimiter that ended a header
}

// frame is an open multipart.
type frame struct {
	boundary string
	digest   bool // parts without a type are messages, RFC 2046 5.1.5
}

func newWalker(r io.Reader) *walker {
	return &walker{r: bufio.NewReaderSize(r, lineSize), part: part{root: true}}
}

// next returns the next piece, or io.EOF, or the reader's error, or why the walk stops.
func (w *walker) next() (piece, error) {
	if line := w.pending; line != nil {
		w.pending = nil
		return piece{kind: delimiter, bytes: line}, w.delimit(line)
	}
	line, err := w.r.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull && (err != io.EOF || len(line) == 0) {
		return piece{}, err
	}
	begins := !w.mid
	w.mid = line[len(line)-1] != '\n'
	p := piece{kind: w.state, bytes: line, part: len(w.parts)}
	if w.state != field {
		p.part--
	}
	switch {
	case begins && w.matches(line) >= 0 && w.state == field:
		// A header without an end: the part has no body.
		w.pending = line
		return piece{kind: headerEnd, part: p.part}, w.endHeader()
	case begins && w.matches(line) >= 0:
		p.kind = delimiter
		return p, w.delimit(line)
	case w.state != field:
		return p, nil
	case begins && (line[0] == '\n' || string(line) == "\r\n"):
		p.kind = headerEnd
		return p, w.endHeader()
	}
	return w.field(p, begins)
}

// field takes in a line of a header.
func (w *walker) field(p piece, begins bool) (piece, error) {
	value := p.bytes
	if begins && p.bytes[0] != ' ' && p.bytes[0] != '\t' {
		p.start = true
		name, _, _ := bytes.Cut(p.bytes[:min(len(p.bytes), 200)], []byte{':'})
		w.into, w.inCTE = nil, false
		switch {
		case fold(name, "content-type") && !w.part.hasType:
			w.into, w.part.hasType = &w.ctype, true
		case fold(name, "content-transfer-encoding"):
			w.inCTE = true
			if len(w.coded) == 0 {
				w.into = &w.coded
			}
		case fold(name, "mime-version"):
			w.part.hasVersion = true
		}
		value = p.bytes[min(len(name)+1, len(p.bytes)):]
	}
	p.cte = w.inCTE
	if w.into == nil {
		return p, nil
	}
	if *w.into = append(*w.into, value...); len(*w.into) > maxValue {
		return p, errValue
	}
	return p, nil
}

// fold compares a field name, which white space may follow.
func fold(name []byte, want string) bool {
	return strings.EqualFold(string(bytes.TrimRight(name, " \t\r\n")), want)
}

// parseEncoding reads a Content-Transfer-Encoding, RFC 2045 6.1.
func parseEncoding(v string) encoding {
	v = strings.TrimSpace(v)
	if i := strings.IndexAny(v, " \t\r\n;("); i >= 0 {
		v = v[:i]
	}
	switch strings.ToLower(v) {
	case "", "7bit":
		return plain
	case "8bit":
		return eightBit
	case "binary":
		return binary
	case "quoted-printable":
		return quoted
	case "base64":
		return base64Text
	}
	return unknown
}

// endHeader decides what the part is, and so what its body is read as.
func (w *walker) endHeader() error {
	w.part.encoding = parseEncoding(string(w.coded))
	content, boundary, err := w.contentType()
	if err != nil {
		return err
	}
	if w.part.encoding >= quoted && (content == multipart || content == message) {
		content = opaque // not allowed (RFC 2045 6.4): there is no structure before it is decoded
	}
	w.part.content = content
	w.parts = append(w.parts, w.part)
	switch content {
	case message:
		return w.begin(true, text)
	case multipart:
		if len(w.open) == maxNesting {
			return errNesting
		}
		w.open = append(w.open, boundary)
		w.state = pad
	default:
		w.state = body
	}
	return nil
}

// contentType evaluates Content-Type, RFC 2045 5.
func (w *walker) contentType() (content, frame, error) {
	if !w.part.hasType {
		return w.deflt, frame{}, nil
	}
	value := strings.TrimSpace(string(w.ctype))
	name, params, err := mime.ParseMediaType(value)
	switch {
	case strings.HasPrefix(strings.ToLower(value), "multipart/"):
		b := params["boundary"]
		if err != nil || b == "" || len(b) > 1000 {
			return opaque, frame{}, errType
		}
		return multipart, frame{b, name == "multipart/digest"}, nil
	case name == "message/rfc822", name == "message/global":
		return message, frame{}, nil
	case name == "message/partial", name == "message/external-body":
		return fixed, frame{}, nil
	case strings.HasPrefix(name, "text/"), strings.HasPrefix(name, "message/"):
		return text, frame{}, nil
	}
	return opaque, frame{}, nil
}

// begin starts the header of the next part.
func (w *walker) begin(root bool, deflt content) error {
	if len(w.parts) == maxParts {
		return errParts
	}
	w.part, w.deflt, w.state = part{root: root}, deflt, field
	w.into, w.inCTE = nil, false
	w.ctype, w.coded = w.ctype[:0], w.coded[:0]
	return nil
}

// matches returns which open multipart the line is a boundary of, the innermost first; -1 if none.
func (w *walker) matches(line []byte) int {
	if len(w.open) == 0 || len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return -1
	}
	for i := len(w.open) - 1; i >= 0; i-- {
		if rest, ok := bytes.CutPrefix(line[2:], []byte(w.open[i].boundary)); ok {
			rest = bytes.TrimRight(rest, " \t\r\n")
			if len(rest) == 0 || string(rest) == "--" {
				return i
			}
		}
	}
	return -1
}

// delimit follows a boundary line: the next part, or the end of a multipart.
func (w *walker) delimit(line []byte) error {
	i := w.matches(line)
	if i < 0 {
		return nil
	}
	rest := bytes.TrimRight(line[2+len(w.open[i].boundary):], " \t\r\n")
	if len(rest) > 0 {
		w.open = w.open[:i]
		w.state = pad
		return nil
	}
	w.open = w.open[:i+1]
	if w.open[i].digest {
		return w.begin(false, message)
	}
	return w.begin(false, text)
}
