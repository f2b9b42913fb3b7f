package smtp

import "bytes"

// Decoder turns a message's content from its wire form into lines that end with LF, in place
// and by chunks of any size. Only CRLF ends a line and only CRLF.CRLF ends DATA: a bare CR or LF
// is noted in Bare and never takes part in either. For those who take such content nonetheless
// a bare LF ends a line, though not for the dot behind it, and a bare CR becomes a space.
//
// The zero Decoder stands at the start of a message.
type Decoder struct {
	Bare bool // a bare CR or LF was met

	mid bool // within a line as dots see it
	cr  bool // of Chunk: the last byte was a CR
}

// Data decodes the content of DATA in p, which it overwrites. out is a part of p. n is how many
// bytes were taken; what is left, at most two bytes, must be given again with more behind it. done
// tells that CRLF.CRLF was reached: p[n:] are commands.
func (d *Decoder) Data(p []byte) (out []byte, n int, done bool) {
	w, r := 0, 0 // p[:w] is decoded but for bare CRs, p[r:] is to be read
	for r < len(p) && !done {
		if !d.mid && p[r] == '.' {
			// RFC 5321 4.5.2: a lone dot ends the content, any other first dot is dropped.
			rest := p[r:]
			if len(rest) == 1 || len(rest) == 2 && rest[1] == '\r' {
				break
			}
			if done = rest[1] == '\r' && rest[2] == '\n'; done {
				r += 3
				break
			}
			r++
			d.mid = true
		}
		i := bytes.IndexByte(p[r:], '\n')
		if i < 0 {
			line := p[r:]
			if line[len(line)-1] == '\r' {
				line = line[:len(line)-1]
			}
			d.mid = d.mid || len(line) > 0
			w += copy(p[w:], line)
			r += len(line)
			break
		}
		w = d.line(p, w, r, r+i)
		r += i + 1
	}
	d.blank(p[:w])
	return p[:w], r, done
}

// line moves the line p[r:end], of which p[end] is the LF, to p[w:] and returns where it ends there.
func (d *Decoder) line(p []byte, w, r, end int) int {
	bare := r == end || p[end-1] != '\r'
	if bare {
		d.Bare = true
	} else {
		end--
	}
	d.mid = bare
	w += copy(p[w:], p[r:end])
	p[w] = '\n'
	return w + 1
}

// blank replaces bare CRs: those at the ends of lines are gone.
func (d *Decoder) blank(lines []byte) {
	for i := bytes.IndexByte(lines, '\r'); i >= 0; i = bytes.IndexByte(lines, '\r') {
		d.Bare = true
		lines[i] = ' '
		lines = lines[i+1:]
	}
}

// Chunk decodes content of a BDAT chunk (RFC 3030), of which p is the next part, overwriting
// it. There are no dots to take off. When n is less than len(p), write out and call again with p[n:].
func (d *Decoder) Chunk(p []byte) (out []byte, n int) {
	if len(p) == 0 {
		return nil, 0
	}
	w, r := 0, 0
	if d.cr {
		d.cr = false
		if p[0] != '\n' {
			d.Bare = true
			return []byte{' '}, 0
		}
		w, r = 1, 1
	}
	for r < len(p) {
		i := bytes.IndexByte(p[r:], '\n')
		if i < 0 {
			line := p[r:]
			if line[len(line)-1] == '\r' {
				line = line[:len(line)-1]
				d.cr = true
			}
			w += copy(p[w:], line)
			r = len(p)
			break
		}
		w = d.line(p, w, r, r+i)
		r += i + 1
	}
	d.blank(p[:w])
	return p[:w], r
}

// End is called after the last chunk; a CR at its end was a bare one.
func (d *Decoder) End() {
	d.Bare = d.Bare || d.cr
}
