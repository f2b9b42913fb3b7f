// Package queuedir reads a qmail queue as it lies on disk (qmail reference 6): which messages
// wait, for whom, since when, and what has failed already. It reads through a tree of files
// and changes nothing.
//
// A message's files belong together by their name, whatever that is: qmail wants it to be an
// inode's number and the folder to be that number's remainder, which a queue copied by tar no
// longer has. Here neither matters.
package queuedir

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

// Queue is the files of a queue by message number.
type Queue struct {
	// Faults are files that are no part of a queue, and folders that cannot be read.
	Faults []*qmail.Fault

	root                                            fs.FS
	mess, info, local, remote, bounce, todo, unmade map[uint64]string
}

// Message is a message of a queue.
type Message struct {
	Number uint64
	Path   string // of its content, in the queue
	Size   int64  // of its content, in bytes
	// Birth is when it came: the time of info, which the schedule counts from, or that of todo.
	Birth  time.Time
	New    bool   // not preprocessed yet: recipients are as they came, on no channel
	Sender string // "" for a bounce, "#@[]" for a double bounce
	// Recipients in the order of the files: those of local, then those of remote.
	Recipients []Recipient
	// Failures are recipients that were given up, of whom the sender was not told yet.
	Failures []Failure
}

// Recipient is one recipient.
type Recipient struct {
	Address string // of the channel local with what virtualdomains put in front
	Local   bool   // on the channel local
	Done    bool   // delivered, or given up
}

// Failure is a paragraph of bounce/N.
type Failure struct{ Address, Text string }

// Bounds on what is read of a file, in bytes. A message may have very many recipients.
const (
	maxSender   = 1 << 20
	maxChannel  = 256 << 20
	maxFailures = 16 << 20
)

// Scan lists the files of the queue at root. The error is about the queue as a whole: no
// folder mess there.
func Scan(root fs.FS) (*Queue, error) {
	if info, err := fs.Stat(root, "mess"); err != nil || !info.IsDir() {
		return nil, errors.New("there is no folder mess in it: this is no qmail queue")
	}
	q := &Queue{root: root}
	for name, to := range map[string]*map[uint64]string{
		"mess": &q.mess, "info": &q.info, "local": &q.local, "remote": &q.remote, "bounce": &q.bounce, "todo": &q.todo, "intd": &q.unmade,
	} {
		*to = map[uint64]string{}
		q.folder(name, 0, *to)
	}
	slices.SortFunc(q.Faults, func(a, b *qmail.Fault) int { return cmp.Compare(a.File, b.File) })
	return q, nil
}

func (q *Queue) fault(file, format string, args ...any) {
	q.Faults = append(q.Faults, &qmail.Fault{Place: qmail.Place{File: file}, Text: fmt.Sprintf(format, args...)})
}

// folder lists the files of a folder and of the folders one below, into which it may be split.
func (q *Queue) folder(dir string, depth int, to map[uint64]string) {
	entries, err := fs.ReadDir(q.root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		q.fault(dir, "the folder cannot be read: %s", cause(err))
	}
	for _, e := range entries {
		file := dir + "/" + e.Name()
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		switch {
		case err != nil:
			q.fault(file, "the name is no number: it belongs to no message")
		case e.IsDir() && depth == 0:
			q.folder(file, 1, to)
		case !e.Type().IsRegular():
			q.fault(file, "no regular file: it belongs to no message")
		case to[n] != "":
			q.fault(file, "there is %s too: the first counts", to[n])
		default:
			to[n] = file
		}
	}
}

// cause leaves the path out, which the fault names already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// Numbers returns the numbers of all messages that any file speaks of, in order.
func (q *Queue) Numbers() []uint64 {
	all := map[uint64]bool{}
	for _, m := range []map[uint64]string{q.mess, q.info, q.local, q.remote, q.bounce, q.todo, q.unmade} {
		for n := range m {
			all[n] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// ErrUnmade: the files are what an injection left that never ended. Nothing was promised of
// such a message, and qmail removes it after 36 hours.
var ErrUnmade = errors.New("its injection never ended: qmail promised nothing of it")

// Message reads a message. The error wraps ErrUnmade, or is a *qmail.Fault about the file that
// keeps it from being known as a whole; a message with a fault is none.
func (q *Queue) Message(n uint64) (*Message, error) {
	content, ok := q.mess[n]
	if !ok {
		for _, m := range []map[uint64]string{q.todo, q.info, q.local, q.remote, q.bounce} {
			if file := m[n]; file != "" {
				return nil, &qmail.Fault{Place: qmail.Place{File: file}, Text: fmt.Sprintf("the message's content, mess/%d, is missing", n)}
			}
		}
		return nil, ErrUnmade
	}
	st, err := fs.Stat(q.root, content)
	if err != nil {
		return nil, &qmail.Fault{Place: qmail.Place{File: content}, Text: cause(err)}
	}
	m := &Message{Number: n, Path: content, Size: st.Size()}
	switch {
	case q.todo[n] != "": // while todo stands, info, local and remote are of no account
		err = q.readNew(m)
	case q.info[n] != "":
		err = q.readOld(m)
	default:
		return nil, ErrUnmade
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Open opens a message's content. The error is the file's.
func (q *Queue) Open(m *Message) (fs.File, error) { return q.root.Open(m.Path) }

// read returns a file's content and time.
func (q *Queue) read(file string, most int64) ([]byte, time.Time, error) {
	f, err := q.root.Open(file)
	if err != nil {
		return nil, time.Time{}, &qmail.Fault{Place: qmail.Place{File: file}, Text: cause(err)}
	}
	defer f.Close()
	st, err := f.Stat()
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, most+1))
	}
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	if err != nil {
		return nil, time.Time{}, &qmail.Fault{Place: qmail.Place{File: file}, Text: cause(err)}
	}
	return data, st.ModTime(), nil
}

// records yields a file's records, each ended by a NUL.
func records(file string, data []byte, each func(kind byte, text string) error) error {
	for rest := string(data); rest != ""; {
		text, after, ended := strings.Cut(rest, "\x00")
		rest = after
		if !ended {
			return &qmail.Fault{Place: qmail.Place{File: file}, Text: fmt.Sprintf("the last record, %.80q, has no end: the file was cut off", text)}
		}
		if text == "" {
			return &qmail.Fault{Place: qmail.Place{File: file}, Text: "an empty record, want a letter and an address"}
		}
		if err := each(text[0], text[1:]); err != nil {
			return err
		}
	}
	return nil
}

func strange(file string, kind byte, want string) error {
	return &qmail.Fault{Place: qmail.Place{File: file}, Text: fmt.Sprintf("unknown record type %q, want %s", kind, want)}
}

// readNew reads todo: the envelope as it came.
func (q *Queue) readNew(m *Message) error {
	file := q.todo[m.Number]
	data, at, err := q.read(file, maxChannel)
	if err != nil {
		return err
	}
	m.New, m.Birth = true, at
	from := false
	err = records(file, data, func(kind byte, text string) error {
		switch kind {
		case 'u', 'p':
		case 'F':
			m.Sender, from = text, true
		case 'T':
			m.Recipients = append(m.Recipients, Recipient{Address: text})
		default:
			return strange(file, kind, "u, p, F or T")
		}
		return nil
	})
	if err == nil && !from {
		err = &qmail.Fault{Place: qmail.Place{File: file}, Text: "no sender, want a record F"}
	}
	return err
}

// readOld reads info, local, remote and bounce.
func (q *Queue) readOld(m *Message) error {
	file := q.info[m.Number]
	data, at, err := q.read(file, maxSender)
	if err != nil {
		return err
	}
	m.Birth = at
	if len(data) < 2 || data[0] != 'F' || data[len(data)-1] != 0 {
		return &qmail.Fault{Place: qmail.Place{File: file}, Text: fmt.Sprintf("%.80q, want F, the sender and a NUL", data)}
	}
	m.Sender, _, _ = strings.Cut(string(data[1:]), "\x00")
	for _, c := range []struct {
		file  string
		local bool
	}{{q.local[m.Number], true}, {q.remote[m.Number], false}} {
		if c.file == "" {
			continue
		}
		data, _, err := q.read(c.file, maxChannel)
		if err != nil {
			return err
		}
		err = records(c.file, data, func(kind byte, text string) error {
			if kind != 'T' && kind != 'D' {
				return strange(c.file, kind, "T or D")
			}
			m.Recipients = append(m.Recipients, Recipient{text, c.local, kind == 'D'})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if file := q.bounce[m.Number]; file != "" {
		data, _, err := q.read(file, maxFailures)
		if err != nil {
			return err
		}
		m.Failures = ParseFailures(data)
	}
	return nil
}

// ParseFailures reads the text of bounce/N: paragraphs of "<address>:" and what was said of it
// (qmail reference 7.5). Text before the first is left out.
func ParseFailures(data []byte) []Failure {
	var out []Failure
	for p := range strings.SplitSeq(string(data), "\n\n") {
		head, text, _ := strings.Cut(strings.Trim(p, "\n"), "\n")
		address, ok := strings.CutSuffix(head, ">:")
		if address, is := strings.CutPrefix(address, "<"); ok && is {
			out = append(out, Failure{address, text})
			continue
		}
		if len(out) > 0 && p != "" { // what a careless program wrote between
			out[len(out)-1].Text += "\n" + strings.Trim(p, "\n")
		}
	}
	return out
}
