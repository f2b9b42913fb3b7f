package analog

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

// Forms returns the forms of logs that Match reads.
func Forms() []string { return []string{"qmail", "sendmail", "postfix"} }

// Match writes matchup's records from a log of the form given. What is unfinished is left out. The error is an
// unknown form, or of reading and writing; lines that say nothing are passed over.
func Match(form string, in *Lines, out io.Writer) error {
	switch form {
	case "qmail":
		return Matchup(in, out, nil)
	case "sendmail", "postfix":
		m := &maillog{w: bufio.NewWriterSize(out, 64<<10), postfix: form == "postfix", jobs: map[string]*job{}}
		return m.run(in)
	}
	return fmt.Errorf("form %q: want qmail, sendmail or postfix", form)
}

// job is a message of sendmail's or Postfix's log, by its queue id.
type job struct {
	birth                  float64
	bytes                  string
	sender                 string
	wanted                 float64 // recipients that the log says it has
	done, failed, deferred float64
	last                   string // the stamp of the last delivery
}

// maxJobs bounds the messages that are kept: logs of sendmail do not always say that one is done.
const maxJobs = 1 << 20

// maillog turns syslog's lines of sendmail and Postfix into records. They are stamped in
// seconds; delays come from the lines' own words.
type maillog struct {
	w       *bufio.Writer
	postfix bool
	jobs    map[string]*job
}

func (m *maillog) run(in *Lines) error {
	for {
		l, err := in.take()
		if err == io.EOF {
			return m.w.Flush()
		}
		if err != nil {
			return err
		}
		t, rest, ok := in.Syslog(l.Raw)
		if !ok {
			continue
		}
		_, rest, _ = strings.Cut(rest, " ") // host
		tag, text, ok := strings.Cut(rest, ": ")
		if !ok {
			continue
		}
		id, text, ok := strings.Cut(text, ": ")
		if !ok || strings.ContainsAny(id, " \t=") {
			continue
		}
		m.entry(t, tag, id, text)
	}
}

// fields reads "from=<a>, size=12, stat=Sent (a, b)": a value ends before ", " and a further name.
func fields(text string) map[string]string {
	out := map[string]string{}
	name := ""
	for part := range strings.SplitSeq(text, ", ") {
		k, v, ok := strings.Cut(part, "=")
		if ok && k != "" && strings.IndexFunc(k, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) < 0 && name != "stat" && name != "status" {
			name = k
			out[name] = v
		} else if name != "" {
			out[name] += ", " + part
		}
	}
	return out
}

func (m *maillog) job(id string) *job {
	j := m.jobs[id]
	if j == nil {
		if len(m.jobs) >= maxJobs {
			clear(m.jobs)
		}
		j = &job{bytes: "0", sender: "?"}
		m.jobs[id] = j
	}
	return j
}

func (m *maillog) entry(t time.Time, tag, id, text string) {
	f := fields(text)
	stamp := seconds(t)
	switch to, isDelivery := f["to"]; {
	case isDelivery && (f["stat"] != "" || f["status"] != ""):
		m.delivery(t, tag, id, to, f)
	case f["from"] != "" && f["size"] != "":
		j := m.job(id)
		if j.birth == 0 {
			j.birth = float64(t.Unix())
		}
		j.sender, j.bytes = bracketed(f["from"]), digitsOf(f["size"])
		n, _, _ := strings.Cut(f["nrcpt"]+f["nrcpts"], " ")
		j.wanted = float(n)
	case m.postfix && text == "removed":
		if j := m.jobs[id]; j != nil {
			m.end(id, j, stamp)
		}
	}
}

// delivery writes the record of one attempt for one or, with sendmail, several recipients.
func (m *maillog) delivery(t time.Time, tag, id, to string, f map[string]string) {
	j := m.job(id)
	delay, xdelay := spent(f["delay"]), spent(f["xdelay"])
	if parts := strings.Split(f["delays"], "/"); m.postfix && len(parts) == 4 {
		xdelay = float(parts[2]) + float(parts[3]) // connecting and sending
	}
	end := float64(t.Unix())
	if j.birth == 0 || (delay > 0 && end-delay < j.birth) {
		j.birth = end - delay
	}
	kind, reason := outcome(f["stat"] + f["status"])
	if kind == 0 {
		return
	}
	channel := "remote"
	if m.postfix {
		if program := tag[strings.LastIndexByte(tag, '/')+1:]; !strings.HasPrefix(program, "smtp") && !strings.HasPrefix(program, "lmtp") && !strings.HasPrefix(program, "error") {
			channel = "local"
		}
	} else if mailer := f["mailer"]; mailer == "local" || mailer == "prog" || mailer == "*file*" {
		channel = "local"
	}
	for rcpt := range strings.SplitSeq(to, ",") {
		rcpt = strings.Trim(rcpt, "<> ")
		switch kind {
		case 'k':
			j.done++
		case 'd':
			j.failed++
		case 'z':
			j.deferred++
		}
		fmt.Fprintf(m.w, "d %c %s %s %s %s %s %s.%s %s 0 %s\n", kind, decimals(j.birth), decimals(end-xdelay), decimals(end),
			j.bytes, j.sender, channel, word(qmail.Lower(rcpt)), word(id), reason)
	}
	j.last = seconds(t)
	if !m.postfix && j.wanted > 0 && j.done+j.failed >= j.wanted {
		m.end(id, j, j.last)
	}
}

func (m *maillog) end(id string, j *job, stamp string) {
	fmt.Fprintf(m.w, "m %s %s %s %s %s %s %s %s 0\n", decimals(j.birth), stamp, j.bytes, num(j.done), num(j.failed), num(j.deferred), j.sender, word(id))
	delete(m.jobs, id)
}

// outcome reads stat= or status= and its text.
func outcome(s string) (kind byte, reason string) {
	lower := strings.ToLower(s)
	switch {
	case strings.HasPrefix(lower, "sent"):
		kind = 'k'
	case strings.HasPrefix(lower, "deferred"):
		kind = 'z'
	case strings.HasPrefix(lower, "queued"):
		return 0, ""
	default:
		kind = 'd'
	}
	return kind, string(qmail.AppendLogSafe(nil, s))
}

// spent reads a delay: seconds with or without a fraction, or [D+]HH:MM:SS.
func spent(s string) float64 {
	days, rest, ok := strings.Cut(s, "+")
	if !ok {
		days, rest = "0", s
	}
	parts := strings.Split(rest, ":")
	if len(parts) != 3 {
		return float(s)
	}
	return float(days)*86400 + float(parts[0])*3600 + float(parts[1])*60 + float(parts[2])
}

func decimals(f float64) string { return strconv.FormatFloat(f, 'f', 6, 64) }

func bracketed(s string) string { return word(qmail.Lower(Bracketed(s))) }

// word makes s one word of a record.
func word(s string) string {
	if s == "" {
		return "?"
	}
	return string(qmail.AppendLogSafe(nil, s))
}

func digitsOf(s string) string {
	if n := digits(s); n > 0 {
		return s[:min(n, 18)]
	}
	return "0"
}
