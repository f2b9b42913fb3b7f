package box

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/tools/tool"
)

// summaryLimit is how many bytes of subject and text the screen shows of a message.
const summaryLimit = 158

// maildirwatch clears the screen and lists $MAILDIR's new messages, every 30 seconds.
func maildirwatch(ctx context.Context, e *tool.Env) int {
	dir, code := enter(e)
	if code != tool.OK {
		return code
	}
	for {
		Clean(dir, e.Time())
		list, err := Scan(dir, e.Time(), "new")
		if err != nil {
			return e.Fatal(tool.Temporary, "unable to scan $MAILDIR/", failedPath(err), ": ", err)
		}
		out := bufio.NewWriter(e.Out())
		out.WriteString("\x1b[;H\x1b[;J")
		for _, m := range list {
			s, err := readSummary(dir + "/" + m.Name)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
				continue
			}
			if err != nil {
				return e.Fatal(tool.Temporary, "trouble reading new message")
			}
			s.write(out)
		}
		if err := out.Flush(); err != nil {
			return e.Fatal(tool.Temporary, "unable to write: ", err)
		}
		if err := e.Sleep(ctx, 30*time.Second); err != nil {
			return tool.OK
		}
	}
}

// summary is what the screen shows of a message.
type summary struct {
	sender, recipient, from string
	text                    []byte
}

func readSummary(name string) (*summary, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &summary{sender: "?", recipient: "?"}
	// Header fields and text beyond this are not looked at: a screen shows two lines.
	r := bufio.NewReaderSize(io.LimitReader(f, 64<<10), 64<<10)
	field := ""
	for len(s.text) < summaryLimit {
		line, err := r.ReadString('\n')
		if line == "\n" || (line == "" && err != nil) {
			s.field(field)
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			field += line
		} else {
			s.field(field)
			field = line
		}
		if err == io.EOF {
			s.field(field)
			break
		}
		if err != nil {
			return nil, err
		}
	}
	body := make([]byte, summaryLimit)
	n, err := io.ReadFull(r, body)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	s.add(body[:n])
	return s, nil
}

// field takes one field of the header.
func (s *summary) field(f string) {
	name, value, ok := strings.Cut(f, ":")
	if !ok {
		return
	}
	value = strings.TrimLeft(value, " \t\n")
	switch strings.ToLower(strings.TrimRight(name, " \t")) {
	case "subject":
		s.add([]byte(value))
	case "delivered-to":
		s.recipient = strings.TrimSuffix(value, "\n")
	case "return-path":
		s.sender = strings.TrimSuffix(value, "\n")
	case "from":
		s.from = strings.TrimSuffix(f, "\n")
	}
}

func (s *summary) add(text []byte) {
	s.text = append(s.text, text[:min(len(text), summaryLimit-len(s.text))]...)
}

// write shows the message; control bytes never reach the terminal.
func (s *summary) write(out *bufio.Writer) {
	out.WriteString("FROM " + tool.Masked(s.sender, '?') + " TO <" + tool.Masked(s.recipient, '?') + ">\n")
	if s.from != "" {
		out.WriteString("\x1b[1m" + tool.Masked(s.from, '/') + "\x1b[0m\n")
	}
	out.WriteString(tool.Masked(string(s.text), '/') + "\n\n")
}
