package analog

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// The reports as data, for programs: the same numbers as the texts that Write writes.

// Data is a report. Which of its parts is there depends on the report.
type Data struct {
	Report  string             `json:"report"`
	Figures map[string]float64 `json:"figures,omitempty"` // of overall, by its lines' words joined by _
	Rows    []map[string]any   `json:"rows,omitempty"`    // of tables, by their columns' names
	Records []DataRecord       `json:"records,omitempty"` // of sendmail and matchup
}

// DataRecord is a message that is done, or one attempt of a delivery. Times are in seconds since 1970.
type DataRecord struct {
	What   string  `json:"what"` // "message", "success", "failure" or "deferral"
	Birth  float64 `json:"birth"`
	Start  float64 `json:"start,omitempty"`
	End    float64 `json:"end"`
	Bytes  float64 `json:"bytes"`
	Sender string  `json:"sender"`
	To     string  `json:"to,omitempty"` // local.address or remote.address
	QP     string  `json:"qp"`
	UID    string  `json:"uid"`
	Reason string  `json:"reason,omitempty"`

	Done     float64 `json:"successes,omitempty"` // of a message
	Failed   float64 `json:"failures,omitempty"`
	Deferred float64 `json:"deferrals,omitempty"`
}

// ReadData reads matchup's output and returns the report of a name that Names knows, or of "matchup".
func ReadData(name string, in io.Reader) (d Data, err error) {
	d.Report = name
	src := &records{bufio.NewReaderSize(in, maxLine)}
	switch name {
	case "overall":
		var t totals
		if err := src.each(t.add); err != nil {
			return d, err
		}
		d.Figures = map[string]float64{}
		for _, f := range t.figures() {
			if f.name != "" {
				d.Figures[key(f.name)] = float(f.value)
			}
		}
		return d, nil
	case "sendmail", "matchup":
		err := src.each(func(r *Record) {
			if r.Kind != 0 {
				d.Records = append(d.Records, r.data())
			}
		})
		return d, err
	}
	for _, r := range Reports() {
		if r.Name == name {
			d.Rows, err = r.data(src)
			return d, err
		}
	}
	return d, fmt.Errorf("there is no report %q", name)
}

// key writes a line's words as a name: "Average message qtime (s)" is average_message_qtime_s.
func key(words string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(words, func(r rune) bool { return strings.ContainsRune(" ()", r) }), "_"))
}

// data returns the table's rows; the last column is a text, the others are numbers.
func (r *Report) data(in *records) ([]map[string]any, error) {
	s := r.begin()
	if err := in.each(s.add); err != nil {
		return nil, err
	}
	var rows []map[string]any
	for _, cells := range s.rows() {
		row := map[string]any{}
		for i, c := range cells {
			if i == len(cells)-1 && r.columns[i] != "pct" {
				row[r.columns[i]] = c
				continue
			}
			row[r.columns[i]] = float(c)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (r *Record) data() DataRecord {
	what := map[byte]string{'m': "message", 'k': "success", 'd': "failure", 'z': "deferral"}
	return DataRecord{What: what[r.Kind], Birth: r.Birth, Start: r.Start, End: r.End, Bytes: r.Bytes, Sender: r.Sender, To: r.To,
		QP: r.QP, UID: r.UID, Reason: r.Reason, Done: r.Done, Failed: r.Failed, Deferred: r.Deferred}
}

// Counter passes matchup's output on and counts its records: none tell that the log was of
// another form.
type Counter struct {
	R       io.Reader
	Records int

	at int // 0 at a line's start, 1 behind its first letter where that begins a record, 2 behind
}

// Read implements io.Reader.
func (c *Counter) Read(p []byte) (int, error) {
	n, err := c.R.Read(p)
	for _, b := range p[:n] {
		switch {
		case b == '\n':
			c.at = 0
		case c.at == 0 && (b == 'm' || b == 'd'):
			c.at = 1
		case c.at == 1 && b == ' ':
			c.Records++
			c.at = 2
		default:
			c.at = 2
		}
	}
	return n, err
}
