package local

import (
	"bytes"
	"io"

	"github.com/postilion/postilion/internal/reason"
)

// loopCheck looks for our own Delivered-To lines while the body passes through to
// the mailboxes (qmail reference 9.1 step 4): byte-exact, up to the first empty line.
// It keeps one line at most, and of that no more than the longest line looked for.
type loopCheck struct {
	wanted map[string]bool // Delivered-To lines without line end; true once seen
}

// verdict returns the refusal of a recipient whose line was there.
func (l *loopCheck) verdict(line string) error {
	if l.wanted[line] {
		return reason.MessageLoops
	}
	return nil
}

// watch returns the body with the check on its way.
func (l *loopCheck) watch(body io.ReadCloser) io.ReadCloser {
	w := &watched{ReadCloser: body, check: l}
	for line := range l.wanted {
		w.longest = max(w.longest, len(line))
	}
	return w
}

type watched struct {
	io.ReadCloser
	check   *loopCheck
	longest int
	line    []byte // the line so far, cut one byte past longest
	over    bool   // the header has ended
}

// Read passes the body on.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if !w.over {
		w.scan(p[:n])
	}
	return n, err
}

func (w *watched) scan(p []byte) {
	for len(p) > 0 && !w.over {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		if room := w.longest + 1 - len(w.line); room > 0 {
			w.line = append(w.line, line[:min(len(line), room)]...)
		}
		if ended {
			if seen, ok := w.check.wanted[string(w.line)]; ok && !seen {
				w.check.wanted[string(w.line)] = true
			}
			w.over = len(w.line) == 0
			w.line = w.line[:0]
		}
		p = rest
	}
}
