package route

// Answers in words: what an address leads to, for `address test`, and in the forms of sendmail -bv and
// -bt (qmail reference 25.3, 25.4).

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/reason"
)

var kinds = [...]string{"refused", "mailbox", "forward", "remote", "user", "discard"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return strconv.Itoa(int(k))
}

// Sentence tells in one line where the mail to an address goes, or why it does not. err is that of Route.
// It may hold any bytes of the address: escape it before printing.
func Sentence(address string, r *Route, err error) string {
	switch {
	case err != nil:
		e := reason.As(err)
		s := fmt.Sprintf("%s has to wait: %s", address, e.Text(reason.English))
		if e.Cause != nil {
			s += ": " + e.Cause.Error()
		}
		return s
	case r.Kind == Refused:
		return fmt.Sprintf("%s is refused: %d %s %s", address, r.Err.Code, r.Err.Enhanced, r.Err.Text(reason.English))
	case r.Kind == Mailbox && r.Folder != "":
		return fmt.Sprintf("%s goes into the mailbox of %s, folder %s", address, r.Account.Address, r.Folder)
	case r.Kind == Mailbox:
		return fmt.Sprintf("%s goes into the mailbox of %s", address, r.Account.Address)
	case r.Kind == Forward && !r.Owner.IsZero():
		return fmt.Sprintf("%s goes on to %s, from %s", address, r.targets(" "), r.Owner)
	case r.Kind == Forward:
		return fmt.Sprintf("%s goes on to %s", address, r.targets(" "))
	case r.Kind == Discard:
		return address + " is taken and dropped"
	case r.Kind == SystemUser && len(r.User.Instructions) > 0:
		return fmt.Sprintf("%s goes to an alias's programs and files, as user %s (uid %d)", address, r.User.Name, r.User.UID)
	case r.Kind == SystemUser:
		s := fmt.Sprintf("%s goes to user %s (uid %d)", address, r.User.Name, r.User.UID)
		if r.User.Dash != "" || r.User.Ext != "" {
			s += ", extension " + quoted(r.User.Ext)
		}
		return s
	case r.Next.Host == "":
		return fmt.Sprintf("%s goes to the MX hosts of %s, TLS %s", address, r.Next.Domain, r.Next.TLS)
	}
	return fmt.Sprintf("%s goes to %s, TLS %s", address, r.Next.Host, r.Next.TLS)
}

func (rt *Route) targets(between string) string {
	list := make([]string, len(rt.Targets))
	for i, t := range rt.Targets {
		list[i] = t.String()
	}
	return strings.Join(list, between)
}

// Verify is the line of sendmail -bv for an address, and its exit status (sysexits): 0, 67 for nobody, 75 for
// later, 69 for what is refused.
func Verify(address string, r *Route, err error) (line string, status int) {
	word := func(s string) string { return address + "... " + s }
	switch {
	case err != nil:
		return word("Deferred: " + reason.As(err).Text(reason.English)), 75
	case r.Kind == Refused && (r.Err.Reason == reason.MailboxUnknown.Reason || r.Err.Reason == reason.NoDotQmail.Reason):
		return word("User unknown"), 67
	case r.Kind == Refused && r.Err.Class == reason.Temporary:
		return word("Deferred: " + r.Err.Text(reason.English)), 75
	case r.Kind == Refused:
		return word(r.Err.Text(reason.English)), 69
	case r.Kind == Forward:
		return word("aliased to " + r.targets(", ")), 0
	}
	mailer, host, user := r.triple()
	if host != "" {
		host = "host " + host + ", "
	}
	return word("deliverable: mailer " + mailer + ", " + host + "user " + user), 0
}

// triple is the answer as sendmail's mailer, host and user.
func (rt *Route) triple() (mailer, host, user string) {
	switch rt.Kind {
	case Mailbox:
		return "local", "", rt.Account.Address.String()
	case SystemUser:
		switch {
		case len(rt.User.Instructions) == 0:
			return "local", "", rt.User.Local
		case strings.HasPrefix(rt.User.Instructions[0].Line, "!"):
			return "prog", "", rt.User.Instructions[0].Line[1:]
		}
		return "*file*", "", rt.User.Instructions[0].Line
	case Forward:
		return "local", "", rt.Final.Local
	case Discard:
		return "discard", "", rt.Final.String()
	}
	host = rt.Next.Host
	host = cmp.Or(host, rt.Next.Domain)
	if rt.Next.Port != 0 {
		host += ":" + strconv.Itoa(rt.Next.Port)
	}
	return "esmtp", host, rt.Final.String()
}

// rulesets are those of sendmail that say something about an address here.
var rulesets = map[string]string{"0": "parse", "parse": "parse", "3": "canonify", "canonify": "canonify"}

// Rulesets is what sendmail -bt prints for "sets address": each of sets, with commas between, in turn.
func Rulesets(sets, address string, r *Route, err error) string {
	var b strings.Builder
	in := tokens(address)
	for set := range strings.SplitSeq(sets, ",") {
		name, ok := rulesets[strings.TrimSpace(set)]
		if !ok {
			fmt.Fprintf(&b, "Undefined ruleset %s\n", set)
			break
		}
		out := in
		switch {
		case name == "parse":
			out = parsed(r, err)
		case r.Final.Domain != "":
			out = tokens(r.Final.Local) + " < @ " + tokens(r.Final.Domain) + " . >"
		}
		fmt.Fprintf(&b, "%-16.16s   input: %s\n%-16.16s returns: %s\n", name, in, name, out)
		in = out
	}
	return b.String()
}

func parsed(r *Route, err error) string {
	switch {
	case err != nil:
		return "$# error $@ 4.3.5 $: " + tokens(reason.As(err).Text(reason.English))
	case r.Kind == Refused:
		return fmt.Sprintf("$# error $@ %s $: %d %s", r.Err.Enhanced, r.Err.Code, r.Err.Text(reason.English))
	}
	mailer, host, user := r.triple()
	if host == "" {
		return "$# " + mailer + " $: " + tokens(user)
	}
	return "$# " + mailer + " $@ " + tokens(host) + " $: " + tokens(r.Final.Local) + " < @ " + tokens(r.Final.Domain) + " . >"
}

// tokens divides an address as sendmail does, by its operators (OperatorChars .:%@!^/[]+ and <>,;).
func tokens(s string) string {
	var words []string
	for s != "" {
		n := strings.IndexAny(s, ".:%@!^/[]+<>,;")
		switch {
		case n < 0:
			return strings.Join(append(words, s), " ")
		case n == 0:
			n = 1
		}
		words, s = append(words, s[:n]), s[n:]
	}
	return strings.Join(words, " ")
}
