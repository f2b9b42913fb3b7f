package analog

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// message is one whose "info msg" line was seen and whose "end msg" was not.
type message struct {
	number, bytes, qp, uid uint64
	birth, sender          string
	done, failed, deferred uint64
}

// delivery is one under way.
type delivery struct {
	number, message      uint64
	start, channel, rcpt string
}

// set keeps entries by number, in an order that changes as matchup's does when one goes: the last
// takes its place. So the list of what is pending is the same.
type set[T any] struct {
	list  []T
	index map[uint64]int
}

func (s *set[T]) find(n uint64) *T {
	if i, ok := s.index[n]; ok {
		return &s.list[i]
	}
	return nil
}

// put replaces the entry of a number, or adds it.
func (s *set[T]) put(n uint64, v T) {
	if p := s.find(n); p != nil {
		*p = v
		return
	}
	if s.index == nil {
		s.index = map[uint64]int{}
	}
	s.index[n] = len(s.list)
	s.list = append(s.list, v)
}

// drop removes a number; key returns an entry's.
func (s *set[T]) drop(n uint64, key func(*T) uint64) {
	i, ok := s.index[n]
	if !ok {
		return
	}
	last := len(s.list) - 1
	s.list[i] = s.list[last]
	s.index[key(&s.list[i])] = i
	delete(s.index, n)
	s.list = s.list[:last]
}

func messageKey(m *message) uint64   { return m.number }
func deliveryKey(d *delivery) uint64 { return d.number }

// matcher is one run of matchup.
type matcher struct {
	out  *bufio.Writer
	msgs set[message]
	dels set[delivery]
}

// Matchup reads a log and writes one line a completed message and one a finished delivery:
//
//	m birth done bytes nk nd nz <sender> qp uid
//	d k|d|z birth start end bytes <sender> chan.recip qp uid reason
//
// pending gets the lines that a further run on the log's continuation needs before it (qmail
// reference 20.1). Addresses are lowered. Memory grows with the messages in the queue. Errors are of reading and
// writing.
func Matchup(in *Lines, out, pending io.Writer) error {
	m := &matcher{out: bufio.NewWriterSize(out, 64<<10)}
	rest := ""
	for {
		l, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if l.Partial { // its end comes with the log's continuation
			rest = l.Raw
			break
		}
		m.line(l)
	}
	if err := m.out.Flush(); err != nil {
		return err
	}
	if pending == nil {
		return nil
	}
	p := bufio.NewWriter(pending)
	m.pending(p)
	p.WriteString(rest)
	return p.Flush()
}

// words splits a line at blanks into its stamp and what follows; missing words are "".
func words(l Line) (w [13]string) {
	w[0] = l.Stamp
	rest := l.Text
	if l.Stamp == "" {
		w[0], rest = cut(rest)
	}
	for i := 1; i < len(w); i++ {
		w[i], rest = cut(rest)
	}
	return w
}

func cut(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t\x00")
	if i := strings.IndexAny(s, " \t\x00"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// number reads the digits at the start of a word.
func number(s string) (n uint64) {
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = n*10 + uint64(s[i]-'0')
	}
	return n
}

// clear forgets the deliveries under way: qmail-send was started or has ended.
func (m *matcher) clear() { m.dels = set[delivery]{} }

func (m *matcher) line(l Line) {
	w := words(l)
	switch w[1] {
	case "status:":
		if w[2] == "exiting" || w[2] == "running" {
			m.clear()
		}
	case "running", "exiting":
		m.clear()
	case "starting":
		d := delivery{number: number(w[3]), message: number(w[5]), start: w[0], channel: w[7], rcpt: qmail.Lower(w[8])}
		m.dels.put(d.number, d)
	case "delivery":
		m.delivery(w)
	case "new":
		m.msgs.drop(number(w[3]), messageKey)
	case "end":
		m.end(w)
	case "info":
		n := number(w[3])
		m.msgs.put(n, message{
			number: n, bytes: number(w[5]), qp: number(w[9]), uid: number(w[11]),
			birth: w[0], sender: qmail.Lower(w[7]),
		})
	case "extra":
		if msg := m.msgs.find(number(w[2])); msg != nil {
			msg.done, msg.deferred, msg.failed = number(w[3]), number(w[4]), number(w[5])
		}
	case "number", "local", "remote":
	case "warning:", "alert:":
		m.out.WriteString(stamped(l) + "\n")
	default:
		m.out.WriteString("? " + stamped(l) + "\n")
	}
}

// stamped returns a line with its stamp in decimal seconds.
func stamped(l Line) string {
	if l.Stamp == "" {
		return l.Raw
	}
	return l.Stamp + " " + l.Text
}

func (m *matcher) delivery(w [13]string) {
	d := m.dels.find(number(w[2]))
	if d == nil {
		return
	}
	msg := m.msgs.find(d.message)
	var counted message
	if msg == nil {
		msg = &counted
	}
	result, reason := "?", ""
	switch r := w[3]; {
	case strings.HasPrefix(r, "succ"):
		msg.done++
		result, reason = "d k ", w[4]
	case strings.HasPrefix(r, "fail"):
		msg.failed++
		result, reason = "d d ", w[4]
	case strings.HasPrefix(r, "defer"):
		msg.deferred++
		result, reason = "d z ", w[4]
	case strings.HasPrefix(r, "report"):
		msg.deferred++
		result, reason = "d z ", "report_mangled"
	}
	if msg == &counted {
		fmt.Fprintf(m.out, "%s%s %s %s 0 ? %s.%s ? ? %s\n", result, d.start, d.start, w[0], d.channel, d.rcpt, reason)
	} else {
		fmt.Fprintf(m.out, "%s%s %s %s %d %s %s.%s %d %d %s\n",
			result, msg.birth, d.start, w[0], msg.bytes, msg.sender, d.channel, d.rcpt, msg.qp, msg.uid, reason)
	}
	m.dels.drop(d.number, deliveryKey)
}

func (m *matcher) end(w [13]string) {
	n := number(w[3])
	msg := m.msgs.find(n)
	if msg == nil {
		return
	}
	fmt.Fprintf(m.out, "m %s %s %d %d %d %d %s %d %d\n",
		msg.birth, w[0], msg.bytes, msg.done, msg.failed, msg.deferred, msg.sender, msg.qp, msg.uid)
	m.msgs.drop(n, messageKey)
}

// pending writes what is unfinished as log lines.
func (m *matcher) pending(p *bufio.Writer) {
	for i := range m.msgs.list {
		msg := &m.msgs.list[i]
		fmt.Fprintf(p, "%s info msg %d: bytes %d from %s qp %d uid %d\n", msg.birth, msg.number, msg.bytes, msg.sender, msg.qp, msg.uid)
		fmt.Fprintf(p, "%s extra %d %d %d %d\n", msg.birth, msg.number, msg.done, msg.deferred, msg.failed)
	}
	for i := range m.dels.list {
		d := &m.dels.list[i]
		fmt.Fprintf(p, "%s starting delivery %d: msg %d to %s %s\n", d.start, d.number, d.message, d.channel, d.rcpt)
	}
}
