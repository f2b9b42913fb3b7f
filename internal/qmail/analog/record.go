package analog

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Record is a line of matchup's output.
type Record struct {
	// Kind is 'm' for a message, 'k', 'd' or 'z' for a delivery that succeeded, failed or was
	// deferred, and 0 for any other line.
	Kind  byte
	Raw   string
	Birth float64 // when the message was queued, in seconds
	Start float64 // of a delivery
	End   float64 // of a delivery, or when the message was done
	Ended string  // End as written
	Bytes float64

	Sender string // with its brackets
	To     string // local.address or remote.address
	QP     string
	UID    string
	Reason string

	Done, Failed, Deferred float64 // of a message: deliveries
}

// records reads matchup's output.
type records struct {
	r *bufio.Reader
}

func (r *records) next() (Record, error) {
	part, err := r.r.ReadSlice('\n')
	line := string(part)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.r.ReadSlice('\n')
	}
	if err != nil && (err != io.EOF || line == "") {
		return Record{}, err
	}
	return ParseRecord(strings.TrimSuffix(line, "\n")), nil
}

// ParseRecord reads one line. What is missing or no number counts as nothing.
func ParseRecord(line string) Record {
	rec := Record{Raw: line}
	f := strings.Fields(line)
	at := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	switch {
	case at(0) == "m":
		rec.Kind = 'm'
		rec.Birth, rec.End, rec.Ended, rec.Bytes = float(at(1)), float(at(2)), at(2), float(at(3))
		rec.Done, rec.Failed, rec.Deferred = float(at(4)), float(at(5)), float(at(6))
		rec.Sender, rec.QP, rec.UID = at(7), at(8), at(9)
	case at(0) == "d" && len(at(1)) == 1 && strings.Contains("kdz", at(1)):
		rec.Kind = at(1)[0]
		rec.Birth, rec.Start, rec.End, rec.Ended, rec.Bytes = float(at(2)), float(at(3)), float(at(4)), at(4), float(at(5))
		rec.Sender, rec.To, rec.QP, rec.UID, rec.Reason = at(6), at(7), at(8), at(9), at(10)
	}
	return rec
}

// delay is how long the attempt took.
func (r *Record) delay() float64 { return r.End - r.Start }

func float(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != f || f-f != 0 {
		return 0
	}
	return f
}
