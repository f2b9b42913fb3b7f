package control

// Kind is how a control file is read.
type Kind uint8

// The kinds of control files (qmail reference 2.1).
const (
	KindLine Kind = iota // the first line counts
	KindInt              // the first line is a number
	KindList             // each line is an entry
	KindMap              // each line is KEY:VALUE
)

// String returns "line", "integer", "list" or "map".
func (k Kind) String() string { return [...]string{"line", "integer", "list", "map"}[k] }

// File describes a control file (qmail reference 2.2, 13.4).
type File struct {
	Name    string
	Kind    Kind
	Default string // the literal default; "" for none
	FromMe  bool   // the value of control/me is the default, where that exists
	Readers string // the programs that read it
	Meaning string // in one line
	// Show is what qmail-showctl writes before the value and ShowEnd behind it; ShowNone is
	// its text for a list that is missing.
	Show, ShowEnd, ShowNone string
	// Convention marks files that no program of qmail itself reads: start scripts and
	// patches do. qmail-showctl does not know them.
	Convention bool
}

// MaxConcurrency is the silent limit on concurrencylocal and concurrencyremote.
const MaxConcurrency = 120

// Files returns the table of control files in alphabetical order.
func Files() []File {
	return []File{
		{Name: "badmailfrom", Kind: KindList, Readers: "smtpd", Meaning: "envelope senders that are refused, user@host or @host", ShowNone: "Any MAIL FROM is allowed.", ShowEnd: " not accepted in MAIL FROM."},
		{Name: "bouncefrom", Kind: KindLine, Default: "MAILER-DAEMON", Readers: "send", Meaning: "the user of a bounce's From", Show: "Bounce user name is "},
		{Name: "bouncehost", Kind: KindLine, Default: "bouncehost", FromMe: true, Readers: "send", Meaning: "the host of a bounce's From, and the name in its greeting", Show: "Bounce host name is "},
		{Name: "concurrencyincoming", Kind: KindInt, Default: "20", Readers: "start scripts", Meaning: "SMTP sessions at one time", Convention: true},
		{Name: "concurrencylocal", Kind: KindInt, Default: "10", Readers: "send", Meaning: "local deliveries at one time, at most 120; 0 holds them", Show: "Local concurrency is "},
		{Name: "concurrencyremote", Kind: KindInt, Default: "20", Readers: "send", Meaning: "remote deliveries at one time, at most 120; 0 holds them", Show: "Remote concurrency is "},
		{Name: "databytes", Kind: KindInt, Default: "0", Readers: "smtpd, qmtpd", Meaning: "the size limit of a message in bytes; 0 for none", Show: "SMTP DATA limit is ", ShowEnd: " bytes"},
		{Name: "defaultdelivery", Kind: KindLine, Default: "./Mailbox", Readers: "start scripts", Meaning: "the instructions for users without .qmail", Convention: true},
		{Name: "defaultdomain", Kind: KindLine, Default: "defaultdomain", FromMe: true, Readers: "inject", Meaning: "appended to host names without a dot", Show: "Default domain name is "},
		{Name: "defaulthost", Kind: KindLine, Default: "defaulthost", FromMe: true, Readers: "inject", Meaning: "appended to addresses without @", Show: "Default host name is "},
		{Name: "doublebouncehost", Kind: KindLine, Default: "doublebouncehost", FromMe: true, Readers: "send", Meaning: "the host that double bounces go to", Show: "2B recipient host: "},
		{Name: "doublebounceto", Kind: KindLine, Default: "postmaster", Readers: "send", Meaning: "the user that double bounces go to", Show: "2B recipient user: "},
		{Name: "envnoathost", Kind: KindLine, Default: "envnoathost", FromMe: true, Readers: "send", Meaning: "appended to envelope recipients without @", Show: "Presumed domain name is "},
		{Name: "helohost", Kind: KindLine, Default: "helohost", FromMe: true, Readers: "remote", Meaning: "the name said in HELO", Show: "SMTP client HELO host name is "},
		{Name: "idhost", Kind: KindLine, Default: "idhost", FromMe: true, Readers: "inject", Meaning: "the right side of a Message-ID", Show: "Message-ID host name is "},
		{Name: "localiphost", Kind: KindLine, Default: "localiphost", FromMe: true, Readers: "smtpd", Meaning: "replaces [local address] in recipients", Show: "Local IP address becomes "},
		{Name: "locals", Kind: KindList, FromMe: true, Readers: "send", Meaning: "domains that are delivered locally", Show: "Messages for ", ShowEnd: " are delivered locally.", ShowNone: "Messages for me are delivered locally."},
		{Name: "me", Kind: KindLine, Default: "undefined! Uh-oh", Readers: "all", Meaning: "this host's full name, and the default of many others", Show: "My name is "},
		{Name: "morercpthosts", Kind: KindList, Readers: "qmail-newmrh", Meaning: "more of rcpthosts, compiled to morercpthosts.cdb", Show: "SMTP clients may send messages to recipients at ", ShowEnd: ".", ShowNone: "No effect."},
		{Name: "percenthack", Kind: KindList, Readers: "send", Meaning: "domains for which a%b@domain means a@b", Show: "The percent hack is allowed for user%host@", ShowEnd: ".", ShowNone: "The percent hack is not allowed."},
		{Name: "plusdomain", Kind: KindLine, Default: "plusdomain", FromMe: true, Readers: "inject", Meaning: "appended to host names that end in +", Show: "Plus domain name is "},
		{Name: "qmqpservers", Kind: KindList, Readers: "qmqpc", Meaning: "addresses of QMQP servers, tried in order", Show: "QMQP server: ", ShowEnd: ".", ShowNone: "No QMQP servers."},
		{Name: "queuelifetime", Kind: KindInt, Default: "604800", Readers: "send", Meaning: "seconds until a message is given up", Show: "Message lifetime in the queue is ", ShowEnd: " seconds"},
		{Name: "rcpthosts", Kind: KindList, Readers: "smtpd, qmtpd", Meaning: "domains taken from clients that may not relay; missing means every domain", Show: "SMTP clients may send messages to recipients at ", ShowEnd: ".", ShowNone: "SMTP clients may send messages to any recipient."},
		{Name: "smtpgreeting", Kind: KindLine, Default: "smtpgreeting", FromMe: true, Readers: "smtpd", Meaning: "the text of the greeting", Show: "SMTP greeting: 220 "},
		{Name: "smtproutes", Kind: KindMap, Readers: "remote", Meaning: "relays by domain", Show: "SMTP route: ", ShowNone: "No artificial SMTP routes."},
		{Name: "timeoutconnect", Kind: KindInt, Default: "60", Readers: "remote", Meaning: "seconds for a connection to another host", Show: "SMTP client connection timeout is ", ShowEnd: " seconds"},
		{Name: "timeoutremote", Kind: KindInt, Default: "1200", Readers: "remote", Meaning: "seconds for each answer of another host", Show: "SMTP client data timeout is ", ShowEnd: " seconds"},
		{Name: "timeoutsmtpd", Kind: KindInt, Default: "1200", Readers: "smtpd", Meaning: "seconds for each line of a client", Show: "SMTP server data timeout is ", ShowEnd: " seconds"},
		{Name: "virtualdomains", Kind: KindMap, Readers: "send", Meaning: "addresses and domains of users", Show: "Virtual domain: ", ShowNone: "No virtual domains."},
	}
}

// FileNamed finds a control file in the table.
func FileNamed(name string) (File, bool) {
	for _, f := range Files() {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}
