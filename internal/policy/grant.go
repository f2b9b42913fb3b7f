package policy

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/smtp"
)

// Grant is what the operator's access rules give one client: the variables of tcprules, as qmail's
// servers read them (qmail reference 4.1). The zero Grant gives nothing.
type Grant struct {
	Relay  bool   // RELAYCLIENT is set: recipients may be at any host
	Append string // its value: put behind each recipient's address
	// Sized is set where DATABYTES is; Databytes is then the largest message in bytes with LF line
	// ends, the trace fields not counted. 0 is no limit.
	Sized     bool
	Databytes int64
	Filter    string   // QMAILQUEUE: the filter that messages pass
	Env       []string // the other variables, as NAME=value, for programs that are run for this client
}

// NoLimit is the size of a message where nothing limits it.
const NoLimit = math.MaxInt64

// maxAppend bounds what RELAYCLIENT appends, in bytes: a domain and its "@".
const maxAppend = 256

// Set takes one variable. The error tells what was expected.
func (g *Grant) Set(name, value string) error {
	switch name {
	case "RELAYCLIENT":
		if len(value) > maxAppend || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("RELAYCLIENT: %q: want what is put behind an address, such as @fix.example, of at most %d bytes without blanks", value, maxAppend)
		}
		if _, domain, at := strings.Cut(value, "@"); value != "" && (!at || smtp.CheckDomain(domain) != nil) {
			return fmt.Errorf("RELAYCLIENT: %q: want nothing, or something that ends in @ and a domain", value)
		}
		g.Relay, g.Append = true, value
	case "DATABYTES":
		// qmail takes the digits at its start; something else would be no limit by mistake.
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("DATABYTES: %q: want a number of bytes, 0 for no limit", value)
		}
		g.Sized, g.Databytes = true, n
	case "QMAILQUEUE":
		if strings.ContainsRune(value, 0) {
			return errors.New("QMAILQUEUE: want the name of a program or filter")
		}
		g.Filter = value
	}
	return nil
}

// Recipient returns the address that a recipient becomes by RELAYCLIENT's value: "joe@x" with "@fix.me"
// is "joe@x@fix.me", in the domain fix.me (qmail reference 4.1).
func (g *Grant) Recipient(to mail.Address) mail.Address {
	if g.Append == "" {
		return to
	}
	return mail.ParseAddress(to.String() + g.Append)
}
