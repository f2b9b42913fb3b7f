package mess

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// ErrHeaderTooLong is ReadHeader's error at its bound.
var ErrHeaderTooLong = errors.New("the header is too long")

// ReadHeader reads a message's header as qmail-inject does (qmail reference 12.2): each field with its
// continuations and its last line end. A line "From ..." becomes a field MBOX-Line. The first
// line that is no field ends the header; body begins with it then, or behind the empty line. A header
// may have most bytes; its fields any length within. The error is ErrHeaderTooLong, or the reader's.
func ReadHeader(r *bufio.Reader, most int) (fields []string, body []byte, err error) {
	var field []byte
	size := 0
	end := func() {
		if len(field) > 0 {
			fields = append(fields, string(field))
			field = field[:0]
		}
	}
	for {
		line, err := readLine(r, most-size)
		size += len(line)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case len(line) == 0: // the message's end
			end()
			return fields, nil, nil
		case line[0] == '\n':
			end()
			return fields, nil, nil
		case (line[0] == ' ' || line[0] == '\t') && len(field) > 0:
			field = append(field, line...)
		case strings.HasPrefix(string(line[:min(len(line), 5)]), "From "):
			end()
			field = append(append(field, "MBOX-Line: "...), line...)
		case IsField(line):
			end()
			field = append(field, line...)
		default:
			end()
			return fields, line, nil
		}
	}
}

// readLine reads a line with its end; the last one of the message gets one. At the message's
// end it is empty.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		if len(line)+len(piece) > most {
			return nil, ErrHeaderTooLong
		}
		line = append(line, piece...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				line = append(line, '\n')
			}
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// IsField reports whether a line begins with a field name, of printable characters, and a colon.
func IsField(line []byte) bool {
	for i, c := range line {
		if c == ':' {
			return i > 0
		}
		if c <= ' ' || c >= 0x7f {
			// Blanks before the colon: RFC 822 writers had them.
			rest := strings.TrimLeft(string(line[i:min(len(line), i+64)]), " \t")
			return i > 0 && (c == ' ' || c == '\t') && strings.HasPrefix(rest, ":")
		}
	}
	return false
}

// Name returns a field's name in lower case, and what follows the colon.
func Name(field string) (name, value string) {
	n, value, _ := strings.Cut(field, ":")
	return lower(strings.TrimRight(n, " \t")), value
}

func lower(s string) string { return strings.ToLower(s) }
