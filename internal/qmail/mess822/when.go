package mess822

import (
	"strconv"
	"strings"
	"time"
)

// When is a date of a header.
type When struct {
	Year, Month, Day, Hour, Minute, Second int // as written; not checked against the calendar

	Offset int  // minutes east of UTC
	NoZone bool // the zone is -0000: nothing is known of the place
}

var zones = map[string]int{
	"ut": 0, "gmt": 0, "bst": 60, "cdt": -300, "cet": 60, "cst": -360, "edt": -240, "eet": 120, "est": -300,
	"hkt": 480, "ist": 120, "jst": 540, "mdt": -360, "met": 60, "metdst": 120, "mst": -420, "pdt": -420, "pst": -480,
}

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

// ParseDate reads the date of a field: day, month, year, time and zone in this order, a weekday and
// comments before and between them, and in Received behind the last ";". ok is false when there
// is none.
func ParseDate(value string) (w When, ok bool) {
	tokens := Tokens(value)
	// The date starts behind the last comma or semicolon.
	for i := len(tokens) - 1; i >= 0; i-- {
		if tokens[i].Kind == ';' || tokens[i].Kind == ',' {
			tokens = tokens[i+1:]
			break
		}
	}
	p := dateParser{state: day}
	for _, t := range tokens {
		if t.Kind == ':' && (p.state == firstColon || p.state == secondColon) {
			p.state++
		}
		if t.Kind == Word && !p.word(t.Text) {
			break
		}
	}
	return p.w, p.known
}

// Places of a date's words: 29 Aug 1996 14 : 04 : 52 CDT.
const (
	day = iota
	month
	year
	hour
	firstColon
	minute
	secondColon
	second
	zone
	behindZone
)

type dateParser struct {
	w     When
	state int
	known bool
}

// word takes the next word; false ends the date.
func (p *dateParser) word(s string) bool {
	n, err := strconv.Atoi(s)
	numeric := err == nil && n > -1e6 && n < 1e6
	switch p.state {
	case day, year, hour, minute, second:
		if !numeric {
			return false
		}
	}
	switch p.state {
	case day:
		p.w.Day = n
	case month:
		i := strings.Index(months, strings.ToLower(s))
		if len(s) != 3 || i < 0 || i%3 != 0 {
			return false
		}
		p.w.Month = i/3 + 1
	case year:
		if n < 50 {
			n += 2000
		}
		if n < 999 {
			n += 1900
		}
		p.w.Year = n
	case hour:
		p.w.Hour = n
	case firstColon:
		return false
	case minute:
		p.w.Minute = n
	case second:
		p.w.Second = n
	case secondColon, zone:
		return p.zone(s, n, numeric)
	case behindZone:
		if strings.EqualFold(s, "dst") {
			p.w.Offset += 60
		}
		return true
	}
	p.state++
	return true
}

func (p *dateParser) zone(s string, n int, numeric bool) bool {
	p.state = behindZone
	if !numeric {
		offset, known := zones[strings.ToLower(s)]
		p.known = known
		p.w.Offset = offset
		return known
	}
	p.known = true
	p.w.Offset = n/100*60 + n%100
	p.w.NoZone = s == "-0000"
	return true
}

// Time returns the moment.
func (w When) Time() time.Time {
	return time.Date(w.Year, time.Month(w.Month), w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC).Add(-time.Duration(w.Offset) * time.Minute)
}
