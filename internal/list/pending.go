package list

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/fs"
)

// This file keeps posts that wait for a moderator, or for their author's word that they are theirs
// (qmail reference 23.7), and asks for that. A post's file gets its name once those who decide have been asked;
// until then it has a name with a dot before it, which nobody looks at. What becomes of it: see decide.go.

// Pending is a post that must not go out at once.
type Pending struct {
	List    *Folder
	Content io.ReadSeeker
	Sender  string
	Shell   bool // there is no envelope
	Confirm bool // ask the author, not the moderators
	// ModeratorsOnly refuses posts of all others.
	ModeratorsOnly bool
	HeaderOnly     bool // show moderators the header alone
	PID            int
	Queue          Queue
}

// Moderated reports whether posts wait for a moderator.
func (f *Folder) Moderated() bool { return f.Is("modpost") }

var errNotModerator = refuse("I'm sorry, you are not allowed to post messages to this list (#5.7.2)")

// Store keeps a post and asks for a decision.
func (p *Pending) Store(ctx context.Context) (id string, err error) {
	f := p.List
	if !p.Shell && (p.Sender == "" || p.Sender == "#@[]") {
		return "", errBounce
	}
	if p.Confirm {
		if err := CheckRequester(p.Sender); err != nil {
			return "", err
		}
	}
	table, err := p.moderators()
	if err != nil {
		return "", err
	}
	moderator, isMod, err := table.Find(p.Sender)
	switch {
	case err != nil:
		return "", err
	case !isMod && p.ModeratorsOnly:
		return "", errNotModerator
	}
	var to []string
	switch {
	case p.Confirm:
		to = []string{p.Sender}
	case isMod:
		to = []string{moderator}
	default:
		if to, err = table.All(); err != nil {
			return "", err
		}
	}
	fields, _, err := readHeader(p.Content)
	if err != nil {
		return "", err
	}
	head, err := p.head(fields)
	if err != nil {
		return "", err
	}
	lock, err := f.Lock(ctx, "mod/lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	return p.ask(ctx, to, head, fields)
}

func (p *Pending) moderators() (*Table, error) {
	name, _, err := p.List.Line("modpost")
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = "mod"
	}
	return p.List.Table(name)
}

// head is what goes before the message in its file; it refuses what comes from a list, or around.
func (p *Pending) head(fields []string) (string, error) {
	mark := "Delivered-To: moderator for " + p.List.Local + "@" + p.List.Host + "\n"
	if p.Confirm {
		mark = "Delivered-To: confirm to " + p.List.Local + "@" + p.List.Host + "\n"
	}
	for _, field := range fields {
		name, _ := fieldName(field)
		switch {
		case field == mark:
			return "", errLoop
		case name == "mailing-list":
			return "", errListed
		}
	}
	sender := strings.NewReplacer("\n", "_", "\x00", "_").Replace(p.Sender)
	return "Return-Path: <" + sender + ">\n" + mark, nil
}

// ask stores the post, asks, and gives the post its name.
func (p *Pending) ask(ctx context.Context, to []string, head string, fields []string) (string, error) {
	f := p.List
	folder, yes, no := "mod/pending/", "accept", "reject"
	if p.Confirm {
		folder, yes, no = "mod/unconfirmed/", "confirm", "discard"
	}
	base, err := f.freeName(folder, p.PID)
	if err != nil {
		return "", err
	}
	for _, dir := range []string{"mod", strings.TrimSuffix(folder, "/")} {
		if err := f.mkdir(dir); err != nil {
			return "", err
		}
	}
	err = f.replace(folder+"."+base, folder+"."+base+".n", 0o700, func(w io.Writer) error {
		if _, err := p.Content.Seek(0, io.SeekStart); err != nil {
			return unreadable(err)
		}
		b := bufio.NewWriter(w)
		b.WriteString(head) // the writer keeps its first error
		if _, err := io.Copy(b, p.Content); err != nil {
			return err
		}
		return b.Flush()
	})
	if err != nil {
		return "", err
	}
	proof := base + "." + Cookie(f.Key, base, "", 'a')
	address := func(what string) string { return f.Local + "-" + what + "-" + proof + "@" + f.Host }
	l, err := p.request(head, fields, address(yes), address(no))
	if err != nil {
		return "", err
	}
	sender := f.returnSender()
	if p.Confirm {
		sender = address(no) // what cannot reach its author is not sent
	}
	id, err := p.Queue(ctx, sender, to, l.message())
	if err != nil {
		return "", errors.Join(err, f.remove(folder+"."+base))
	}
	if err := f.fs.Rename(folder+"."+base, folder+base); err != nil {
		return "", f.failed("create", folder+base, err)
	}
	if err := f.fs.SyncDir(strings.TrimSuffix(folder, "/")); err != nil {
		return "", f.failed("create", folder+base, err)
	}
	return id, nil
}

// freeName returns a name TIME.PID that no post has.
func (f *Folder) freeName(folder string, pid int) (string, error) {
	for now, n := f.Now().Unix(), int64(0); n < 1000; n++ {
		base := strconv.FormatInt(now+n, 10) + "." + strconv.Itoa(pid)
		if _, err := f.fs.Stat(folder + base); errors.Is(err, fs.ErrNotExist) {
			return base, nil
		}
	}
	return "", broken("unable to create unique message file name in %s", f.path(folder))
}

// request writes to those who decide.
func (p *Pending) request(head string, fields []string, yes, no string) (*letter, error) {
	f := p.List
	l := f.newLetter()
	l.dated(p.PID, 0)
	text, subject := "mod-request", "MODERATE for "
	if p.Confirm {
		text, subject = "post-confirm", "Confirm post to "
		l.field("From", f.address(f.Local, "-owner"))
		l.field("To", quotedAddress(p.Sender))
	} else {
		l.field("From", quotedAddress(no))
		l.field("To", "moderators:;")
	}
	l.field("Reply-To", quotedAddress(yes))
	writeField(&l.late, "Subject", subject+f.quoted(f.Local)+"@"+f.Host)
	tags := &Tags{Target: yes, Confirm: no, When: f.Now()}
	for _, name := range []string{"top", text} {
		t, err := f.Text(name, tags)
		if err != nil {
			return nil, err
		}
		l.text.WriteString(t)
	}
	if p.HeaderOnly {
		l.attached = strings.NewReader(head + strings.Join(fields, ""))
		return l, nil
	}
	if _, err := p.Content.Seek(0, io.SeekStart); err != nil {
		return nil, unreadable(err)
	}
	l.attached = io.MultiReader(strings.NewReader(head), p.Content)
	return l, nil
}
