package reason

import (
	"fmt"
	"strings"
)

// This file words errors as the qmail family's programs do in logs and bounces: its sentence, byte
// for byte, with the status code behind it, which old tools and people look for; what we know
// beyond it follows. Text says the same in each reader's language.

// wording is how the family words a reason: its sentence, and what of ours follows the code.
type wording struct{ sentence, more string }

// family has the reasons that our texts word otherwise than the family (qmail reference 8, 9.1, 11.1,
// 11.6): ours name the host or address, which a reader of one line wants to know.
var family = map[ID]wording{
	MailboxUnknown.Reason: {"Sorry, no mailbox here by that name.", ""}, // log and bounce name the address
	ForwardLoop.Reason:    {"This message is looping: it already has my Delivered-To line.", "It is that of %[1]s."},
	DNSTemporary.Reason:   {"Sorry, I couldn't find any host by that name.", "DNS gave no answer about %[1]s."},
	HostNoAddress.Reason:  {"Sorry, I couldn't find a mail exchanger or IP address.", "The domain is %[1]s."},
	MXIsMe.Reason:         {"Sorry. Although I'm listed as a best-preference MX or A for that host,\nit isn't in my control/locals file, so I don't treat it as local.", "The host is %[1]s."},
	ConnectFailed.Reason:  {"Sorry, I wasn't able to establish an SMTP connection.", "Tried %[1]s."},
	HostResting.Reason:    {"Sorry, I wasn't able to establish an SMTP connection.", "%[1]s did not answer lately and is not tried for now."},
}

// uncoded are the reasons to which the family puts no code: what another host refused has the
// host's, and qmail-lspawn gives none.
var uncoded = map[ID]bool{
	RemoteGreeting: true, RemoteHelo: true, RemoteAuth: true, RemoteSender: true, RemoteRecipient: true, RemoteData: true, RemoteMessage: true,
	DeliverAsRoot.Reason: true, AliasUserAbsent.Reason: true,
}

// NotAgain ends the report of a message that was in the queue too long (qmail reference 7.3).
const NotAgain = "I'm not going to try again; this message has been in the queue too long."

// Line returns the error as the family words it, in English, without the other host's reply. A
// program's report stands for itself.
func (e *Error) Line() string {
	if report, ok := e.Report(); ok {
		return report
	}
	if e.Reason == QueueLifetime.Reason && len(e.Args) > 2 {
		return e.Args[2] + "\n" + NotAgain
	}
	if uncoded[e.Reason] {
		return e.Text(English)
	}
	code := " (#" + e.Enhanced + ")"
	w, ok := family[e.Reason]
	if !ok {
		return e.Text(English) + code
	}
	if w.more == "" || len(e.Args) == 0 {
		return w.sentence + code
	}
	return w.sentence + code + " " + fmt.Sprintf(w.more, e.Args[0])
}

// Paragraph returns the lines that a bounce has about the error: Line, and the other host's reply
// as qmail-remote puts it (qmail reference 11.3).
func (e *Error) Paragraph() string {
	if e.Remote == "" {
		return e.Line()
	}
	first, last := e.Line(), ""
	if e.Reason == QueueLifetime.Reason && len(e.Args) > 2 {
		first, last = e.Args[2], "\n"+NotAgain
	}
	said := "\nRemote host said: " + e.Remote
	// qmail-remote has one recipient at a time: when that is refused, none is left (qmail reference 8.7).
	if host, ok := strings.CutSuffix(first, " does not like recipient."); ok {
		said += "\nGiving up on " + host + "."
	}
	return first + said + last
}
