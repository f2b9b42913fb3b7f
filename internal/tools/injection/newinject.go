package injection

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/qmail/mess"
	"github.com/postilion/postilion/internal/qmail/mess822"
	"github.com/postilion/postilion/internal/tools/tool"
)

const newInjectUsage = "[ -nNaAhHFIMRS ] [ -f sender ] [ recip ... ]"

// newInject is mess822's new-inject (qmail reference 17.2).
func newInject(ctx context.Context, e *tool.Env) int {
	opts, args, ok := tool.GetOpt(e.Args[1:], "aAhHnNf:FIMRS")
	if !ok {
		return e.UsageError(newInjectUsage)
	}
	m, err := modern(ctx, e)
	if err != nil {
		return e.Fatal(tool.Temporary, err)
	}
	var who whose
	var print bool
	sender, hasSender := "", false
	flags := strings.ToUpper(e.Getenv("QMAILINJECT"))
	for _, o := range opts {
		switch o.Name {
		case 'a':
			who = argsOnly
		case 'A':
			who = argsElseHeader
		case 'h':
			who = headerOnly
		case 'H':
			who = both
		case 'n', 'N':
			print = o.Name == 'n'
		case 'f':
			sender, hasSender = o.Value, true
		default:
			flags += string(o.Name)
		}
	}
	m.DropFrom, m.DropMessageID, m.DropReturnPath = strings.Contains(flags, "F"), strings.Contains(flags, "I"), strings.Contains(flags, "S")
	verp := mess.VERP{Message: strings.Contains(flags, "M"), Recipient: strings.Contains(flags, "R")}

	r := bufio.NewReaderSize(input(e), 32<<10)
	fields, end, err := mess822.ReadHeader(r)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read message: ", err)
	}
	c := m.Complete(fields)
	env := inject.Envelope{Program: "new-inject"}
	switch {
	case hasSender && sender == "":
	case hasSender:
		env.From = m.Rules.Address(sender)
	case c.HasSender:
		env.From = c.Sender
	default:
		user, host := cmp.Or(e.Getenv("QMAILSUSER"), m.User), cmp.Or(e.Getenv("QMAILSHOST"), m.Host)
		env.From = verp.Sender(m.Rules.Address(user+"@"+host), e.Time(), os.Getpid())
	}
	for _, a := range newRecipients(who, args, m, c) {
		env.To = append(env.To, inject.Recipient{To: a})
	}
	if end == "\n" {
		end = ""
	}
	content := io.MultiReader(strings.NewReader(c.Text+"\n"+end), r)
	if print {
		return printNew(e, &env, content)
	}
	o := handOff(ctx, e, &env, content, nil)
	if !o.ok() {
		return o.fatal(e)
	}
	return tool.OK
}

func newRecipients(who whose, args []string, m *mess.Modern, c *mess.Complete) (to []string) {
	if who != headerOnly {
		for _, a := range args {
			to = append(to, m.Rules.Address(a))
		}
	}
	if who == headerOnly || who == both || who == argsElseHeader && len(args) == 0 {
		to = append(to, c.To...)
	}
	return to
}

// printNew is -n.
func printNew(e *tool.Env, env *inject.Envelope, content io.Reader) int {
	w := bufio.NewWriter(e.Out())
	w.WriteString("Envelope-Sender: " + cmp.Or(mess.QuoteAddress(env.From), "<>") + "\nEnvelope-Recipients:\n")
	for i := range env.To {
		w.WriteString("  " + mess.QuoteAddress(env.To[i].To) + ",\n")
	}
	_, err := io.Copy(w, content)
	if err = errors.Join(err, w.Flush()); err != nil {
		return e.Fatal(tool.Temporary, "unable to write: ", err)
	}
	return tool.OK
}

// modern reads the controls and the environment of new-inject and ofmipd.
func modern(ctx context.Context, e *tool.Env) (*mess.Modern, error) {
	j, err := injector(ctx, e)
	if err != nil {
		return nil, err
	}
	m := &mess.Modern{IDHost: j.IDHost, ID: itoa(os.Getpid()), User: j.User, Host: j.Host, Name: j.Name, Now: e.Time(), Rules: j.DefaultRules()}
	file := cmp.Or(e.Getenv("QMAILREWRITEFILE"), e.QmailHome()+"/control/rewrite")
	p, err := tool.ReadAtMost(e.Path(file), maxHeader)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return m, nil
	case err != nil:
		return nil, err
	}
	rules, faults := mess.ParseRules(file, p)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	m.Rules = rules
	return m, nil
}
