package list

import (
	"context"
	"io"
	"strconv"
	"strings"
	"time"
)

// CookieLife is how long a confirmation can be answered.
const CookieLife = 1_000_000 * time.Second

// ManageOptions are what a list's owner decides about commands.
type ManageOptions struct {
	NoSubConfirm     bool // subscribe without asking back
	NoUnsubConfirm   bool // unsubscribe without asking back
	ModerateUnsub    bool // on lists with moderated subscription, moderators decide about leaving too
	ModeratorsList   bool // moderators may read the list of subscribers and the log
	ModeratorsEdit   bool // moderators may change texts by mail
	NoGet            bool // no messages out of the archive
	NoBottom         bool // answer without instructions and without the request
	Quiet            bool // tell nobody that an unconfirmed command was carried out
	CopyLines        int  // lines of a request's body that go into the answer; 0 means none
	TellOwner        int  // 1 for failures of unsubscribing, 2 for all changes
	NoAuthorsInLog   bool // leave From fields out of the log
	ListIsNotVisible bool // the list answers moderators alone
}

// ManageDefaults returns what the files in the list's folder say.
func (f *Folder) ManageDefaults() (o ManageOptions, err error) {
	o.NoSubConfirm, o.NoUnsubConfirm = f.Is("nosubconfirm"), f.Is("nounsubconfirm")
	o.ModeratorsList, o.ModeratorsEdit, o.NoBottom = f.Is("modcanlist"), f.Is("modcanedit"), f.Is("omitbottom")
	o.ListIsNotVisible = !f.Is("public")
	line, _, err := f.Line("copylines")
	if err != nil {
		return o, err
	}
	o.CopyLines, _ = strconv.Atoi(line)
	return o, nil
}

// Request is a mail to a command's address: LOCAL-Action@HOST.
type Request struct {
	ManageOptions
	List    *Folder
	Sender  string // who it is from, see RealSender
	Action  string // what follows LOCAL-, as it was written
	Content io.ReadSeeker
	PID     int
	Queue   Queue
}

// refusals of requests.
var (
	errAnonymous  = refuse("I do not reply to senders without host names (#5.7.2)")
	errListed     = refuse("message already has a Mailing-List header (maybe I should be a sublist) (#5.7.2)")
	errNotPublic  = refuse("Sorry, I've been told to reject all requests (#5.7.2)")
	errModerators = refuse("Command allowed only to moderators (#5.7.1)")
	errNoCommand  = refuse("Command not available (#5.1.1)")
	errCookie     = refuse("Illegal or outdated moderator request (#5.7.1)")
	errAddress    = refuse("I don't accept messages at this address (#5.1.1)")
	errLoop       = refuse("this message is looping: it already has my Delivered-To line (#5.4.6)")
)

// CheckRequester refuses senders that nothing can be sent to.
func CheckRequester(sender string) error {
	switch {
	case sender == "" || sender == "#@[]":
		return errBounce
	case strings.IndexByte(sender, '@') < 0:
		return errAnonymous
	}
	return CheckAddress(sender)
}

// command is a request on its way.
type command struct {
	*Request
	f        *Folder
	verb     string // in lower case; cookies of confirmations follow their verb's "."
	proof    string // TIME.COOKIE of a confirmation
	target   string
	local    string // the list's, or its digest's and so on
	shorten  int    // bytes of the key that a sub-list's cookies go without
	table    *Table
	modTable *Table
	isMod    bool
	remote   bool   // moderators act for others
	modSub   bool   // moderators decide about subscriptions
	mod      string // the moderator's address as it is stored
	fields   []string
	body     int64
	author   string // the From field of the request
	tags     Tags
	letter   *letter
	to       []string
}

// sublists are what may stand before a command, and by how many bytes their key is shorter.
var sublists = map[string]int{"digest": 1, "allow": 2, "deny": 3}

// Manage carries out the command that a mail was sent to (qmail reference 23.4). It returns the id of
// the answer, or what there is to note where nobody gets one.
func (r *Request) Manage(ctx context.Context) (id, note string, err error) {
	if err := CheckRequester(r.Sender); err != nil {
		return "", "", err
	}
	c := &command{Request: r, f: r.List, local: r.List.Local}
	if err := c.parse(); err != nil {
		return "", "", err
	}
	if err := c.permit(); err != nil {
		return "", "", err
	}
	if c.fields, c.body, err = readHeader(r.Content); err != nil {
		return "", "", err
	}
	if err := c.begin(); err != nil {
		return "", "", err
	}
	if note, err = c.run(ctx); err != nil || note != "" {
		return "", note, err
	}
	id, err = r.Queue(ctx, c.f.returnSender(), c.to, c.letter.message())
	return id, "", err
}

// parse takes the address apart: [digest-]verb[.proof][-box=host].
func (c *command) parse() (err error) {
	action, sub := c.Action, ""
	for name, shorten := range sublists {
		if len(action) >= len(name) && strings.EqualFold(action[:len(name)], name) {
			rest := action[len(name):]
			if !strings.HasPrefix(rest, "-") {
				return errAddress
			}
			action, sub, c.shorten = rest[1:], name, shorten
			c.local += "-" + name
			break
		}
	}
	if c.table, err = c.f.Table(sub); err != nil {
		return err
	}
	verb, target, named := strings.Cut(action, "-")
	c.verb, c.target = lowerASCII(verb), c.Sender
	for _, confirmation := range []string{"sc.", "uc.", "tc.", "vc.", "rc.", "wc."} {
		if strings.HasPrefix(verb, confirmation) {
			c.verb, c.proof = confirmation, verb[len(confirmation):]
		}
	}
	if named {
		c.target = Unverp(target)
		if err := CheckAddress(c.target); err != nil {
			if c.known() {
				return err
			}
			c.target = c.Sender // an address that is no command: there is help
		}
	}
	c.tags = Tags{Local: c.local, Target: c.target}
	return nil
}

// known reports whether the verb is a command whose target matters.
func (c *command) known() bool {
	switch c.verb {
	case "subscribe", "unsubscribe", "query", "sc.", "uc.", "tc.", "vc.", "rc.", "wc.":
		return true
	}
	return false
}

// permit finds out whether a moderator asks, and whether the asker may.
func (c *command) permit() error {
	modSub, hasModSub, err := c.f.Line("modsub")
	if err != nil {
		return err
	}
	remote, hasRemote, err := c.f.Line("remote")
	if err != nil {
		return err
	}
	c.modSub, c.remote = hasModSub || c.f.Is("modsub"), hasRemote || c.f.Is("remote")
	if c.modSub || c.remote {
		name := "mod"
		if modSub != "" {
			name = modSub
		} else if remote != "" {
			name = remote
		}
		if c.modTable, err = c.f.Table(name); err != nil {
			return err
		}
		// What these answer is secret, and goes to the target: who asks does not matter.
		who := c.Sender
		if word, _ := splitVerb(c.verb); c.table.name != "deny" && (word == "list" || word == "listn" || word == "log" || word == "get" || word == "help" || word == "edit") {
			who = c.target
		}
		if c.mod, c.isMod, err = c.modTable.Find(who); err != nil {
			return err
		}
	}
	if c.ListIsNotVisible && !(c.isMod && c.remote) && c.verb != "help" {
		return errNotPublic
	}
	if c.table.name == "deny" && !(c.isMod && c.remote) {
		return errModerators
	}
	return nil
}

// splitVerb parts a verb from what is written behind it: log.joe, get.12, get12, get_12.
func splitVerb(verb string) (word, rest string) {
	for i := range len(verb) {
		if c := verb[i]; c < 'a' || c > 'z' {
			return verb[:i], strings.TrimLeft(verb[i:], "._")
		}
	}
	return verb, ""
}

// begin writes the answer's header.
func (c *command) begin() error {
	l := c.f.newLetter()
	c.letter = l
	list := c.f.quoted(c.local)
	l.field("List-Help", "<mailto:"+list+"-help@"+c.f.Host+">")
	l.field("List-Post", "<mailto:"+list+"@"+c.f.Host+">")
	l.field("List-Subscribe", "<mailto:"+list+"-subscribe@"+c.f.Host+">")
	l.dated(c.PID, 0)
	from := "-help"
	if c.verb == "help" {
		from = "-return-" // two programs that answer each other stop here
	}
	l.field("From", c.f.address(c.local, from))
	l.field("To", quotedAddress(c.target))
	responder := "Delivered-To: responder for " + c.local + "@" + c.f.Host
	l.field("Delivered-To", responder[len("Delivered-To: "):])
	for _, field := range c.fields {
		name, value := fieldName(field)
		switch name {
		case "mailing-list":
			return errListed
		case "delivered-to", "received":
			if field == responder+"\n" {
				return errLoop
			}
			l.head.WriteString(field)
		case "from":
			if c.author == "" {
				c.author = oneLine(value)
			}
		}
	}
	return nil
}

// run carries the command out and completes the answer; note is set where there is none.
func (c *command) run(ctx context.Context) (note string, err error) {
	switch word, rest := splitVerb(c.verb); {
	case c.verb == "subscribe":
		return c.subscribe(ctx)
	case c.verb == "unsubscribe":
		return c.unsubscribe(ctx)
	case c.proof != "" || strings.HasSuffix(c.verb, "c.") && len(c.verb) == 3:
		return c.confirmed(ctx)
	case c.verb == "list", c.verb == "listn":
		return "", c.list()
	case word == "log":
		return "", c.log(rest)
	case word == "get" && !c.NoGet:
		return "", c.get(rest)
	case word == "edit":
		return "", c.edit(rest)
	case word == "ed":
		return "", c.edited(ctx, rest)
	case word == "query":
		_, on, err := c.table.Find(c.target)
		if err != nil {
			return "", err
		}
		text := "unsub-nop"
		if on {
			text = "sub-nop"
		}
		to := c.target
		if c.isMod {
			to = c.mod
		}
		return "", c.answer("Subscription status on ", []string{text}, to)
	case word == "info":
		return "", c.answer("Information for ", []string{"info"}, c.target)
	case word == "faq":
		return "", c.answer("FAQ for ", []string{"faq"}, c.target)
	case c.isMod && c.verb == "help":
		return "", c.answer("Moderator help for ", []string{"mod-help", "help"}, c.mod)
	}
	c.NoBottom = false // it is what was asked for
	return "", c.answer("Help for ", []string{"help"}, c.Sender)
}

// answer completes a letter of texts.
func (c *command) answer(subject string, texts []string, to ...string) error {
	writeField(&c.letter.late, "Subject", subject+c.f.quoted(c.local)+"@"+c.f.Host)
	for _, name := range append([]string{"top"}, texts...) {
		if err := c.say(name); err != nil {
			return err
		}
	}
	c.to = to
	return c.bottom()
}

func (c *command) say(name string) error {
	text, err := c.f.Text(name, &c.tags)
	c.letter.text.WriteString(text)
	return err
}

// bottom writes what stands below answers: the commands and the request.
func (c *command) bottom() error {
	if c.NoBottom {
		return nil
	}
	if err := c.say("bottom"); err != nil {
		return err
	}
	if c.target != c.Sender && c.isModerators() {
		c.letter.closed.WriteString("<suppressed>\n") // who decided stays between moderators
		return nil
	}
	c.letter.enclose(c.Sender, c.fields)
	if c.CopyLines <= 0 {
		return nil
	}
	if _, err := c.Content.Seek(c.body, io.SeekStart); err != nil {
		return unreadable(err)
	}
	text, err := io.ReadAll(io.LimitReader(c.Content, maxEnclosed))
	if err != nil {
		return unreadable(err)
	}
	lines := strings.SplitAfterN(string(text), "\n", c.CopyLines+1)
	c.letter.closed.WriteString("\n" + strings.Join(lines[:min(len(lines), c.CopyLines)], ""))
	return nil
}

// key is what the cookies of this table are made with.
func (c *command) key() []byte { return c.f.Key[:max(0, len(c.f.Key)-c.shorten)] }

// ask asks somebody to confirm, by an answer to an address that only they learn of.
func (c *command) ask(verb, text string, to ...string) (string, error) {
	when := strconv.FormatInt(c.f.Now().Unix(), 10)
	c.tags.When, c.tags.Action = c.f.Now(), verb[:1]
	c.tags.Cookie = Cookie(c.key(), when, c.target, verb[0])
	c.tags.Confirm = c.local + "-" + verb + when + "." + c.tags.Cookie + "-" + Verp(c.target) + "@" + c.f.Host
	writeField(&c.letter.late, "Reply-To", quotedAddress(c.tags.Confirm))
	subject := map[string]string{
		"sc.": "confirm subscribe to ", "uc.": "confirm unsubscribe from ",
		"tc.": "CONFIRM subscribe to ", "rc.": "CONFIRM subscribe to ",
		"vc.": "CONFIRM unsubscribe from ", "wc.": "CONFIRM unsubscribe from ",
	}[verb]
	return "", c.answer(subject, []string{text}, to...)
}

// askModerators asks all moderators.
func (c *command) askModerators(verb, text string) (string, error) {
	all, err := c.modTable.All()
	if err != nil {
		return "", err
	}
	return c.ask(verb, text, all...)
}

func (c *command) subscribe(ctx context.Context) (string, error) {
	_, on, err := c.table.Find(c.target)
	switch {
	case err != nil:
		return "", err
	case on:
		return "", c.answer("Already subscribed to ", []string{"sub-nop"}, c.target)
	case c.isMod && c.remote:
		return c.ask("rc.", "mod-sub-confirm", c.mod)
	case !c.NoSubConfirm:
		return c.ask("sc.", "sub-confirm", c.target)
	case c.modSub:
		return c.askModerators("tc.", "mod-sub-confirm")
	}
	return c.add(ctx, "+")
}

func (c *command) unsubscribe(ctx context.Context) (string, error) {
	_, on, err := c.table.Find(c.target)
	switch {
	case err != nil:
		return "", err
	case !on:
		return "", c.answer("Not subscribed to ", []string{"unsub-nop"}, c.target)
	case !c.NoUnsubConfirm && c.isMod && c.remote:
		return c.ask("wc.", "mod-unsub-confirm", c.mod)
	case !c.NoUnsubConfirm:
		return c.ask("uc.", "unsub-confirm", c.target)
	case c.ModerateUnsub && c.modSub:
		return c.askModerators("vc.", "mod-unsub-confirm")
	}
	return c.remove(ctx, "-")
}

// valid reports whether the confirmation is one that the list has asked for, and fresh.
func (c *command) valid() bool {
	when, cookie, _ := strings.Cut(c.proof, ".")
	sec, err := strconv.ParseInt(when, 10, 63)
	return err == nil && c.f.fresh(sec, CookieLife) && cookie == Cookie(c.key(), when, c.target, c.verb[0])
}

// confirmed carries out what was confirmed, or asks anew.
func (c *command) confirmed(ctx context.Context) (string, error) {
	valid, byMod := c.valid(), c.isMod && c.remote
	switch c.verb {
	case "sc.":
		switch {
		case !valid:
			return c.ask("sc.", "sub-bad", c.target)
		case c.modSub && !(c.isMod && strings.EqualFold(c.Sender, c.target)):
			return c.askModerators("tc.", "mod-sub-confirm")
		}
		return c.add(ctx, "+")
	case "uc.":
		switch {
		case !valid:
			return c.ask("uc.", "unsub-bad", c.target)
		case c.ModerateUnsub && c.modSub:
			return c.askModerators("vc.", "mod-unsub-confirm")
		}
		return c.remove(ctx, "-")
	case "tc.", "rc.":
		switch {
		case !valid && !byMod:
			return "", errCookie
		case !valid:
			return c.ask(c.verb, "sub-bad", c.mod)
		}
		return c.add(ctx, "+mod")
	}
	switch {
	case !valid && !byMod:
		return "", errCookie
	case !valid:
		return c.ask(c.verb, "unsub-bad", c.mod)
	}
	return c.remove(ctx, "-mod")
}

// isModerators reports whether a moderator's answer brought the change about.
func (c *command) isModerators() bool {
	return len(c.verb) == 3 && strings.Contains("tc.rc.vc.wc.", c.verb)
}

// add subscribes the target and tells it.
func (c *command) add(ctx context.Context, event string) (string, error) {
	comment := c.author
	if c.NoAuthorsInLog || c.isModerators() {
		comment = ""
	}
	if c.verb == "tc." {
		event = "+" // as ezmlm's log has it: "+mod" is what a moderator began
	}
	added, err := c.table.Add(ctx, c.target, event, comment)
	switch {
	case err != nil:
		return "", err
	case c.shorten > 1: // nobody gets told of allow and deny
		return "target is now in " + c.table.name + ": " + c.target, nil
	case !added && c.verb == "tc.":
		return "target is already a subscriber", nil
	case !added:
		return "", c.answer("Already subscribed to ", []string{"sub-nop"}, c.target)
	}
	leave := mailto(c.local + "-unsubscribe-" + Verp(c.target))
	writeField(&c.letter.late, "List-Unsubscribe", "<mailto:"+leave+"@"+c.f.Host+">")
	c.tags.Confirm = c.local + "-unsubscribe-" + Verp(c.target) + "@" + c.f.Host
	return c.done("WELCOME to ", "sub-ok", true)
}

// remove unsubscribes the target and tells it.
func (c *command) remove(ctx context.Context, event string) (string, error) {
	if c.verb == "vc." {
		event = "-"
	}
	removed, err := c.table.Remove(ctx, c.target, event)
	switch {
	case err != nil:
		return "", err
	case c.shorten > 1:
		return "target is no longer in " + c.table.name + ": " + c.target, nil
	case !removed && c.isModerators() && c.modSub:
		return "target is not a subscriber", nil
	case !removed && c.isModerators():
		return "", c.answer("Not subscribed to ", []string{"unsub-nop"}, c.Sender)
	case !removed:
		err = c.answer("Not subscribed to ", []string{"unsub-nop"}, c.target)
		if c.TellOwner > 0 {
			c.to = append(c.to, c.owner())
		}
		return "", err
	}
	return c.done("GOODBYE from ", "unsub-ok", false)
}

func (c *command) owner() string { return c.f.Local + "-owner@" + c.f.Host }

// done tells the target what has become of it; who asked for it, if it was a moderator, is not
// shown.
func (c *command) done(subject, text string, added bool) (string, error) {
	texts := []string{text}
	if c.isModerators() {
		texts = append(texts, "mod-sub")
	}
	err := c.answer(subject, texts, c.target)
	asked := c.isModerators() || added && !c.NoSubConfirm || !added && !c.NoUnsubConfirm
	if c.Quiet && (!asked || c.isModerators()) {
		c.to = nil
	}
	if c.TellOwner > 1 {
		c.to = append(c.to, c.owner())
	}
	if len(c.to) == 0 && err == nil {
		return "done, and told nobody: " + c.target, nil
	}
	return "", err
}
