package analog

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// totals are zoverall's sums.
type totals struct {
	messages, recips, tries, bytes, weighted, qtime float64
	attempts, done, failed, ddelay, xdelay          float64
	first, last                                     float64
	seen                                            bool
}

func (t *totals) span(from, to float64) {
	if !t.seen || from < t.first {
		t.first = from
	}
	if !t.seen || to > t.last {
		t.last = to
	}
	t.seen = true
}

func (t *totals) add(r *Record) {
	switch r.Kind {
	case 0:
		return
	case 'm':
		t.messages++
		t.bytes += r.Bytes
		t.weighted += r.Bytes * r.Done
		t.qtime += r.End - r.Birth
		t.recips += r.Done + r.Failed
		t.tries += r.Done + r.Failed + r.Deferred
		t.span(r.Birth, r.End)
		return
	case 'k':
		t.done++
		t.ddelay += r.End - r.Birth
	case 'd':
		t.failed++
	}
	t.attempts++
	t.xdelay += r.delay()
	t.span(r.Birth, r.End)
}

const overallLegend = `Basic statistics

qtime is the time spent by a message in the queue.

ddelay is the latency for a successful delivery to one recipient---the
end of successful delivery, minus the time when the message was queued.

xdelay is the latency for a delivery attempt---the time when the attempt
finished, minus the time when it started. The average concurrency is the
total xdelay for all deliveries divided by the time span; this is a good
measure of how busy the mailer is.

`

// figure is one line of zoverall's. Without a name it is an empty line.
type figure struct{ name, value string }

func (t *totals) figures() []figure {
	f := []figure{{"Completed messages", num(t.messages)}}
	if t.messages > 0 {
		f = append(f, figure{"Recipients for completed messages", num(t.recips)},
			figure{"Total delivery attempts for completed messages", num(t.tries)},
			figure{"Average delivery attempts per completed message", num(t.tries / t.messages)},
			figure{"Bytes in completed messages", num(t.bytes)},
			figure{"Bytes weighted by success", num(t.weighted)},
			figure{"Average message qtime (s)", num(t.qtime / t.messages)})
	}
	f = append(f, figure{}, figure{"Total delivery attempts", num(t.attempts)})
	if t.attempts == 0 {
		return f
	}
	f = append(f, figure{"  success", num(t.done)}, figure{"  failure", num(t.failed)}, figure{"  deferral", num(t.attempts - t.done - t.failed)},
		figure{"Total ddelay (s)", fixed(t.ddelay, 6)})
	if t.done > 0 {
		f = append(f, figure{"Average ddelay per success (s)", fixed(t.ddelay/t.done, 6)})
	}
	f = append(f, figure{"Total xdelay (s)", fixed(t.xdelay, 6)}, figure{"Average xdelay per delivery attempt (s)", fixed(t.xdelay/t.attempts, 6)})
	if t.last > t.first {
		f = append(f, figure{"Time span (days)", num((t.last - t.first) / 86400)}, figure{"Average concurrency", num(t.xdelay / (t.last - t.first))})
	}
	return f
}

// overall is zoverall.
func overall(in *records, w *bufio.Writer) error {
	var t totals
	if err := in.each(t.add); err != nil {
		return err
	}
	w.WriteString(overallLegend)
	for _, f := range t.figures() {
		if f.name != "" {
			w.WriteString(f.name + ": " + f.value)
		}
		w.WriteString("\n")
	}
	return nil
}

// sendmail is zsendmail: the records as sendmail would have logged them. Other lines pass.
func sendmail(in *records, w *bufio.Writer) error {
	status := map[byte]string{'k': "Sent", 'd': "Failed", 'z': "Deferred"}
	return in.each(func(r *Record) {
		switch r.Kind {
		case 0:
			w.WriteString(r.Raw + "\n")
		case 'm':
			fmt.Fprintf(w, "%s qp %s: from=%s, uid=%s, size=%s, nrcpts=%s, deferrals=%s, qtime=%s\n",
				r.Ended, r.QP, r.Sender, r.UID, num(r.Bytes), num(r.Done+r.Failed), num(r.Deferred), fixed(r.End-r.Birth, 6))
		default:
			fmt.Fprintf(w, "%s qp %s: to=%s, uid=%s, ddelay=%s, xdelay=%s, stat=%s (%s)\n",
				r.Ended, r.QP, r.To, r.UID, fixed(r.End-r.Birth, 6), fixed(r.delay(), 6), status[r.Kind], r.Reason)
		}
	})
}

// Filter chooses lines of matchup's output; the zero Filter chooses every record.
type Filter struct {
	QP        string
	Sender    string // with its brackets
	Recipient string // local.address or remote.address: deliveries alone
}

// Copy writes the lines that the filter chooses.
func (f Filter) Copy(in io.Reader, out io.Writer) error {
	src := &records{bufio.NewReaderSize(in, maxLine)}
	w := bufio.NewWriter(out)
	err := src.each(func(r *Record) {
		switch {
		case r.Kind == 0,
			f.QP != "" && r.QP != f.QP,
			f.Sender != "" && r.Sender != f.Sender,
			f.Recipient != "" && r.To != f.Recipient:
			return
		}
		w.WriteString(r.Raw + "\n")
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

// Bracketed returns an address as senders stand in records, whether or not it has its brackets.
func Bracketed(address string) string {
	if strings.HasPrefix(address, "<") && strings.HasSuffix(address, ">") {
		return address
	}
	return "<" + address + ">"
}
