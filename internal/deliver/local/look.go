package local

import (
	"context"
	"errors"
	iofs "io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// This file finds the instructions of an address: what would be done is known before anything is.

// maxDotQmail is the largest .qmail file that is obeyed, in bytes.
const maxDotQmail = 1 << 20

// Modes that refuse a home or its instructions (qmail reference 1.3, 9.1, 9.3).
const (
	othersWrite fs.FileMode = 0o002
	ownerRuns   fs.FileMode = 0o100
)

// Instruction is a line that delivers.
type Instruction struct {
	dotqmail.Instruction
	// Preline gives a program the lines UFLINE, RPLINE and DTLINE before the message.
	Preline bool `json:",omitempty"`
}

// Where is the file and line.
func (i *Instruction) Where() string { return i.Place.String() }

// String is the line that qmail-local -n prints.
func (i *Instruction) String() string {
	text := i.Text
	if i.Preline {
		text = "preline " + text
	}
	return i.Kind.String() + " " + text
}

// Plan is what a delivery for a user would do.
type Plan struct {
	File         string // the file that decided, in the user's home or of an alias; "" for the default delivery
	Default      bool   // the default delivery decides: there is no file, or an empty one
	Instructions []Instruction
	Sender       string // the reverse-path of what is sent on

	found    dotqmail.Name
	standing *deliver.Standing // where the file decides; nil where it may have changed a moment ago
}

// Plan tells what a delivery to the user would do now, a step for each instruction, without doing
// it: qmail-local -n. The error is the *reason.Error with which it would end before its first
// instruction.
func (t *Target) Plan(ctx context.Context, u route.User) ([]route.Step, error) {
	p, err := t.users.look(ctx, &u, mail.Address{Local: "sender", Domain: "example.invalid"}, nil, &guess{})
	if err != nil {
		return nil, err
	}
	return p.steps(&u), nil
}

// steps words a plan.
func (p *Plan) steps(u *route.User) []route.Step {
	at := func(where qmail.Place) string {
		if where.File == p.File && len(u.Instructions) == 0 {
			where.File = path.Join(u.Home, where.File)
		}
		return where.String()
	}
	first := route.Step{What: "instructions", Where: at(qmail.Place{File: p.File}), Result: "found"}
	switch {
	case p.File == "":
		first.Where, first.Result = "local.default_delivery", "there is no .qmail file: the default delivery"
	case p.Default:
		first.Result = "empty: the default delivery"
	case p.found.HasDefault:
		first.Result = "found, DEFAULT is " + strconv.Quote(p.found.Default)
	}
	steps := []route.Step{first}
	var did [3]int
	for i := range p.Instructions {
		x := &p.Instructions[i]
		did[map[dotqmail.Kind]int{dotqmail.Forward: 1, dotqmail.Program: 2}[x.Kind]]++
		step := route.Step{What: x.String(), Where: at(x.Place)}
		if len(u.Instructions) == 0 {
			step.Result = x.Doubt()
		}
		steps = append(steps, step)
	}
	last := route.Step{What: "did " + didText(did[0], did[1], did[2])}
	if did[1] > 0 && p.Sender != "sender@example.invalid" {
		last.Result = "forwards have the sender " + p.Sender
	}
	return append(steps, last)
}

func didText(files, forwards, programs int) string {
	return strconv.Itoa(files) + "+" + strconv.Itoa(forwards) + "+" + strconv.Itoa(programs)
}

// Exists returns nil when mail to the user finds instructions, the *reason.Error that refuses the
// address for good when it does not, and a temporary one when nobody can tell.
func (t *Target) Exists(ctx context.Context, u route.User) error {
	if _, err := t.users.look(ctx, &u, mail.Address{}, nil, &guess{}); err != nil {
		return err
	}
	return nil
}

// look makes the checks of qmail reference 9.1 in their order, loops among them where it is given,
// and reads the instructions. What is likely is asked for with it, and learnt for the next time.
func (u *users) look(ctx context.Context, user *route.User, sender mail.Address, loops func() *reason.Error, likely *guess) (*Plan, *reason.Error) {
	who := become(user)
	switch {
	case u.service == nil:
		return nil, reason.NoSystemUsers
	case user.UID == 0:
		return nil, reason.DeliverAsRoot
	case !strings.HasPrefix(user.Home, "/"):
		return nil, reason.HomeNotAbsolute
	}
	if loops == nil {
		loops = func() *reason.Error { return nil }
	}
	if len(user.Instructions) > 0 {
		if err := loops(); err != nil {
			return nil, err
		}
		return aliasPlan(user, sender)
	}
	names := dotqmail.Search(user.Dash, user.Ext)
	found, err := u.search(ctx, user, who, names, likely)
	if err != nil && found.Home == 0 {
		return nil, err
	}
	switch {
	case found.Home&othersWrite != 0:
		return nil, reason.HomeWritable
	case found.Home&iofs.ModeSticky != 0:
		return nil, reason.HomeSticky
	}
	if err := loops(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	plan, err := u.read(user, sender, names, &found)
	if likely.address != "" && found.File == nil {
		u.memory.learn(likely.address, who, &found, plan)
	}
	return plan, err
}

// search asks the runas service, once.
func (u *users) search(ctx context.Context, user *route.User, who runas.User, names []dotqmail.Name, likely *guess) (runas.Found, *reason.Error) {
	owner, ownerDefault := dotqmail.Owners(user.Dash, user.Ext)
	s := runas.Search{Names: make([]string, 0, len(names)), Limit: maxDotQmail, Settle: u.opts.settle()}
	for i := range names {
		s.Names = append(s.Names, names[i].File)
	}
	s.Exist = []string{owner, ownerDefault}
	likely.ask(&s)
	found, err := u.service.Search(ctx, who, s)
	likely.tmp.File = found.File
	if err == nil {
		return found, nil
	}
	if e, ok := errors.AsType[*reason.Error](err); ok {
		return found, e
	}
	if p, ok := errors.AsType[*iofs.PathError](err); ok && p.Path != who.Home {
		return found, reason.DotQmailUnreadable.With(p.Path, errnoText(err)).Because(err)
	}
	return found, reason.HomeUnreachable.With(user.Home, errnoText(err)).Because(err)
}

// read makes the plan of what was found.
func (u *users) read(user *route.User, sender mail.Address, names []dotqmail.Name, found *runas.Found) (*Plan, *reason.Error) {
	p := &Plan{Sender: sender.String()}
	switch {
	case found.Name == "" && user.Dash != "":
		return nil, reason.NoDotQmail
	case found.Name != "" && found.Mode&othersWrite != 0:
		return nil, reason.DotQmailWritable
	case found.Size > maxDotQmail:
		return nil, reason.DotQmailTooBig.With(found.Name, strconv.Itoa(maxDotQmail))
	}
	for i := range names {
		if names[i].File == found.Name {
			p.found = names[i]
			break
		}
	}
	if len(found.Exist) == 2 {
		p.Sender = dotqmail.NewSender(p.Sender, user.Local, user.Host, dotqmail.OwnerFiles{Owner: found.Exist[0], Default: found.Exist[1]})
		if found.Witness != "" {
			p.standing = &deliver.Standing{File: found.Name, Owner: found.Exist[0], OwnerDefault: found.Exist[1], Witness: found.Witness}
		}
	}
	p.File = found.Name
	content, forwardOnly := found.Content, found.Mode&ownerRuns != 0
	if len(content) == 0 {
		p.Default = true
		if own, ok := u.opts.wordedDefault(user); ok {
			p.Instructions = own
			return p, nil
		}
		content, forwardOnly = u.opts.lines(user), false
	}
	file := found.Name
	if p.Default {
		file = "local.default_delivery"
	}
	list, problem := dotqmail.Parse(file, content, forwardOnly)
	if problem != nil {
		return nil, problemError(problem)
	}
	p.Instructions = make([]Instruction, len(list))
	for i := range list {
		p.Instructions[i].Instruction = list[i]
	}
	return p.checked()
}

// checked refuses a plan with a forward to what is no address, before any of its lines is carried out.
func (p *Plan) checked() (*Plan, *reason.Error) {
	for i := range p.Instructions {
		x := &p.Instructions[i]
		switch {
		case x.Kind != dotqmail.Forward:
		case strings.ContainsFunc(x.Text, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return nil, reason.DotQmailBadForward.With(x.Where())
		case len(x.Text) > maxForward:
			return nil, reason.DotQmailLongForward.With(x.Where(), strconv.Itoa(maxForward))
		}
	}
	return p, nil
}

// problemError words what keeps a file from being obeyed. None of its lines is carried out, so
// that those before the wrong one are not at each attempt.
func problemError(p *dotqmail.Problem) *reason.Error {
	e := reason.DotQmailBlank
	switch p.Wrong {
	case dotqmail.FileWithX:
		e = reason.DotQmailFileNotList
	case dotqmail.ProgramWithX:
		e = reason.DotQmailProgNotList
	case dotqmail.NUL:
		e = reason.DotQmailNUL
	}
	return e.Because(p)
}

// aliasPlan reads the instructions that came with the user.
func aliasPlan(user *route.User, sender mail.Address) (*Plan, *reason.Error) {
	p := &Plan{Sender: sender.String(), Instructions: make([]Instruction, 0, len(user.Instructions))}
	if s := p.Sender; !user.Owner.IsZero() && s != "" && s != "#@[]" {
		p.Sender = user.Owner.String()
	}
	for _, line := range user.Instructions {
		i := Instruction{}
		i.Place = parsePlace(line.Where)
		p.File = i.Place.File
		switch {
		case line.Line == "":
			continue
		case line.Line[0] == '!':
			i.Kind, i.Text, i.Preline = dotqmail.Program, line.Line[1:], true
		case line.Line[0] == '|':
			i.Kind, i.Text = dotqmail.Program, line.Line[1:]
		case line.Line[0] == '/' && strings.HasSuffix(line.Line, "/"):
			i.Kind, i.Text = dotqmail.Maildir, line.Line
		case line.Line[0] == '/':
			i.Kind, i.Text = dotqmail.Mbox, line.Line
		default:
			i.Kind, i.Text = dotqmail.Forward, strings.TrimPrefix(line.Line, "&")
		}
		p.Instructions = append(p.Instructions, i)
	}
	return p.checked()
}

// parsePlace reads FILE:LINE.
func parsePlace(s string) qmail.Place {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		if n, err := strconv.Atoi(s[i+1:]); err == nil {
			return qmail.Place{File: s[:i], Line: n}
		}
	}
	return qmail.Place{File: s}
}
