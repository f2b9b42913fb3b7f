package inject

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Envelope is a message apart from its content.
type Envelope struct {
	From    string // the reverse-path, unquoted; "" is <>
	To      []Recipient
	Ret     string // RET: "FULL", "HDRS" or ""
	EnvID   string // ENVID, decoded
	Program string // who hands it in: "sendmail", "qmail-queue"
	// Ticket is what a filter's program was given to hand its message on, from the variable
	// TicketVariable.
	Ticket string
	Watch  bool // the steps of its delivery are to be told
}

// tooLong reports an address that is longer than MaxAddress allows.
func (e *Envelope) tooLong() bool {
	return len(e.From) >= MaxAddress || len(e.EnvID) >= MaxAddress || slices.ContainsFunc(e.To, func(r Recipient) bool {
		return len(r.To) >= MaxAddress || len(r.ORcpt) >= MaxAddress
	})
}

// TicketVariable is the variable by which a filter (QMAILQUEUE) finds back to the message it was
// given: the message that it hands on keeps its client and is not filtered again.
const TicketVariable = "POSTILION_TICKET"

// Recipient is one recipient.
type Recipient struct {
	To     string // unquoted
	ORcpt  string // ORCPT with its type, decoded
	Notify string // NOTIFY: "NEVER", or some of SUCCESS, FAILURE, DELAY with commas
}

// Answer is what became of a message.
type Answer struct {
	ID       string // the message's; "" when it was not taken
	Code     int    // SMTP's: 250, 4xx or 5xx
	Enhanced string
	Reason   string // the stable id of what is wrong
	Text     string
	Refused  []Refusal // recipients that it is bounced for
}

// OK reports whether the message was taken.
func (a *Answer) OK() bool { return a.Code/100 == 2 }

// Permanent reports whether handing it in again cannot help.
func (a *Answer) Permanent() bool { return a.Code/100 == 5 }

// Refusal is a recipient of a taken message that is known to fail.
type Refusal struct {
	N        int // in Envelope.To
	Code     int
	Enhanced string
	Text     string
}

// Step is one thing that happened to a watched message.
type Step struct {
	Time string // RFC 3339 with milliseconds, UTC
	Kind string // "step", "dialogue" or "verdict"
	To   string // the recipient; "" for the message
	Text string
	Code int // of a verdict: SMTP's
}

// CallFrame is the frame that begins a call.
func CallFrame(verb string, e *Envelope) []byte {
	watch := ""
	if e.Watch {
		watch = "1"
	}
	return AppendFrame(nil, FrameCall, "postilion-inject ", strconv.Itoa(Version), " ", verb,
		field("program", e.Program), field("ret", e.Ret), field("envid", e.EnvID), field("ticket", e.Ticket), field("watch", watch),
		field(FieldIntent, "1"))
}

// FieldIntent is the field of a call that asks for an Intent.
const FieldIntent = "intent"

// Intent tells that a whole message has come and is committed now. A server that cannot write it any more has no
// caller left, and drops the message; so a caller that goes without having read it knows that nothing was taken.
type Intent struct {
	ID string // the message's
	// Within is how long the commit may take besides the disk: a filter's time. 0 without.
	Within time.Duration
}

// IntentFrame is the frame of an Intent.
func IntentFrame(i *Intent) []byte {
	within := ""
	if i.Within > 0 {
		within = strconv.FormatInt(i.Within.Milliseconds(), 10)
	}
	return AppendFrame(nil, FrameIntent, i.ID, field("within_ms", within))
}

func parseIntent(p []byte) Intent {
	head, f := ParseFields(p)
	ms, _ := strconv.ParseInt(f["within_ms"], 10, 64)
	return Intent{ID: head, Within: time.Duration(min(max(ms, 0), maxWithin.Milliseconds())) * time.Millisecond}
}

// maxWithin bounds what a server can ask a program to wait: qmail-queue's life (qmail reference 5.2).
const maxWithin = 24 * time.Hour

// ParseCall reads the first frame of a connection.
func ParseCall(payload []byte) (version int, verb string, f Fields, ok bool) {
	head, f := ParseFields(payload)
	words := strings.Split(head, " ")
	if len(words) != 3 || words[0] != "postilion-inject" {
		return 0, "", nil, false
	}
	version, err := strconv.Atoi(words[1])
	return version, words[2], f, err == nil
}

// ToFrame is one recipient's frame.
func ToFrame(b []byte, r *Recipient) []byte {
	return AppendFrame(b, FrameTo, r.To, field("notify", r.Notify), field("orcpt", r.ORcpt))
}

// AnswerFrame is the frame of an answer.
func AnswerFrame(a *Answer) []byte {
	return AppendFrame(nil, FrameAnswer, field("code", strconv.Itoa(a.Code)), field("enhanced", a.Enhanced),
		field("reason", a.Reason), field("id", a.ID), field("text", cut(a.Text)))
}

func parseAnswer(p []byte) Answer {
	_, f := ParseFields(p)
	code, _ := strconv.Atoi(f["code"])
	return Answer{ID: f["id"], Code: code, Enhanced: f["enhanced"], Reason: f["reason"], Text: f["text"]}
}

// RefusalFrame is the frame of a recipient that will be bounced.
func RefusalFrame(r *Refusal) []byte {
	return AppendFrame(nil, FrameRcpt, strconv.Itoa(r.N), field("code", strconv.Itoa(r.Code)), field("enhanced", r.Enhanced), field("text", cut(r.Text)))
}

func parseRefusal(p []byte) Refusal {
	head, f := ParseFields(p)
	n, _ := strconv.Atoi(head)
	code, _ := strconv.Atoi(f["code"])
	return Refusal{N: n, Code: code, Enhanced: f["enhanced"], Text: f["text"]}
}

// StepFrame is the frame of a step.
func StepFrame(s *Step) []byte {
	code := ""
	if s.Code != 0 {
		code = strconv.Itoa(s.Code)
	}
	return AppendFrame(nil, FrameStep, s.Kind, field("time", s.Time), field("to", cut(s.To)), field("code", code), field("text", cut(s.Text)))
}

func parseStep(p []byte) Step {
	head, f := ParseFields(p)
	code, _ := strconv.Atoi(f["code"])
	return Step{Kind: head, Time: f["time"], To: f["to"], Text: f["text"], Code: code}
}

// cut keeps a text within its frame.
func cut(s string) string {
	const most = 8 << 10
	return s[:min(len(s), most)]
}

// Names are what qmail-inject completes addresses with, from the server's configuration.
type Names struct {
	Me, DefaultDomain, DefaultHost, PlusDomain, IDHost string
}

// NamesFrame is the frame of an answer to VerbNames.
func NamesFrame(n *Names) []byte {
	return AppendFrame(nil, FrameAnswer, field("code", "250"), field("me", n.Me), field("defaultdomain", n.DefaultDomain),
		field("defaulthost", n.DefaultHost), field("plusdomain", n.PlusDomain), field("idhost", n.IDHost))
}

func parseNames(p []byte) Names {
	_, f := ParseFields(p)
	me := f["me"]
	return Names{Me: me, DefaultDomain: cmp.Or(f["defaultdomain"], me), DefaultHost: cmp.Or(f["defaulthost"], me),
		PlusDomain: cmp.Or(f["plusdomain"], me), IDHost: cmp.Or(f["idhost"], me)}
}

// Notifies reports whether s is a NOTIFY value (RFC 3461 4.1).
func Notifies(s string) bool {
	words := strings.Split(strings.ToUpper(s), ",")
	for _, w := range words {
		if !slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, w) {
			return false
		}
	}
	return len(words) == 1 || !slices.Contains(words, "NEVER")
}
