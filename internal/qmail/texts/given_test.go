package texts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/qmail/texts"
	"github.com/postilion/postilion/internal/reason"
)

// This file accounts for every text of the family: a reason of ours that gives it with its code in
// log and bounce, a program of ours that says it, or why neither is.

// reasons give texts by the reason that is worded so.
var reasons = map[string]*reason.Error{
	"Unable to switch to *: *. (#4.3.0)":                                       reason.HomeUnreachable.With("/home/joe", "file does not exist"),
	"Uh-oh: home directory is writable. (#4.7.0)":                              reason.HomeWritable,
	"Home directory is sticky: user is editing his .qmail file. (#4.2.1)":      reason.HomeSticky,
	"This message is looping: it already has my Delivered-To line. (#5.4.6)":   reason.DeliveredToLoop,
	"Sorry, no mailbox here by that name. (#5.1.1)":                            reason.NoDotQmail,
	"Unable to open *: *. (#4.3.0)":                                            reason.DotQmailUnreadable.With(".qmail", "access denied"),
	"Uh-oh: .qmail file is writable. (#4.7.0)":                                 reason.DotQmailWritable,
	"Uh-oh: first line of .qmail file is blank. (#4.2.1)":                      reason.DotQmailBlank,
	"Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)":              reason.DotQmailFileNotList,
	"Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)":              reason.DotQmailProgNotList,
	"Unable to chdir to maildir. (#4.2.1)":                                     reason.MaildirAbsent,
	"Timeout on maildir delivery. (#4.3.0)":                                    reason.MaildirTimeout,
	"Unable to read message. (#4.3.0)":                                         reason.MessageUnreadable,
	"Temporary error on maildir delivery. (#4.3.0)":                            reason.MaildirTrouble,
	"Aack, child crashed. (#4.3.0)":                                            reason.ProgramCrashed,
	"Unable to open *: *. (#4.2.1)":                                            reason.MailboxUnopened.With("./Mailbox", "access denied"),
	"File has been locked for 30 seconds straight. (#4.3.0)":                   reason.MailboxLocked,
	"Unable to write *: *. (#4.3.0)":                                           reason.MailboxUnwritten.With("./Mailbox", "disk quota exceeded"),
	"Unable to run /bin/sh: *. (#4.3.0)":                                       reason.ProgramNotRun.With("file does not exist"),
	"Unable to find alias user!":                                               reason.AliasUserAbsent,
	"Not allowed to perform deliveries as root.":                               reason.DeliverAsRoot,
	"Sorry, I couldn't find any host by that name. (#4.1.2)":                   reason.DNSTemporary.With("far.test"),
	"Sorry, I couldn't find any host named *. (#5.1.2)":                        reason.HostUnknown.With("far.test"),
	"Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)":          reason.HostNoAddress.With("far.test"),
	"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)":           reason.ConnectFailed.With("far.test"),
	"Connected to * but greeting failed.":                                      refused(reason.RemoteGreeting),
	"Connected to * but my name was rejected.":                                 refused(reason.RemoteHelo),
	"Connected to * but sender was rejected.":                                  refused(reason.RemoteSender),
	"* does not like recipient.":                                               refused(reason.RemoteRecipient),
	"* failed on DATA command.":                                                refused(reason.RemoteData),
	"* failed after I sent the message.":                                       refused(reason.RemoteMessage),
	"Connected to * but connection died. (#4.4.2)":                             reason.ConnectionLost.With("192.0.2.1"),
	"Connected to * but connection died. Possible duplicate! (#4.4.2)":         reason.PossibleDuplicate.With("192.0.2.1"),
	"Remote host said: *":                                                      refused(reason.RemoteRecipient),
	"I'm not going to try again; this message has been in the queue too long.": reason.QueueLifetime.With("x", "y", "z"),
	"too many hops, this message is looping (#5.4.6)":                          reason.TooManyHops,
	"Sorry. Although I'm listed as a best-preference MX or A for that host,\nit isn't in my control/locals file, so I don't treat it as local. (#5.4.6)": reason.MXIsMe.With("far.test"),
}

// refused is what another host refuses.
func refused(id reason.ID) *reason.Error {
	return &reason.Error{Class: reason.Permanent, Code: 550, Enhanced: "5.1.1", Reason: id, Args: []string{"192.0.2.1"}, Remote: "550 5.1.1 no such user"}
}

// said names the folders whose programs say a text, with their own name before it.
var said = map[string][]string{
	"internal/deliver/local":     {"Error report too long, sorry."},
	"internal/trace/logs":        {"Giving up on *."},
	"internal/deliver/remote":    {"* accepted message."},
	"internal/bounce":            {"I wasn't able to deliver your message to the following addresses.", "I tried to deliver a bounce message to this address, but the bounce bounced!"},
	"internal/dispatch":          {"triple bounce: discarding *"},
	"internal/tools/aliasing":    {"newaliases: fatal: file delivery * not supported", "dot-forward: fatal: file delivery * not supported", "$DEFAULT or $EXT must be set"},
	"internal/qmail/aliases":     {"setforward: fatal: final instruction must end with semicolon", "setforward: fatal: double colons are not permitted", "setforward: fatal: commas are not permitted before colons"},
	"internal/qmail/assign":      {"qmail-pw2u: fatal: unable to stat *", "qmail-pw2u: fatal: unable to find * user for subuser"},
	"internal/intake/netstrings": {"sorry, I can't handle that recipient (#5.1.3)", "unacceptable sender (#5.1.7)", "sorry, I can't accept addresses like that (#5.1.3)"},
	// Replies in the family's words; internal/intake/smtpd has a dialogue for each.
	"internal/reason": {"temporary RBL lookup error", "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "sorry, that message size exceeds my databytes limit (#5.3.4)", "sorry, your envelope sender is in my badmailfrom list (#5.7.1)", "syntax error (#5.5.4)", "qqt failure (#4.3.0)", "timeout (#4.4.2)",
		"See https://cr.yp.to/docs/smtplf.html.", "sorry, your envelope sender has been denied (#5.7.1)", "sorry, your envelope recipient has been denied (#5.7.1)", "too many invalid addresses, goodbye (#4.3.0)",
		"sorry, no mailbox here by that name (chkuser)", "sorry, recipient mailbox is full (chkuser)", "sorry, rcpt syntax not allowed (chkuser)",
		"sorry, you are violating our security policies (chkuser)", "system temporary unavailable, try again later (chkuser)"},
	"internal/tools/injection": {"MAIL first (#5.5.1)", "RCPT first (#5.5.1)", "unimplemented (#5.5.1)", "unable to read configuration (#4.3.0)", "unable to read cdb (#4.3.0)", "qmail-inject: fatal: read error", "qmail-inject: fatal: unable to parse address: *"},
	"internal/qmail/mess":      {"qmail-inject: fatal: unable to parse this line:*"},
	"internal/tools/admin":     {"tcprules: fatal: unable to parse this line: *", "qmail-newu: fatal: bad format in users/assign", "qmail-newu: fatal: unable to open users/assign", "qmail-newu: fatal: unable to read users/assign", "qmail-newu: fatal: unable to write users/cdb.tmp", "qmail-newu: fatal: unable to move users/cdb.tmp to users/cdb", "qmail-newmrh: fatal: unable to read control/morercpthosts: *", "qmail-newmrh: fatal: unable to write to control/morercpthosts.tmp: *"},
	"internal/qmail/qq": {"envelope address too long for qq (#5.1.3)", "mail server permanently rejected message (#5.3.0)", "qq out of memory (#4.3.0)", "qq timeout (#4.3.0)",
		"qq write error or disk full (#4.3.0)", "qq read error (#4.3.0)", "qq unable to read configuration (#4.3.0)", "qq trouble making network connection (#4.3.0)", "qq trouble in home directory (#4.3.0)",
		"qq trouble creating files in queue (#4.3.0)", "mail server temporarily rejected message (#4.3.0)", "connection to mail server timed out (#4.4.1)", "connection to mail server rejected (#4.4.1)",
		"communication with mail server failed (#4.4.2)", "qq internal bug (#4.3.0)", "unable to exec qq (#4.3.0)", "qq permanent problem (#5.3.0)", "qq temporary problem (#4.3.0)", "qq crashed (#4.3.0)"},
}

// unsaid are the texts that nothing here gives, and why. A program alone stands for all of its
// texts that are in no other table.
var unsaid = []struct {
	why             string
	programs, texts []string
}{
	{"a part that does not exist here: roles speak over sockets, and their trouble is told with its own cause",
		[]string{"spawn", "qmail-lspawn", "qmail-rspawn", "qmail-start"}, nil},
	{"the queue is no folder of small files: its log lines tell what is wrong with it in its own words", []string{"qmail-send"}, nil},
	{"a reply to SMTP clients that cannot come up: internal/intake/smtpd says why", nil,
		[]string{"out of memory (#4.3.0)", "unable to read controls (#4.3.0)", "unable to figure out my IP addresses (#4.3.0)", "See http://pobox.com/~djb/docs/smtplf.html.",
			"sorry, your HELO host name has been denied (#5.7.1)", "sorry, can't find a valid MX for sender domain (chkuser)"}},
	{"replies of POP3 have their code in front (RFC 2449) and say in our words what is wrong", []string{"qmail-popup", "qmail-pop3d"}, nil},
	{"the distribution's own tcpserver says it", []string{"tcpserver"}, nil},
	{"a program of the user's says it, and it is passed on", nil, []string{"user is over quota"}},
	{"there is no such step: no memory per delivery, no descriptor to rewind, no process per forward", nil,
		[]string{"Unable to stat home directory: *. (#4.3.0)", "Unable to read message: *. (#4.3.0)", "Out of memory. (#4.3.0)", "Unable to rewind message. (#4.3.0)", "Unable to fork: *. (#4.3.0)", "Unable to forward message: *."}},
	{"no program is started for a delivery to another host, and no CNAME is looked up for one", nil,
		[]string{"CNAME lookup failed temporarily. (#4.4.3)", "System resources temporarily unavailable. (#4.3.0)", "Unable to switch to home directory. (#4.3.0)", "Unable to read control files. (#4.3.0)",
			"I (qmail-remote) was invoked improperly. (#5.3.5)", "SMTP cannot transfer messages with partial final lines. (#5.6.2)", "qq waitpid surprise (#4.3.0)"}},
	{"our programs hand mail to the server itself, and tell its answer", nil,
		[]string{"qmail-inject: fatal: out of memory", "qmail-inject: fatal: internal bug", "qmail-inject: fatal: unable to run qmail-queue", "qmail-inject: fatal: invalid header field: *", "sendmail: fatal: please use fastforward/newaliases instead"}},
	{"our programs name the file and the line", nil,
		[]string{"newaliases: fatal: unable to parse this line: *", "dot-forward: fatal: unable to parse this line: *", "qmail-newu: fatal: unable to open users/cdb.tmp", "qmail-pw2u: fatal: unable to find alias user"}},
}

func TestEveryTextIsGivenOrItIsSaidWhyNot(t *testing.T) {
	t.Parallel()
	givenBy, saidBy := 0, 0
	for _, x := range texts.All() {
		e := reasons[x.Words]
		folder := sayer(x.Words)
		switch {
		case e != nil:
			givenBy++
			checkGiven(t, &x, e)
		case folder != "":
			saidBy++
			checkSaid(t, &x, folder)
		default:
			if whyNot(&x) == "" {
				t.Errorf("%s %q is given by nothing, and it is not said why", x.Program, x.Words)
			}
		}
	}
	t.Logf("of %d texts %d are worded by reasons, %d said by programs", len(texts.All()), givenBy, saidBy)
}

// checkGiven holds a reason to the family's words, code and class, in log and bounce.
func checkGiven(t *testing.T, x *texts.Text, e *reason.Error) {
	t.Helper()
	for _, s := range []string{e.Paragraph(), "delivery 7: failure: " + e.Paragraph()} {
		if _, ok := texts.MatchWords(texts.Plain(s), texts.Plain(x.Words)); !ok {
			t.Errorf("%s: %q is not %q", e.Reason, s, x.Words)
		}
	}
	if x.Status != "" && x.Status != e.Enhanced {
		t.Errorf("%s has %s, %q %s", e.Reason, e.Enhanced, x.Words, x.Status)
	}
	if x.Status != "" && (x.Class == texts.Permanent) != (e.Class == reason.Permanent) {
		t.Errorf("%s is %s, %q %s", e.Reason, e.Class, x.Words, x.Class)
	}
}

// sayer returns the folder of said that has a text.
func sayer(words string) string {
	for folder, list := range said {
		if slices.Contains(list, words) {
			return folder
		}
	}
	return ""
}

// checkSaid looks for the longest part of a text in the sources of a folder.
func checkSaid(t *testing.T, x *texts.Text, folder string) {
	t.Helper()
	words, _, _ := strings.Cut(strings.TrimPrefix(x.Words, x.Program+": fatal: "), " (#")
	part := slices.MaxFunc(strings.Split(words, "*"), func(a, b string) int { return len(a) - len(b) })
	files, err := filepath.Glob(filepath.Join("../../..", folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err == nil && !strings.HasSuffix(name, "_test.go") && strings.Contains(string(text), strings.Trim(part, " .:")) {
			return
		}
	}
	t.Errorf("%s does not say %q", folder, part)
}

func whyNot(x *texts.Text) string {
	for _, u := range unsaid {
		if slices.Contains(u.texts, x.Words) || slices.Contains(u.programs, x.Program) {
			return u.why
		}
	}
	return ""
}
