package local

import (
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
	"github.com/postilion/postilion/internal/route"
)

// This file is what is done for users who have no .qmail file, or an empty one.

// The words of Options.DefaultDelivery. Anything else is the lines of a .qmail file.
const (
	wordMaildir  = "maildir"
	wordMbox     = "mbox"
	wordSpool    = "spool"
	wordProcmail = "procmail"
	wordMaildrop = "maildrop"
)

// wordedDefault returns the instruction that DefaultDelivery's word stands for; false when it is
// no word.
func (o Options) wordedDefault(u *route.User) ([]Instruction, bool) {
	i := Instruction{Instruction: dotqmail.Instruction{Place: qmail.Place{File: "local.default_delivery"}}}
	switch o.DefaultDelivery {
	case "", wordMaildir:
		i.Kind, i.Text = dotqmail.Maildir, "./Maildir/"
	case wordMbox:
		i.Kind, i.Text = dotqmail.Mbox, "./Mailbox"
	case wordSpool:
		i.Kind, i.Text = dotqmail.Mbox, o.spoolFile(u)
	case wordProcmail, wordMaildrop:
		i.Kind, i.Text, i.Preline = dotqmail.Program, o.DefaultDelivery, true
	default:
		return nil, false
	}
	return []Instruction{i}, true
}

// lines returns DefaultDelivery as the lines of a .qmail file, of which the last may be the word spool.
func (o Options) lines(u *route.User) []byte {
	if before, ok := strings.CutSuffix(strings.TrimRight(o.DefaultDelivery, " \t\n"), "\n"+wordSpool); ok {
		return []byte(before + "\n" + o.spoolFile(u))
	}
	return []byte(o.DefaultDelivery)
}

// spoolFile is the user's mailbox among those of the host.
func (o Options) spoolFile(u *route.User) string {
	return o.spoolFolder() + "/" + strings.ReplaceAll(u.Name, "/", ":")
}

func (o Options) spoolFolder() string {
	if o.MailSpool == "" {
		return "/var/mail"
	}
	return o.MailSpool
}

func (o Options) programPath() string {
	if o.ProgramPath == "" {
		return "/var/qmail/bin:/usr/local/bin:/usr/bin:/bin"
	}
	return o.ProgramPath
}

// checkDefault tells what is wrong with DefaultDelivery.
func (o Options) checkDefault() error {
	if _, word := o.wordedDefault(&route.User{}); word {
		return nil
	}
	list, problem := dotqmail.Parse("default_delivery", o.lines(&route.User{Name: "user"}), false)
	switch {
	case problem != nil:
		return problem
	case len(list) == 1 && list[0].Kind == dotqmail.Forward && !strings.ContainsAny(list[0].Text, "@-"):
		return fmt.Errorf("default_delivery: %q would send everybody's mail to one address: want maildir, mbox, spool, procmail, maildrop, or lines of a .qmail file", o.DefaultDelivery)
	}
	return nil
}
