package dispatch

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// A forward is an alias's work: one new message with all targets, the original below
// one more Delivered-To line. The line stops loops: a message that has it already has
// been here (dot-qmail(5), qmail reference 9.6).

// forward makes the pass's draft of the one recipient in its task.
func (d *Dispatcher) forward(p *pass) {
	pr := p.prep
	r := &pr.recipients[0]
	p.attempt = d.deps.IDs.New()
	res := result{n: uint32(r.N), attempted: true, final: r.Final, expanded: len(pr.targets) > 1}
	line := "Delivered-To: " + oneLine(r.To.String())
	if err := d.checkLoop(p, line); err != nil {
		res.v.Err = err
		p.results = append(p.results, res)
		return
	}
	env := d.forwardEnvelope(p, r, pr.targets)
	p.drafts = append(p.drafts, d.forwardDraft(p.m.id, env, line))
	res.v = deliver.Verdict{Text: "forwarded to " + strconv.Itoa(len(pr.targets)) + " addresses as " + env.ID.String()}
	p.results = append(p.results, res)
}

// forwardDraft is a message's copy below one more line.
func (d *Dispatcher) forwardDraft(message id.ID, env *mail.Envelope, line string) draft {
	return draft{env: env, write: func(ctx context.Context, w io.Writer) error {
		body, err := d.body(ctx, message)
		if err != nil {
			return err
		}
		defer body.Close()
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
		_, err = io.Copy(w, body)
		return err
	}}
}

// sendOn makes the draft of what a delivery sends on, and names it in the result as qmail-local
// does: "qp" and what the message goes by. The delivery has looked for loops.
func (d *Dispatcher) sendOn(p *pass, r *deliver.Recipient, res *result) {
	f := res.v.Forward
	env := d.forwardEnvelope(p, r, f.To)
	if f.From != r.From {
		// Another sender is not asked for the wishes of the first one (RFC 3461 5.2.7.4).
		env.From, env.EnvID, env.Ret = f.From, "", mail.RetDefault
		for i := range env.Recipients {
			env.Recipients[i].ORcpt, env.Recipients[i].Notify = "", 0
		}
	}
	line := "Delivered-To: " + oneLine(r.Final.String())
	if u := r.User; u != nil {
		line = u.DeliveredTo()
	}
	p.drafts = append(p.drafts, d.forwardDraft(p.m.id, env, line))
	res.expanded = len(f.To) > 1
	res.v.Text += "qp " + env.ID.String() + "\n"
}

// forwardEnvelope addresses the copy. The wishes for notices go along, but for success
// where one address becomes several: then we tell of it (RFC 3461 5.2.7.3).
func (d *Dispatcher) forwardEnvelope(p *pass, r *deliver.Recipient, targets []mail.Address) *mail.Envelope {
	old := p.env
	was := &old.Recipients[r.N]
	env := *old
	env.ID, env.Parent, env.Accepted = d.deps.IDs.New(), old.ID, d.deps.Clock.Now().UTC()
	env.From, env.Session = r.From, id.ID{}
	notify := was.Notify
	if len(targets) > 1 && notify&mail.NotifySuccess != 0 {
		if notify &^= mail.NotifySuccess; notify == 0 {
			notify = mail.NotifyNever
		}
	}
	orcpt := was.ORcpt
	if orcpt == "" && was.To.IsASCII() { // what the sender knows: RFC 3461 5.2.7.1
		orcpt = "rfc822;" + was.To.Quoted()
	}
	env.Recipients = make([]mail.Recipient, len(targets))
	for i, to := range targets {
		env.Recipients[i] = mail.Recipient{To: to, ORcpt: orcpt, Notify: notify}
	}
	return &env
}

// checkLoop reads the header and reports a message that has been at this address, or
// through too many hosts.
func (d *Dispatcher) checkLoop(p *pass, line string) *reason.Error {
	body, err := d.body(d.work, p.m.id)
	if err != nil {
		return reason.QueueUnavailable.Because(err)
	}
	defer body.Close()
	hops, seen, err := deliver.ScanTrace(body, line)
	switch {
	case err != nil:
		return reason.QueueUnavailable.Because(err)
	case seen:
		return reason.ForwardLoop.With(strings.TrimPrefix(line, "Delivered-To: "))
	case hops > d.opt.MaxHops:
		return reason.TooManyHops.Because(fmt.Errorf("%d hops", hops))
	}
	return nil
}

// oneLine keeps a value from breaking out of its header line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, s)
}
