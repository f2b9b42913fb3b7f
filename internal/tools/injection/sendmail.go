package injection

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/tools/tool"
)

const sendmailUsage = "[ -t ] [ -f sender ] [ -F name ] [ -bm | -bp | -bs | -bt | -bv ] [ -v ] [ -q ] [ --timeout time ] [ --wait time ] [ recip ... ]"

// Exit codes of sendmail (sysexits.h).
const (
	exUsage       = 64
	exData        = 65
	exNoUser      = 67
	exUnavailable = 69
	exTemporary   = 75
	exPermission  = 77
)

// mailer is one run of sendmail: what its flags say.
type mailer struct {
	e       *tool.Env
	mode    byte // of -b; 'm' sends
	fromTo  bool // -t
	from    string
	hasFrom bool
	name    string // -F
	verbose bool
	flush   bool // -q
	timeout time.Duration
	notify  string
	ret     string
	envID   string
	choose  chooser
	args    []string
}

// withArgument are the flags that take one, glued to them or the next word. What programs give
// without need is read and not used.
const withArgument = "AbBCDefFhLMNoOprRVX"

// glued are the flags whose argument, where they have one, is glued to them.
const glued = "dqQEJ"

// parse reads the flags. An unknown one is named.
func (m *mailer) parse(args []string) (problem string) {
	for len(args) > 0 {
		a := args[0]
		if a == "--" {
			args = args[1:]
			break
		}
		if len(a) < 2 || a[0] != '-' {
			break
		}
		args = args[1:]
		if name, value, glued := strings.Cut(a, "="); name == "--timeout" || name == "--wait" {
			if !glued && len(args) > 0 {
				value, args = args[0], args[1:]
			}
			d, problem := parseWait(value)
			if problem != "" {
				return name + ": " + problem
			}
			m.bound(name, d)
			continue
		}
		for i := 1; i < len(a); i++ {
			c := a[i]
			value := a[i+1:]
			switch {
			case strings.IndexByte(withArgument, c) >= 0:
				if value == "" {
					if len(args) == 0 {
						return fmt.Sprintf("option -%c: want an argument", c)
					}
					value, args = args[0], args[1:]
				}
				i = len(a)
			case strings.IndexByte(glued, c) >= 0:
				i = len(a)
			}
			if p := m.flag(c, value); p != "" {
				return p
			}
		}
	}
	m.args = args
	return ""
}

// bound takes one of the flags with a duration.
func (m *mailer) bound(name string, d time.Duration) {
	if name == "--timeout" {
		m.timeout = d
		return
	}
	e := *m.e
	e.Environ = e.With(waitVariable, d.String())
	m.e = &e
}

// flag takes one flag.
func (m *mailer) flag(c byte, value string) (problem string) {
	switch c {
	case 't':
		m.fromTo = true
	case 'f', 'r':
		m.from, m.hasFrom = value, true
	case 'F':
		m.name = value
	case 'b':
		if value == "" || strings.IndexByte("mpstviaDdhHP", value[0]) < 0 || len(value) > 1 {
			return "option -b: there is no mode " + value
		}
		m.mode = value[0]
	case 'v':
		m.verbose = true
	case 'q':
		return m.queueFlag(value)
	case 'N':
		if !inject.Notifies(value) {
			return "option -N: want never, or some of success, failure and delay"
		}
		m.notify = strings.ToUpper(value)
	case 'R':
		switch strings.ToLower(value) {
		case "full", "hdrs":
			m.ret = strings.ToUpper(value)
		default:
			return "option -R: want full or hdrs"
		}
	case 'V':
		m.envID = value
	case 'I':
		m.mode = 'i'
	case 'A', 'B', 'C', 'D', 'e', 'h', 'L', 'M', 'o', 'O', 'p', 'X', 'd', 'Q', 'E', 'J', 'G', 'i', 'm', 'n', 's', 'U', 'x', 'c', 'T':
		// Taken and of no effect here: what they ask for is so anyway, or is the server's to settle.
	default:
		return fmt.Sprintf("there is no option -%c", c)
	}
	return ""
}

// queueFlag is -q: alone it flushes; with G, I, R or S it chooses what is flushed, or what -bp prints.
func (m *mailer) queueFlag(value string) (problem string) {
	if value == "" || value[0] == 'f' || value[0] == 'p' || value[0] >= '0' && value[0] <= '9' {
		m.flush = true
		return ""
	}
	if !m.choose.add(value) {
		return "option -q: want a time, or G, I, R or S and a text: -qRexample.test"
	}
	m.flush = true
	return ""
}

// sendmail is sendmail, as far as programs use it (qmail reference 12.8, 25).
func sendmail(ctx context.Context, e *tool.Env) int {
	m := &mailer{e: e, mode: 'm', timeout: 5 * time.Minute}
	if problem := m.parse(e.Args[1:]); problem != "" {
		return e.Fatal(exUsage, problem)
	}
	switch m.mode {
	case 'p':
		return m.list(ctx)
	case 's':
		if err := client(e).SMTP(ctx, "sendmail", e.In(), e.Out()); err != nil {
			fmt.Fprintf(e.Out(), "421 4.3.0 %s\r\n", tool.Printable(err.Error()))
			return exTemporary
		}
		return tool.OK
	case 'v', 't':
		return m.explain(ctx)
	case 'i':
		return newaliases(ctx, e)
	case 'd', 'D':
		return e.Fatal(exUsage, "this program is no server: run `postilion serve`")
	case 'm':
		if m.flush && len(m.args) == 0 && !m.fromTo {
			return m.flushQueue(ctx)
		}
		return m.send(ctx)
	}
	return e.Fatal(exUsage, fmt.Sprintf("option -b%c: not known here", m.mode))
}

// send queues the message.
func (m *mailer) send(ctx context.Context) int {
	if len(m.args) == 0 && !m.fromTo {
		return m.e.Fatal(exUsage, "Recipient names must be specified")
	}
	e := *m.e
	in := &injection{whose: argsOnly, args: m.args, asList: true, sender: m.from, hasFrom: m.hasFrom, notify: m.notify,
		env: inject.Envelope{Program: "sendmail", Ret: m.ret, EnvID: m.envID, Watch: m.verbose}}
	in.nobody = func() int { return m.e.Fatal(exUsage, "Recipient names must be specified") }
	if m.fromTo {
		in.whose = both
		in.nobody = func() int { return m.e.Fatal(exUsage, "No recipient addresses found in header") }
	}
	if m.hasFrom {
		e.Environ = m.author()
		in.sender = strings.TrimSuffix(strings.TrimPrefix(m.from, "<"), ">")
	}
	if m.name != "" {
		e.Environ = e.With("MAILNAME", m.name)
		e.Environ = e.Without("QMAILNAME")
	}
	w := newWatcher(m.e, m.timeout)
	if m.verbose {
		in.steps = w.step
		var cancel context.CancelFunc
		ctx, cancel = w.context(ctx)
		defer cancel()
	}
	o, code := in.run(ctx, &e)
	return m.exit(o, code, w)
}

// author sets who wrote the message from -f, so that a From field made here matches.
func (m *mailer) author() []string {
	e := *m.e
	for _, name := range []string{"QMAILNAME", "MAILNAME", "NAME", "QMAILHOST", "MAILHOST"} {
		e.Environ = e.Without(name)
	}
	user := strings.TrimSuffix(strings.TrimPrefix(m.from, "<"), ">")
	if user == "" {
		return e.Environ
	}
	if i := strings.LastIndexByte(user, '@'); i >= 0 {
		e.Environ = e.With("QMAILHOST", user[i+1:])
		user = user[:i]
	}
	return e.With("QMAILUSER", user)
}

// exit maps what became of the message to sendmail's exit codes.
func (m *mailer) exit(o *outcome, code int, w *watcher) int {
	switch {
	case o == nil && code == tool.Temporary:
		return exTemporary
	case o == nil && (code == tool.OK || code == exUsage):
		return code
	case o == nil:
		return exData
	case o.ok():
		if m.verbose {
			return w.end(o)
		}
		return tool.OK
	}
	o.fatal(m.e)
	if o.Text[0] == 'D' {
		return exUnavailable
	}
	return exTemporary
}

// explain is -bv and -bt.
func (m *mailer) explain(ctx context.Context) int {
	how := "verify"
	list := m.args
	if m.mode == 't' {
		how = "test"
		if len(list) == 0 {
			return m.testMode(ctx)
		}
	}
	if len(list) == 0 {
		return m.e.Fatal(exUsage, "Recipient names must be specified")
	}
	code, _ := m.ask(ctx, how, list)
	return code
}

// ask prints where addresses lead.
func (m *mailer) ask(ctx context.Context, how string, list []string) (code int, failed bool) {
	var out strings.Builder
	in := &injection{args: list, asList: true}
	j, err := injector(ctx, m.e)
	if err != nil {
		return m.e.Fatal(exTemporary, "unable to read controls: ", err), true
	}
	for _, a := range in.args {
		if to, ok := j.List(a); ok {
			for _, x := range to {
				out.WriteString(strings.ReplaceAll(x, "\n", " ") + "\n")
			}
			continue
		}
		return m.e.Fatal(exData, "unable to parse address: ", a), true
	}
	var text strings.Builder
	answer, err := client(m.e).Ask(ctx, inject.VerbRoute, how+"\n"+out.String(), &text)
	switch {
	case err != nil:
		return m.e.Fatal(exTemporary, err), true
	case !answer.OK():
		return m.e.Fatal(exUnavailable, answer.Text), true
	}
	io.WriteString(m.e.Out(), text.String())
	if strings.Contains(text.String(), "... User unknown\n") {
		return exNoUser, false
	}
	return tool.OK, false
}

// testMode is -bt: addresses are read line by line (qmail reference 25.3).
func (m *mailer) testMode(ctx context.Context) int {
	fmt.Fprint(m.e.Out(), "ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)\nEnter <ruleset> <address>\n> ")
	in, _ := m.e.Filter()
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" && !m.testLine(ctx, line) {
			return exTemporary
		}
		if err != nil {
			fmt.Fprintln(m.e.Out())
			return tool.OK
		}
		fmt.Fprint(m.e.Out(), "> ")
	}
}

// addressRulesets are the rulesets of sendmail's that are given an address. What they would say of
// it is not known apart here: each shows the whole way of the address.
var addressRulesets = map[string]bool{"canonify": true, "parse": true, "localaddr": true, "final": true, "check_rcpt": true, "check_mail": true, "check_compat": true}

// undefined returns the first ruleset of a list that gets no address, "" when each does.
func undefined(rulesets string) string {
	for name := range strings.SplitSeq(rulesets, ",") {
		if name == "" || strings.Trim(name, "0123456789") != "" && !addressRulesets[strings.ToLower(name)] {
			return name
		}
	}
	return ""
}

// testLine answers one line of -bt; false ends it.
func (m *mailer) testLine(ctx context.Context, line string) bool {
	words := strings.Fields(line)
	first := words[0]
	say := func(text string) bool {
		fmt.Fprintln(m.e.Out(), text)
		return true
	}
	switch {
	case first == "?":
		return say("RULESET ADDRESS, ADDRESS, /parse ADDRESS, /try MAILER ADDRESS: the way of the address; `postilion address test` tells more")
	case first == "/parse":
		words = words[1:]
	case first == "/try":
		words = words[min(2, len(words)):]
	case first[0] == '/':
		return say("Unknown \"/\" command " + tool.Printable(first[1:]))
	case strings.IndexByte("=$.-", first[0]) >= 0:
		return say("Unknown \"" + first[:1] + "\" command " + tool.Printable(first[1:]))
	case strings.Trim(first, "0123456789,") == "":
		words = words[1:] // 3,0 joe@example.test
	case len(words) > 1 && !strings.ContainsAny(first, "@<\"\\%!(") && first[len(first)-1] != ',':
		if name := undefined(first); name != "" {
			return say("Undefined ruleset " + tool.Printable(name))
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return say("No address!")
	}
	_, failed := m.ask(ctx, "test", []string{strings.Join(words, " ")})
	return !failed
}

// idsAtOnce is how many messages one question names: they fit what the server takes of one.
const idsAtOnce = 5000

// flushQueue is -q, of what was chosen where something was.
func (m *mailer) flushQueue(ctx context.Context) int {
	inputs := []string{""} // all
	if m.choose.any() {
		var chosen []string
		answer, err := Queue(ctx, m.e, func(w *Waiting) {
			if m.choose.chosen(w) {
				chosen = append(chosen, w.ID)
			}
		})
		if code := m.refused(answer, err); code != tool.OK {
			return code
		}
		inputs = nil
		for part := range slices.Chunk(chosen, idsAtOnce) {
			inputs = append(inputs, strings.Join(part, "\n"))
		}
	}
	tried := 0
	for _, input := range inputs {
		answer, err := client(m.e).Ask(ctx, inject.VerbFlush, input, io.Discard)
		if code := m.refused(answer, err); code != tool.OK {
			return code
		}
		n, err := strconv.Atoi(answer.Text)
		if err != nil {
			return m.e.Fatal(exTemporary, "the server answers ", answer.Text)
		}
		tried += n
	}
	if m.verbose {
		fmt.Fprintln(m.e.Out(), "the server tries what waits:", tried)
	}
	return tool.OK
}

// refused is the exit code of a question about the queue, OK when it was answered.
func (m *mailer) refused(answer inject.Answer, err error) int {
	switch {
	case err != nil:
		return m.e.Fatal(exTemporary, err)
	case answer.OK():
		return tool.OK
	case answer.Permanent():
		return m.e.Fatal(exPermission, answer.Text)
	}
	return m.e.Fatal(exTemporary, answer.Text)
}
