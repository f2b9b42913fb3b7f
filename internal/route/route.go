// Package route answers one question: what is this address? Intake asks before it
// takes a recipient, dispatch before it delivers, and the operator to understand both.
package route

import (
	"context"
	"strings"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// A Router resolves addresses. It is safe for concurrent use. The error is
// temporary trouble in finding the answer (*reason.Error); an address that cannot be
// delivered to is an answer: a Route of Kind Refused.
type Router interface {
	Route(ctx context.Context, to mail.Address) (Route, error)
}

// Kind is what an address turned out to be.
type Kind uint8

const (
	Refused    Kind = iota // nobody here, and not ours to pass on: Err says why
	Mailbox                // an account's mailbox here
	Forward                // an alias: the message goes on to Targets under their own names
	Remote                 // another host's
	SystemUser             // a user of this system, or one of users/assign: .qmail files decide
	Discard                // taken and dropped, as the operator's files say
)

// Route is the answer.
type Route struct {
	Kind    Kind
	Local   bool               // the domain is ours
	Final   mail.Address       // the address after alias domain and catch-all; sub-address kept
	Account *directory.Account // of Kind Mailbox
	Domain  *directory.Domain  // where Local
	Folder  string             // the sub-address's folder wish, "" for INBOX
	Targets []mail.Address     // of Kind Forward
	Owner   mail.Address       // of Kind Forward: the reverse-path of what goes on; zero keeps the sender's
	User    *User              // of Kind SystemUser
	Next    NextHop            // of Kind Remote
	Err     *reason.Error      // of Kind Refused
	Steps   []Step             // how the answer was found, in order
}

// User is whose files say what becomes of an address, as qmail-lspawn tells qmail-local
// (qmail reference 8.3, 9): the search for instructions is in Home for
// ".qmail" + Dash + Ext and its -default forms.
type User struct {
	Name     string
	UID, GID uint32
	Home     string // absolute
	Dash     string // "", "-" or what users/assign says
	Ext      string // the extension, in its original case
	Local    string // the local part with the prefix of virtualdomains: the variable LOCAL
	Host     string // the domain as the sender wrote it: the variable HOST

	// Instructions stand in place of a .qmail file where there are any: the user's home is not searched,
	// nor are there -owner files. They come from an alias of /etc/aliases, and run as this user.
	Instructions []Instruction
	// Owner is the reverse-path of what Instructions send on; the zero Address keeps the sender's.
	Owner mail.Address
}

// Instruction is one line as in a .qmail file (dot-qmail(5)): "/file" (absolute; a maildir with a slash at its
// end), "&address", and "!program", which is "|program" with the lines UFLINE, RPLINE and DTLINE before
// the message, as aliases give it (qmail reference 18.2).
type Instruction struct {
	Line  string
	Where string // FILE:LINE
}

// DeliveredTo is the header line, without its end, of a delivery for the user (qmail reference 9.2):
// the variable DTLINE. Equal lines mean a loop.
func (u *User) DeliveredTo() string {
	return "Delivered-To: " + lineEnds.Replace(u.Local+"@"+u.Host)
}

// lineEnds keeps an address within its line.
var lineEnds = strings.NewReplacer("\n", "_", "\r", "_", "\x00", "_")

// Step is one decision on the way to a Route.
type Step struct {
	What   string `json:"what"`   // what was looked at: "domain example.test"
	Where  string `json:"where"`  // the file and line, table or key that decided
	Result string `json:"result"` // "alias domain of example.org"
}

// NextHop is where a remote job goes. Without Host the recipients' domain is
// looked up (MX, then addresses).
type NextHop struct {
	Domain string // the destination, an A-label name or an address literal
	Host   string // a fixed relay, name or address literal; "" for MX
	Port   int    // 0 means 25
	// MX asks for the MX records of Host, where it is a name.
	MX       bool
	User     string // credentials for AUTH; "" for none
	Password string
	TLS      TLSPolicy
	QMTP     bool // spoken instead of SMTP: in plain text, to port 209 unless Port says otherwise
}

// TLSPolicy is how a next hop's TLS is used.
type TLSPolicy uint8

const (
	TLSOpportunistic TLSPolicy = iota // what the host publishes (DANE, MTA-STS), else STARTTLS when offered, any certificate; falls back to plain text, recorded
	TLSNone                           // never
	TLSEncrypt                        // STARTTLS or no delivery, any certificate
	TLSVerify                         // STARTTLS with a certificate that is valid for the host
	TLSImplicit                       // TLS from the first byte (port 465), certificate verified
)
