package analog

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Report is one of the z-reports.
type Report struct {
	Name string // without its z
	// Title is the report's first line; Legend follows it.
	Title, Legend string
	columns       []string
	// sum takes a record; rows returns the table at the end.
	begin func() summer
	// words writes the reasons' underscores as blanks.
	words bool
}

// summer sums records up into a table.
type summer interface {
	add(*Record)
	rows() [][]string
}

const (
	reasonLegend = "* del is the number of deliveries that ended for this reason.\n" +
		"* xdelay is the total xdelay on those deliveries.\n"
	recipientLegend = "* sbytes is the number of bytes successfully delivered to this %[1]s.\n" +
		"* mess is the number of messages sent to this %[1]s (success plus failure).\n" +
		"* tries is the number of delivery attempts (success, failure, deferral).\n" +
		"* xdelay is the total xdelay incurred by this %[1]s.\n"
	senderLegend = "* mess is the number of messages sent by this %[1]s.\n" +
		"* bytes is the number of bytes sent by this %[1]s.\n" +
		"* sbytes is the number of bytes successfully received from this %[1]s.\n" +
		"* rbytes is the number of bytes from this %[1]s, weighted by recipient.\n" +
		"* recips is the number of recipients (success plus failure).\n" +
		"* tries is the number of delivery attempts (success, failure, deferral).\n" +
		"* xdelay is the total xdelay incurred by this %[1]s.\n"
)

// Reports returns the reports that are tables, by name.
func Reports() []Report {
	reason := func(kind byte) func() summer {
		return func() summer { return &reasons{kind: kind, sums: map[string]*sum{}} }
	}
	recipient := func(key func(string) string) func() summer {
		return func() summer { return &recipients{key: key, sums: map[string]*sum{}} }
	}
	return []Report{
		{Name: "ddist", Title: "Distribution of ddelays for successful deliveries",
			Legend:  "Meaning of each line: The first pct% of successful deliveries\nall happened within doneby seconds. The average ddelay was avg.\n",
			columns: []string{"doneby", "avg", "pct"}, begin: func() summer { return &distribution{} }},
		{Name: "deferrals", Title: "Reasons for deferral", words: true,
			Legend:  "One line per reason for deferral. Information on each line:\n" + reasonLegend,
			columns: []string{"del", "xdelay", "reason"}, begin: reason('z')},
		{Name: "failures", Title: "Reasons for failure", words: true,
			Legend:  "One line per reason for delivery failure. Information on each line:\n" + reasonLegend,
			columns: []string{"del", "xdelay", "reason"}, begin: reason('d')},
		{Name: "recipients", Title: "Recipients",
			Legend:  "One line per recipient. Information on each line:\n" + fmt.Sprintf(recipientLegend, "recipient"),
			columns: []string{"sbytes", "mess", "tries", "xdelay", "recipient"}, begin: recipient(func(to string) string { return to })},
		{Name: "rhosts", Title: "Recipient hosts",
			Legend:  "One line per recipient host. Information on each line:\n" + fmt.Sprintf(recipientLegend, "host"),
			columns: []string{"sbytes", "mess", "tries", "xdelay", "host"}, begin: recipient(func(to string) string { return to[strings.LastIndexByte(to, '@')+1:] })},
		{Name: "rxdelay", Title: "Recipients in the best order for mailing lists",
			Legend: "One line per recipient, sorted by avg. Information on each line:\n" +
				"* avg is the _average_ xdelay for the recipient.\n" +
				"* tries is the number of deliveries that avg is based on.\n",
			columns: []string{"avg", "tries", "recipient"}, begin: func() summer {
				return &slowness{recipients{key: func(to string) string { return to }, sums: map[string]*sum{}}}
			}},
		{Name: "senders", Title: "Senders",
			Legend:  "One line per sender. Information on each line:\n" + fmt.Sprintf(senderLegend, "sender"),
			columns: []string{"mess", "bytes", "sbytes", "rbytes", "recips", "tries", "xdelay", "sender"},
			begin: func() summer {
				return &senders{key: func(r *Record) string { return r.UID + "/" + r.Sender }, sums: map[string]*sum{}}
			}},
		{Name: "successes", Title: "Reasons for success", words: true,
			Legend:  "One line per reason for successful delivery. Information on each line:\n" + reasonLegend,
			columns: []string{"del", "xdelay", "reason"}, begin: reason('k')},
		{Name: "suids", Title: "Sender uids",
			Legend:  "One line per sender uid. Information on each line:\n" + fmt.Sprintf(senderLegend, "uid"),
			columns: []string{"mess", "bytes", "sbytes", "rbytes", "recips", "tries", "xdelay", "uid"},
			begin:   func() summer { return &senders{key: func(r *Record) string { return r.UID }, sums: map[string]*sum{}} }},
	}
}

// Names returns the names that Write knows, sorted.
func Names() []string {
	names := []string{"overall", "sendmail"}
	for _, r := range Reports() {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

// Write reads matchup's output and writes the report of that name. It returns false when there
// is no such report.
func Write(name string, in io.Reader, out io.Writer) (known bool, err error) {
	src := &records{bufio.NewReaderSize(in, maxLine)}
	w := bufio.NewWriter(out)
	switch name {
	case "overall":
		err = overall(src, w)
	case "sendmail":
		err = sendmail(src, w)
	default:
		for _, r := range Reports() {
			if r.Name == name {
				if err := r.write(src, w); err != nil {
					return true, err
				}
				return true, w.Flush()
			}
		}
		return false, nil
	}
	if err == nil {
		err = w.Flush()
	}
	return true, err
}

// each calls f for every record.
func (r *records) each(f func(*Record)) error {
	for {
		rec, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		f(&rec)
	}
}

func (r *Report) write(in *records, w *bufio.Writer) error {
	s := r.begin()
	if err := in.each(s.add); err != nil {
		return err
	}
	w.WriteString(r.Title + "\n\n" + r.Legend + "\n")
	table := append([][]string{r.columns}, s.rows()...)
	text := columns(table)
	if r.words {
		text = strings.ReplaceAll(text, "_", " ")
	}
	w.WriteString(text)
	return nil
}

// columns aligns a table to the right, the last column left as it is, two spaces between.
func columns(table [][]string) string {
	last := len(table[0]) - 1
	width := make([]int, last)
	for _, row := range table {
		for i := range width {
			width[i] = max(width[i], len(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range table {
		for i, n := range width {
			fmt.Fprintf(&b, "%*s  ", n, row[i])
		}
		b.WriteString(row[last] + "\n")
	}
	return b.String()
}

// sum is what a row of a table sums up.
type sum struct {
	done, failed, deferred float64 // deliveries
	messages, bytes        float64
	sbytes, rbytes, xdelay float64
}

// at returns the sum of a key, made new when it is the first.
func at(m map[string]*sum, key string) *sum {
	s := m[key]
	if s == nil {
		s = &sum{}
		m[key] = s
	}
	return s
}

// sorted returns the keys in the order of bytes.
func sorted(m map[string]*sum) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// reasons is the table of one outcome's reasons.
type reasons struct {
	kind byte
	sums map[string]*sum
}

func (t *reasons) add(r *Record) {
	if r.Kind == t.kind {
		s := at(t.sums, r.Reason)
		s.done++
		s.xdelay += r.delay()
	}
}

func (t *reasons) rows() (rows [][]string) {
	for _, k := range sorted(t.sums) {
		s := t.sums[k]
		rows = append(rows, []string{num(s.done), fixed(s.xdelay, 2), k})
	}
	return rows
}

// recipients is the table of what was delivered to whom.
type recipients struct {
	key  func(to string) string
	sums map[string]*sum
}

func (t *recipients) add(r *Record) {
	if r.Kind == 0 || r.Kind == 'm' {
		return
	}
	s := at(t.sums, t.key(r.To))
	s.xdelay += r.delay()
	switch r.Kind {
	case 'k':
		s.sbytes += r.Bytes
		s.done++
	case 'd':
		s.failed++
	case 'z':
		s.deferred++
	}
}

func (t *recipients) rows() (rows [][]string) {
	for _, k := range sorted(t.sums) {
		s := t.sums[k]
		rows = append(rows, []string{num(s.sbytes), num(s.done + s.failed), num(s.done + s.failed + s.deferred), fixed(s.xdelay, 2), k})
	}
	return rows
}

// slowness orders recipients by how long an attempt takes.
type slowness struct{ recipients }

func (t *slowness) rows() (rows [][]string) {
	tries := func(s *sum) float64 { return s.done + s.failed + s.deferred }
	keys := sorted(t.sums)
	slices.SortStableFunc(keys, func(a, b string) int {
		x, y := t.sums[a], t.sums[b]
		return cmp.Compare(x.xdelay/tries(x), y.xdelay/tries(y))
	})
	for _, k := range keys {
		s := t.sums[k]
		rows = append(rows, []string{fixed(s.xdelay/tries(s), 2), num(tries(s)), k})
	}
	return rows
}

// senders is the table of who sent how much.
type senders struct {
	key  func(*Record) string
	sums map[string]*sum
}

func (t *senders) add(r *Record) {
	switch r.Kind {
	case 0:
	case 'm':
		s := at(t.sums, t.key(r))
		s.messages++
		s.done += r.Done
		s.failed += r.Failed
		s.deferred += r.Deferred
		s.bytes += r.Bytes
		s.sbytes += r.Bytes * r.Done
		s.rbytes += r.Bytes * (r.Done + r.Failed)
	default:
		at(t.sums, t.key(r)).xdelay += r.delay()
	}
}

func (t *senders) rows() (rows [][]string) {
	for _, k := range sorted(t.sums) {
		s := t.sums[k]
		if s.messages == 0 { // deliveries of messages that are not completed
			continue
		}
		rows = append(rows, []string{
			num(s.messages), num(s.bytes), num(s.sbytes), num(s.rbytes),
			num(s.done + s.failed), num(s.done + s.failed + s.deferred), fixed(s.xdelay, 6), k,
		})
	}
	return rows
}

// distribution is how soon deliveries succeeded.
type distribution struct{ delays []float64 }

func (t *distribution) add(r *Record) {
	if r.Kind == 'k' {
		t.delays = append(t.delays, r.End-r.Birth)
	}
}

// rows has a line for each percentage from 10 on that some delay completes: the first such
// delay, and the average of all deliveries up to that percentage.
func (t *distribution) rows() (rows [][]string) {
	slices.Sort(t.delays)
	n, total := len(t.delays), 0.0
	for i, d := range t.delays {
		total += d
		if i+1 < n && t.delays[i+1] == d {
			continue // equal delays are done together
		}
		done := i + 1
		row := []string{fixed(d, 2), fixed(total/float64(done), 2), strconv.Itoa(done * 100 / n)}
		switch last := len(rows) - 1; {
		case done*100/n < 10:
		case last >= 0 && rows[last][2] == row[2]:
			rows[last][1] = row[1]
		default:
			rows = append(rows, row)
		}
	}
	return rows
}

// num writes a number as awk prints it: whole ones in full, others with six digits.
func num(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 6, 64)
}

func fixed(f float64, digits int) string { return strconv.FormatFloat(f, 'f', digits, 64) }
