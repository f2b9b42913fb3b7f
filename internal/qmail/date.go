package qmail

import "time"

// AppendDate appends t as the family dates headers and listings: UTC, the day not padded,
// no weekday, "21 Nov 2026 19:33:42 -0000" (qmail reference 3.3).
func AppendDate(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2 Jan 2006 15:04:05 -0000")
}

// AppendFromDate appends t as an mbox From_ line has it: ctime's form in UTC with the day
// padded by a zero, "Sat Nov 07 19:33:32 2026" (qmail reference 3.3).
func AppendFromDate(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "Mon Jan 02 15:04:05 2006")
}

// AppendReceivedSafe appends text as qmail-smtpd writes a client's words into Received:
// every byte outside letters, digits and .@%+/=:-[] becomes "?" (qmail reference 3.5).
func AppendReceivedSafe(b []byte, text string) []byte {
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '@', c == '%', c == '+', c == '/', c == '=', c == ':', c == '-', c == '[', c == ']':
		default:
			c = '?'
		}
		b = append(b, c)
	}
	return b
}
