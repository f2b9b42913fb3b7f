package reason

// This file words refusals as qmail-smtpd and its usual companions put them on the wire, byte for byte
// with their codes (qmail reference 4.3, 5.3, 22.3, 27): monitoring and partner systems match on them. One
// table by reason, so that a reason is worded alike wherever it comes up. Its rule: words never
// change what a client is to do. Where the family's code is of the other class, the error's own code stays.

// Voice is whose words a server's replies have.
type Voice uint8

const (
	Own   Voice = iota // ours, with the enhanced status before them (RFC 2034)
	Qmail              // the family's; where it has none, ours with the status behind them in parentheses
)

// Reply is a refusal as an SMTP client reads it.
type Reply struct {
	Code     int
	Enhanced string // to stand before the text; "" where the text has it, or nothing has
	Text     string
	Family   bool // the text is the family's, and nothing goes before it
}

// MailFirst is what CommandOrder says of RCPT and DATA without MAIL.
const MailFirst = "send MAIL first"

// LoggedIn is what CommandOrder says of AUTH after AUTH.
const LoggedIn = "you are logged in"

// onWire is how the family says a reason to a client.
type onWire struct {
	code   int
	status string // "" for none
	front  bool   // the status stands before the text, as chkuser has it
	text   string
}

// Texts that several reasons have.
var (
	syntaxError   = onWire{555, "5.5.4", false, "syntax error"}
	unimplemented = onWire{502, "5.5.1", false, "unimplemented"}
	notAllowed    = onWire{553, "5.7.1", false, "sorry, that domain isn't in my list of allowed rcpthosts"}
	senderDenied  = onWire{553, "5.7.1", false, "sorry, your envelope sender has been denied"}
	noMailbox     = onWire{550, "5.1.1", true, "sorry, no mailbox here by that name (chkuser)"}
	mailboxFull   = onWire{552, "5.2.2", true, "sorry, recipient mailbox is full (chkuser)"}
	noAnswer      = onWire{451, "4.3.0", true, "system temporary unavailable, try again later (chkuser)"}
	badAuthInput  = onWire{501, "5.5.4", false, "malformed auth input"}
)

// wire has the family's words by reason. What chkuser and the SMTP AUTH patch say is theirs; qmail-smtpd
// itself neither looks for mailboxes nor at passwords.
var wire = map[ID]onWire{
	SenderRefused.Reason:    {553, "5.7.1", false, "sorry, your envelope sender is in my badmailfrom list"},
	SenderIsOurs.Reason:     senderDenied,
	SenderUnknown.Reason:    senderDenied,
	SenderNotYours.Reason:   senderDenied,
	RecipientRefused.Reason: {553, "5.7.1", false, "sorry, your envelope recipient has been denied"},
	RelayDenied.Reason:      notAllowed,
	ReceiveOnly.Reason:      notAllowed,

	SenderSyntax.Reason:      syntaxError,
	RecipientSyntax.Reason:   syntaxError,
	CommandSyntax.Reason:     syntaxError,
	ParameterUnknown.Reason:  syntaxError,
	LineTooLong.Reason:       syntaxError,
	NoRecipients.Reason:      {503, "5.5.1", false, "RCPT first"},
	CommandUnknown.Reason:    unimplemented,
	CommandNotOffered.Reason: unimplemented,
	VerifyNotOffered.Reason:  unimplemented,

	QueueUnavailable.Reason: {451, "4.3.0", false, "qqt failure"},
	DiskFull.Reason:         {451, "4.3.0", false, "qq write error or disk full"},
	LocalError.Reason:       {451, "4.3.0", false, "qq temporary problem"},
	TooManyHops.Reason:      {554, "5.4.6", false, "too many hops, this message is looping"},
	MessageTooBig.Reason:    {552, "5.3.4", false, "sorry, that message size exceeds my databytes limit"},
	IdleTimeout.Reason:      {451, "4.4.2", false, "timeout"},
	BareNewline.Reason:      {451, "", false, "See https://cr.yp.to/docs/smtplf.html."},
	TooManyErrors.Reason:    {421, "4.3.0", false, "too many invalid addresses, goodbye"},

	MailboxUnknown.Reason:       noMailbox,
	NoDotQmail.Reason:           noMailbox,
	QuotaExceeded.Reason:        mailboxFull,
	QuotaTooSmall.Reason:        mailboxFull,
	BadAddress.Reason:           {553, "5.1.3", true, "sorry, rcpt syntax not allowed (chkuser)"},
	SendingForbidden.Reason:     {550, "5.5.3", true, "sorry, you are violating our security policies (chkuser)"},
	DirectoryUnavailable.Reason: noAnswer,
	RunasUnavailable.Reason:     noAnswer,
	RouteFileBroken.Reason:      noAnswer,

	"auth-failed":        {535, "5.7.1", false, "authentication failed"},
	AuthMechanism.Reason: {504, "5.5.1", false, "auth type unimplemented"},
	AuthEncoding.Reason:  badAuthInput,
	AuthBinding.Reason:   {535, "5.7.1", false, "authentication failed"},
	AuthTooLong.Reason:   badAuthInput,
	AuthCancelled.Reason: {501, "5.0.0", false, "auth exchange canceled"},

	ListsSilent.Reason: {451, "", false, "temporary RBL lookup error"},
}

// maxListText bounds what rblsmtpd says of a client, in bytes (qmail reference 22.3).
const maxListText = 200

// Reply returns the error as a reply in the words of v. The text is not yet safe for the wire.
func (e *Error) Reply(v Voice) Reply {
	if v == Own {
		return Reply{Code: e.Code, Enhanced: e.Enhanced, Text: e.Text(English)}
	}
	w, ok := e.family()
	if !ok {
		return Reply{Code: e.Code, Text: coded(e.Text(English), e.Enhanced)}
	}
	if (w.code >= 500) != (e.Class == Permanent) {
		w.code = e.Code
		if w.status != "" {
			w.status = e.Enhanced
		}
	}
	if w.front {
		return Reply{w.code, w.status, w.text, true}
	}
	return Reply{w.code, "", coded(w.text, w.status), true}
}

// family finds what the family says: by reason, and for what lists, filters and the order of commands
// come to by what the error speaks of.
func (e *Error) family() (onWire, bool) {
	switch n := len(e.Args); {
	case e.Reason == ClientListed.Reason && n > 2:
		return onWire{code: e.Code, text: clip(e.Args[2], maxListText)}, true
	case e.Reason == ClientBlocked.Reason && n > 0:
		return onWire{code: e.Code, text: clip(e.Args[0], maxListText)}, true
	case (e.Reason == FilterRefused.Reason || e.Reason == FilterFailed.Reason) && n > 1:
		return onWire{code: e.Code, text: e.Args[1]}, true
	case (e.Reason == FilterRefused.Reason || e.Reason == FilterFailed.Reason) && n > 0:
		return onWire{code: e.Code, status: e.Enhanced, text: e.Args[0]}, true
	case e.Reason == CommandOrder.Reason && n > 0 && e.Args[0] == MailFirst:
		return onWire{503, "5.5.1", false, "MAIL first"}, true
	case e.Reason == CommandOrder.Reason && n > 0 && e.Args[0] == LoggedIn:
		return onWire{503, "5.5.0", false, "you're already authenticated"}, true
	}
	w, ok := wire[e.Reason]
	return w, ok
}

// coded puts a status behind a text as the family does.
func coded(text, status string) string {
	if status == "" {
		return text
	}
	return text + " (#" + status + ")"
}

func clip(s string, most int) string { return s[:min(len(s), most)] }
