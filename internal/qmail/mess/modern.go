package mess

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail/mess822"
)

// Modern rewrites headers as mess822's new-inject and ofmipd do (qmail reference 17.2): fields in a
// fixed order, lists of one kind merged, comments made names.
type Modern struct {
	Rules  Rules
	IDHost string
	// ID is put before the host in Message-ID, behind the stamp: "PID" or "N.PID".
	ID string

	User, Host, Name string // of the From field made where there is none
	DropFrom         bool   // F
	DropMessageID    bool   // I
	DropReturnPath   bool   // S
	Now              time.Time
}

// Complete is a header after that.
type Complete struct {
	Text      string // with its line ends
	Sender    string // of Envelope-Sender, else of Return-Path
	HasSender bool
	To        []string
}

// What new-inject does with fields.
var (
	merged   = []string{"to", "cc", "notice-requested-upon-delivery-to", "from", "sender", "reply-to", "mail-reply-to", "mail-followup-to"}
	onTop    = map[string]bool{"received": true, "delivered-to": true, "errors-to": true, "return-receipt-to": true}
	dropped  = map[string]bool{"bcc": true, "apparently-to": true, "content-length": true, "return-path": true, "envelope-sender": true, "envelope-recipients": true, "date": true, "message-id": true}
	mergedAs = map[string]string{"to": "To", "cc": "Cc", "notice-requested-upon-delivery-to": "Notice-Requested-Upon-Delivery-To", "from": "From",
		"sender": "Sender", "reply-to": "Reply-To", "mail-reply-to": "Mail-Reply-To", "mail-followup-to": "Mail-Followup-To"}
)

// Complete rewrites a header.
func (m *Modern) Complete(fields []mess822.Field) *Complete {
	c := new(Complete)
	lists := map[string][]mess822.Address{}
	var top, rest strings.Builder
	var envelope, header []string
	date, messageID, returnPath := "", "", ""
	named, returned := false, false
	for _, f := range fields {
		list := func() []mess822.Address { return m.rewrite(mess822.Addresses(f.Value)) }
		switch {
		case f.Name == "date":
			date = f.Value
		case f.Name == "message-id":
			messageID = wholeLine(f.Raw)
		case f.Name == "envelope-sender":
			if s, ok := last(list()); ok {
				c.Sender, c.HasSender = s, true
			}
		case f.Name == "return-path" && !m.DropReturnPath:
			if s, ok := last(list()); ok {
				returnPath, returned = s, true
			}
		case f.Name == "envelope-recipients":
			envelope, named = append(envelope, bare(list())...), true
		case f.Name == "bcc", f.Name == "apparently-to":
			header = append(header, bare(list())...)
		case mergedAs[f.Name] != "":
			l := list()
			lists[f.Name] = append(lists[f.Name], l...)
			if f.Name == "to" || f.Name == "cc" {
				header = append(header, bare(l)...)
			}
		case onTop[f.Name], strings.HasPrefix(f.Name, "resent-"):
			top.WriteString(wholeLine(f.Raw))
		case !dropped[f.Name]:
			rest.WriteString(wholeLine(f.Raw))
		}
	}
	if c.To = header; named {
		c.To = envelope
	}
	if !c.HasSender {
		c.Sender, c.HasSender = returnPath, returned
	}
	c.Text = top.String() + m.middle(lists, date, messageID) + rest.String()
	return c
}

// wholeLine ends the last line of a message that ends within its header.
func wholeLine(raw string) string {
	if strings.HasSuffix(raw, "\n") {
		return raw
	}
	return raw + "\n"
}

// middle writes the fields that have their fixed place.
func (m *Modern) middle(lists map[string][]mess822.Address, date, messageID string) string {
	var b strings.Builder
	at := m.Now
	text := at.UTC().Format("2 Jan 2006 15:04:05 -0000")
	if w, ok := mess822.ParseDate(date); ok {
		text, at = formatWhen(w), w.Time()
	}
	b.WriteString("Date: " + text + "\n")
	if messageID == "" || m.DropMessageID {
		messageID = "Message-ID: <" + at.UTC().Format("20060102150405") + "." + m.ID + ".qmail@" + m.IDHost + ">\n"
	}
	b.WriteString(messageID)
	if from := lists["from"]; len(from) == 0 || m.DropFrom {
		lists["from"] = m.rewrite([]mess822.Address{{Addr: m.User + "@" + m.Host, IsAddress: true, Comment: m.Name}})
	}
	write := func(name string) {
		if l := lists[name]; len(l) > 0 {
			b.WriteString(mergedAs[name] + ": " + quoteList(l) + "\n")
		}
	}
	for _, name := range merged[3:] {
		write(name)
	}
	if len(lists["to"]) == 0 && len(lists["cc"]) == 0 {
		b.WriteString("Cc: recipient list not shown: ;\n")
	}
	for _, name := range merged[:3] {
		write(name)
	}
	return b.String()
}

// formatWhen writes a date in its own zone.
func formatWhen(w mess822.When) string {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	zone := "-0000"
	if !w.NoZone {
		sign, minutes := '+', w.Offset
		if minutes < 0 {
			sign, minutes = '-', -minutes
		}
		zone = fmt.Sprintf("%c%02d%02d", sign, minutes/60, minutes%60)
	}
	month := min(max(w.Month, 1), 12)
	return fmt.Sprintf("%d %s %d %02d:%02d:%02d %s", w.Day, months[3*(month-1):3*month], w.Year, w.Hour, w.Minute, w.Second, zone)
}

// rewrite rewrites the hosts of a list.
func (m *Modern) rewrite(list []mess822.Address) []mess822.Address {
	for i := range list {
		if list[i].IsAddress && list[i].Addr != "" {
			list[i].Addr = m.Rules.Address(list[i].Addr)
		}
	}
	return list
}

// bare returns the addresses alone.
func bare(list []mess822.Address) (out []string) {
	for _, a := range list {
		if a.IsAddress && a.Addr != "" {
			out = append(out, a.Addr)
		}
	}
	return out
}

// last is the address of a list that counts where there may be one; "<>" is one, nothing is none.
func last(list []mess822.Address) (address string, ok bool) {
	for _, a := range slices.Backward(list) {
		if a.IsAddress {
			return a.Addr, true
		}
	}
	return "", false
}

// quoteList writes a list, an address a line.
func quoteList(list []mess822.Address) string {
	out := make([]string, 0, len(list))
	for _, a := range list {
		address := QuoteAddress(a.Addr)
		switch {
		case !a.IsAddress:
			address = `"` + escaped(a.Comment) + `": ;` // a group of nobody, such as undisclosed-recipients:;
		case a.Comment != "":
			address = `"` + escaped(a.Comment) + `" <` + address + ">"
		case address == "":
			address = "<>"
		}
		out = append(out, address)
	}
	return strings.Join(out, ",\n  ")
}

func escaped(s string) string {
	var b strings.Builder
	escape(&b, strings.ReplaceAll(strings.ReplaceAll(s, "\n", ""), "\r", ""), "\"()\\")
	return b.String()
}

// VERP is what a sender tells beside who it is, as the flags M and R ask for.
type VERP struct{ Message, Recipient bool }

// Sender puts it into a sender: the message as time and process.
func (v VERP) Sender(sender string, now time.Time, pid int) string {
	box, host, _ := cutAt(sender)
	if v.Message {
		box += "-" + strconv.FormatInt(now.Unix(), 10) + "." + strconv.Itoa(pid)
	}
	if v.Recipient {
		return box + "-@" + host + verpMark
	}
	return box + "@" + host
}
