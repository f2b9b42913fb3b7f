package dispatch

import (
	"context"
	"io"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mail/archive"
)

// archive makes the draft of what an archive gets in place of the message: a message of its own,
// committed with the record that it was made. Its failure is told to nobody.
func (d *Dispatcher) archive(p *pass, n uint32) {
	p.attempt = d.deps.IDs.New()
	of, message := &p.env.Recipients[n], p.m.id
	env := &mail.Envelope{
		ID: d.deps.IDs.New(), Parent: message, Accepted: d.deps.Clock.Now().UTC(), Tenant: p.env.Tenant, Group: p.env.Group,
		Body: p.env.Body, UTF8: p.env.UTF8, Recipients: []mail.Recipient{{To: of.To, Notify: mail.NotifyNever}},
	}
	form, parent, host := of.Copy, p.env, d.deps.Bouncer.Name
	p.drafts = append(p.drafts, draft{env: env, write: func(ctx context.Context, w io.Writer) error {
		body, err := d.body(ctx, message)
		if err != nil {
			return err
		}
		defer body.Close()
		return archive.Write(w, form, parent, host, env.Accepted, body)
	}})
	v := deliver.Verdict{Text: "archive gets " + form + " as " + env.ID.String()}
	p.results = append(p.results, result{n: n, v: v, attempted: true, final: of.To})
}
