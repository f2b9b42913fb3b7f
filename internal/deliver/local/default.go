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
		i.Kind, i.Text = dotqmail.Mbox, o.spoolFolder()+"/"+strings.ReplaceAll(u.Name, "/", ":")
	case wordProcmail, wordMaildrop:
		i.Kind, i.Text, i.Preline = dotqmail.Program, o.DefaultDelivery, true
	default:
		return nil, false
	}
	return []Instruction{i}, true
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
	list, problem := dotqmail.Parse("default_delivery", []byte(o.DefaultDelivery), false)
	switch {
	case problem != nil:
		return problem
	case len(list) == 1 && list[0].Kind == dotqmail.Forward && !strings.ContainsAny(list[0].Text, "@-"):
		return fmt.Errorf("default_delivery: %q would send everybody's mail to one address: want maildir, mbox, spool, procmail, maildrop, or lines of a .qmail file", o.DefaultDelivery)
	}
	return nil
}
