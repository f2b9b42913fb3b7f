package pop3d

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/trace"
)

// box is the mailbox as it was at login: message numbers do not move during a session.
type box struct {
	path    string
	list    []maildir.Entry
	deleted []bool
	read    []bool // sent whole
	last    int    // the highest number accessed, for LAST
}

func newBox(path string, list []maildir.Entry) *box {
	return &box{path: path, list: list, deleted: make([]bool, len(list)), read: make([]bool, len(list))}
}

// total counts what is not deleted, with sizes as on the wire.
func (b *box) total() (n int, octets int64) {
	for i := range b.list {
		if !b.deleted[i] {
			n++
			octets += b.list[i].Wire
		}
	}
	return n, octets
}

// message finds a message by its number, or answers why there is none. i counts from 0.
func (s *state) message(number string) (i int, ok bool) {
	for k := range len(number) {
		if number[k] < '0' || number[k] > '9' {
			s.fail("", textBadNumber, quoted(number))
			return 0, false
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	switch {
	case number == "":
		s.fail("", textBadNumber, quoted(number))
	case err != nil || n == 0 || n > uint64(len(s.box.list)):
		s.fail("", textNoMessage, shorten(number), strconv.Itoa(len(s.box.list)))
	case s.box.deleted[n-1]:
		s.fail("", textIsDeleted, shorten(number))
	default:
		return int(n - 1), true
	}
	return 0, false
}

func shorten(digits string) string {
	if len(digits) > maxEcho {
		return digits[:maxEcho] + "..."
	}
	return digits
}

func (s *state) cmdStat() {
	n, octets := s.box.total()
	s.errors = 0
	s.put("+OK " + strconv.Itoa(n) + " " + strconv.FormatInt(octets, 10))
}

func (s *state) cmdList(arg string) bool {
	if arg != "" {
		return s.one(arg, func(e *maildir.Entry) string { return strconv.FormatInt(e.Wire, 10) })
	}
	n, octets := s.box.total()
	s.ok(textList, s.messages(n), strconv.FormatInt(octets, 10))
	var buf []byte
	s.each(func(i int, e *maildir.Entry) {
		buf = append(strconv.AppendInt(buf[:0], int64(i+1), 10), ' ')
		buf = strconv.AppendInt(buf, e.Wire, 10)
		_, _ = s.wire.w.Write(append(buf, "\r\n"...)) // as put
	})
	return true
}

func (s *state) cmdUIDL(arg string) bool {
	if arg != "" {
		return s.one(arg, func(e *maildir.Entry) string { return e.UIDL })
	}
	s.ok(textUIDL)
	var buf []byte
	s.each(func(i int, e *maildir.Entry) {
		buf = append(strconv.AppendInt(buf[:0], int64(i+1), 10), ' ')
		buf = append(buf, e.UIDL...)
		_, _ = s.wire.w.Write(append(buf, "\r\n"...)) // as put
	})
	return true
}

// one answers LIST and UIDL for one message.
func (s *state) one(number string, what func(*maildir.Entry) string) bool {
	if i, ok := s.message(number); ok {
		s.errors = 0
		s.put("+OK " + strconv.Itoa(i+1) + " " + what(&s.box.list[i]))
	}
	return true
}

// each sends a line per message that is not deleted, and the final dot.
func (s *state) each(line func(i int, e *maildir.Entry)) {
	for i := range s.box.list {
		if s.wire.dead {
			return
		}
		if !s.box.deleted[i] {
			line(i, &s.box.list[i])
		}
	}
	s.put(".")
}

func (s *state) cmdRetr(arg string) bool {
	if arg == "" || strings.Contains(arg, " ") {
		return false
	}
	if i, ok := s.message(arg); ok {
		s.send(i, -1)
	}
	return true
}

func (s *state) cmdTop(arg string) bool {
	number, count, ok := strings.Cut(arg, " ")
	lines, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
	if errors.Is(err, strconv.ErrRange) && lines > 0 {
		lines, err = math.MaxInt64, nil // more than any message has
	}
	if !ok || err != nil || lines < 0 {
		return false
	}
	if i, ok := s.message(number); ok {
		s.send(i, lines)
	}
	return true
}

// send sends a message whole, or its header and so many lines.
func (s *state) send(i int, lines int64) {
	e, number := &s.box.list[i], strconv.Itoa(i+1)
	f, err := s.mailboxes.Open(s.box.path, e)
	if errors.Is(err, fs.ErrNotExist) {
		s.fail("", textGone, number)
		return
	}
	if err != nil {
		s.fail("SYS/TEMP", textUnreadable, number)
		s.trouble(err)
		return
	}
	defer f.Close()
	if lines < 0 {
		s.ok(textOctets, strconv.FormatInt(e.Wire, 10))
	} else {
		s.ok(textTop)
	}
	if err := s.wire.content(f, lines); err != nil {
		// Half a message was sent: only the end of the connection tells the client so.
		s.over, s.how = true, "sending message "+number+" failed"
		if !s.wire.dead {
			s.trouble(err)
		}
		return
	}
	s.put(".")
	s.box.last = max(s.box.last, i+1)
	if lines >= 0 {
		return
	}
	s.box.read[i] = true
	s.count.retrieved++
	s.count.octets += e.Wire
	s.Recorder.Record(s.about(trace.Retrieved, e))
}

func (s *state) cmdDele(arg string) bool {
	if arg == "" {
		return false
	}
	if i, ok := s.message(arg); ok {
		s.box.deleted[i] = true
		s.box.last = max(s.box.last, i+1)
		s.ok(textDeleted, strconv.Itoa(i+1))
	}
	return true
}

func (s *state) cmdRset() {
	clear(s.box.deleted)
	s.box.last = 0
	n, octets := s.box.total()
	s.ok(textReset, s.messages(n), strconv.FormatInt(octets, 10))
}

// cmdLast is RFC 1460: the highest number accessed.
func (s *state) cmdLast() {
	s.errors = 0
	s.put("+OK " + strconv.Itoa(s.box.last))
}

// cmdQuit enters the update state: what was deleted goes, what was read gets the
// flag S, and the answer comes when that is durable. Nothing else moves from new/ to cur/.
func (s *state) cmdQuit() {
	s.over, s.how = true, "quit"
	if s.box == nil {
		s.ok(textBye)
		return
	}
	if s.hold.Lost() {
		s.how = "freed by the operator"
		s.fail("SYS/TEMP", textTaken)
		return
	}
	var c maildir.Change
	for i := range s.box.list {
		e := &s.box.list[i]
		switch {
		case s.box.deleted[i]:
			c.Remove = append(c.Remove, e)
		case s.box.read[i] && !e.Seen():
			c.Seen = append(c.Seen, e)
		}
	}
	removed, err := s.mailboxes.Apply(s.box.path, c)
	for _, e := range removed {
		s.Recorder.Record(s.about(trace.Expunged, e))
	}
	s.count.deleted = int64(len(removed))
	if err != nil {
		s.trouble(err)
	}
	s.release() // before the answer: a client may log in again at once
	if len(removed) < len(c.Remove) {
		s.how = "quit, not all deleted"
		s.fail("SYS/TEMP", textQuitFailed, strconv.Itoa(len(c.Remove)-len(removed)), strconv.Itoa(len(c.Remove)))
		return
	}
	s.ok(textByeDone, s.messages(len(removed)), strconv.Itoa(len(s.box.list)-len(removed)))
}

// event begins an event of this session.
func (s *state) event(kind trace.Kind) trace.Event {
	e := trace.Event{Time: s.Clock.Now(), Kind: kind, Role: "pop3", Session: s.conn.ID, Client: s.conn.Client.Addr().String()}
	if s.login != nil {
		e.Account, e.Tenant = s.login.Address, s.login.Account.Tenant
	}
	return e
}

// about begins an event that is about a message.
func (s *state) about(kind trace.Kind, m *maildir.Entry) trace.Event {
	e := s.event(kind)
	e.Message, e.Size, e.Text = m.MessageID(), m.Wire, m.Unique
	return e
}
