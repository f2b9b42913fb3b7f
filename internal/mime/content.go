package mime

import (
	"encoding/base64"
	"io"
	"mime/quotedprintable"
)

// Content returns a reader of a part's content with its transfer encoding removed. It
// reads what the world sends: in base64 everything outside the alphabet is passed over and a missing end is
// forgiven; unknown encodings are read as they are.
func Content(encoding string, body io.Reader) io.Reader {
	switch encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, &base64Filter{r: body})
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}

// base64Filter passes on the characters of the alphabet up to the first padding, then what
// padding is due.
type base64Filter struct {
	r     io.Reader
	n     int // characters passed on
	ended bool
}

func (f *base64Filter) Read(p []byte) (int, error) {
	for !f.ended {
		n, err := f.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if c == '=' {
				f.ended = true
				break
			}
			if isBase64(c) {
				p[kept] = c
				kept++
			}
		}
		f.n += kept
		if err == io.EOF {
			f.ended, err = true, nil
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	switch f.n % 4 {
	case 0:
		return 0, io.EOF
	case 1: // one character is no byte: as zero bits it makes one with the next
		p[0] = 'A'
	default:
		p[0] = '='
	}
	f.n++
	return 1, nil
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}
