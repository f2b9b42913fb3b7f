package archive

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/mail"
)

// Write writes what an archive gets in place of a message: env is the message's envelope, form its
// recipient's Copy, body its content with LF line ends, host this server's name.
func Write(w io.Writer, form string, env *mail.Envelope, host string, now time.Time, body io.Reader) error {
	if names, ok := strings.CutPrefix(form, formHeader); ok {
		return writeFields(w, strings.Split(names, ","), body)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, body)
	if err != nil {
		return err
	}
	// Nothing of the message itself is in it: who has the message can show that it is the one.
	_, err = fmt.Fprintf(w, "Date: %s\nFrom: MAILER-DAEMON@%s\nSubject: digest of %s\nAuto-Submitted: auto-generated\n\nmessage %s\naccepted %s\nbytes %d\nsha256 %x\n",
		now.UTC().Format("2 Jan 2006 15:04:05 -0000"), host, env.ID, env.ID, env.Accepted.UTC().Format(time.RFC3339), n, sum.Sum(nil))
	return err
}

// writeFields writes the named fields of a header, with their continuation lines, as they stand.
func writeFields(w io.Writer, names []string, body io.Reader) error {
	in := bufio.NewReaderSize(body, 4096)
	start, keep := true, false
	for {
		piece, err := in.ReadSlice('\n')
		if start && len(piece) > 0 {
			if piece[0] == '\n' {
				break
			}
			if piece[0] != ' ' && piece[0] != '\t' {
				keep = named(string(piece), names)
			}
		}
		if keep {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		start = err == nil
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func named(line string, names []string) bool {
	name, _, ok := strings.Cut(line, ":")
	for _, n := range names {
		if ok && strings.EqualFold(strings.TrimRight(name, " \t"), n) {
			return true
		}
	}
	return false
}
