// Package analog reads the logs of qmail-send and makes reports of them, as qmailanalog does:
// matchup joins the lines of a message and of each delivery into one record, and the z-reports
// sum records up (qmail reference 20). It does no I/O but on the readers and writers given.
//
// Logs may carry any of the family's time stamps: decimal seconds (accustamp), TAI64N labels
// (multilog), syslog's own with or without splogger's behind it, or local time (tai64nlocal).
package analog

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

// maxLine bounds what is kept of a line in bytes: qmail-send's own are below 16 KiB.
const maxLine = 64 << 10

// Line is a line of a log.
type Line struct {
	Stamp string // decimal seconds since 1970, with or without a fraction; "" when there is none
	Text  string // what follows the stamp
	Raw   string // the whole line as it was, without its line feed
	// Partial marks a last line without a line feed: its writer may not have finished it.
	Partial bool
}

// Lines reads a log's lines.
type Lines struct {
	r *bufio.Reader
	// Now and Zone complete the stamps of syslog, which name no year and no zone. The zero Now
	// takes the year 1970, a nil Zone is UTC.
	Now  time.Time
	Zone *time.Location

	next *Line // read ahead
	err  error
}

// NewLines returns a reader of r's lines.
func NewLines(r io.Reader) *Lines {
	return &Lines{r: bufio.NewReaderSize(r, maxLine)}
}

// Next returns the next line, or io.EOF. What splogger cut into pieces is joined again.
func (l *Lines) Next() (Line, error) {
	line, err := l.take()
	if err != nil {
		return Line{}, err
	}
	for {
		more, err := l.take()
		if err != nil {
			l.err = err
			return line, nil
		}
		rest, isMore := strings.CutPrefix(more.Text, "+")
		if !isMore || more.Stamp != line.Stamp || more.Raw == more.Text || len(line.Text) > maxLine {
			l.next = &more
			return line, nil
		}
		line.Text += rest
		line.Partial = more.Partial
	}
}

// take returns a line of the log as it stands there.
func (l *Lines) take() (Line, error) {
	if l.next != nil {
		line := *l.next
		l.next = nil
		return line, nil
	}
	if l.err != nil {
		return Line{}, l.err
	}
	raw, whole, err := l.read()
	if err != nil {
		return Line{}, err
	}
	line := Line{Raw: raw, Partial: !whole}
	line.Stamp, line.Text = l.stamp(raw)
	return line, nil
}

// read returns a line without its line feed, cut at maxLine.
func (l *Lines) read() (line string, whole bool, err error) {
	part, err := l.r.ReadSlice('\n')
	line = string(part)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = l.r.ReadSlice('\n')
	}
	if err != nil && (err != io.EOF || line == "") {
		return "", false, err
	}
	return strings.TrimSuffix(line, "\n"), err == nil, nil
}

// stamp splits a line into its time and the text behind.
func (l *Lines) stamp(s string) (stamp, text string) {
	if t, rest, err := qmail.ParseTAI64N(s); err == nil {
		return seconds(t), strings.TrimPrefix(rest, " ")
	}
	if stamp, rest, ok := decimal(s); ok {
		return stamp, rest
	}
	const local = "2006-01-02 15:04:05"
	if len(s) > len(local) && s[4] == '-' && s[10] == ' ' {
		first, rest, _ := strings.Cut(s[len(local):], " ")
		if t, err := time.ParseInLocation(local, s[:len(local)]+first, l.zone()); err == nil {
			return seconds(t), rest
		}
	}
	t, rest, ok := l.Syslog(s)
	if !ok {
		return "", s
	}
	// host tag: text, and within the text splogger's own stamp.
	_, rest, _ = strings.Cut(rest, " ")
	tag, text, ok := strings.Cut(rest, ": ")
	if !ok || strings.ContainsAny(tag, " \t") {
		text = rest
	}
	if stamp, rest, ok := decimal(text); ok && strings.Contains(stamp, ".") {
		return stamp, rest
	}
	return seconds(t), text
}

func (l *Lines) zone() *time.Location {
	if l.Zone == nil {
		return time.UTC
	}
	return l.Zone
}

// decimal cuts a stamp of decimal seconds off; behind it is a blank, or the "+" of a piece of a
// line, which stays.
func decimal(s string) (stamp, rest string, ok bool) {
	i := digits(s)
	if i == 0 || i > 20 {
		return "", s, false
	}
	if i < len(s) && s[i] == '.' {
		i += 1 + digits(s[i+1:])
	}
	if i == len(s) || (s[i] != ' ' && s[i] != '\t' && s[i] != '+') {
		return "", s, false
	}
	if s[i] == '+' {
		return s[:i], s[i:], true
	}
	return s[:i], s[i+1:], true
}

func digits(s string) int {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// seconds returns t as decimal seconds: nine digits of a fraction, none when it is zero.
func seconds(t time.Time) string {
	s := strconv.FormatInt(t.Unix(), 10)
	if n := t.Nanosecond(); n != 0 {
		s += "." + strconv.Itoa(1e9 + n)[1:]
	}
	return s
}

// Syslog cuts syslog's time off a line: "Nov  2 19:33:42 " in local time without a year, or RFC
// 3339. A time without a year is the last such one that is not after tomorrow.
func (l *Lines) Syslog(s string) (t time.Time, rest string, ok bool) {
	const old = "Jan _2 15:04:05"
	if len(s) > len(old) && s[len(old)] == ' ' && s[3] == ' ' {
		year := max(l.Now.Year(), 1970)
		// The year belongs to the parsing: only with it is 29 February a day.
		for range 5 {
			t, err := time.ParseInLocation("2006 "+old, strconv.Itoa(year)+" "+s[:len(old)], l.zone())
			if err == nil && (l.Now.IsZero() || !t.After(l.Now.AddDate(0, 0, 1))) {
				return t, s[len(old)+1:], true
			}
			year--
		}
		return t, s, false
	}
	first, rest, found := strings.Cut(s, " ")
	if !found || len(first) < len("2006-01-02T15:04:05Z") {
		return t, s, false
	}
	t, err := time.Parse(time.RFC3339Nano, first)
	return t, rest, err == nil
}
