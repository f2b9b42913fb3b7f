package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/id"
	wire "github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/intake/inject"
	"github.com/postilion/postilion/internal/intake/smtpd"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/trace/watch"
)

// This file is the local socket's wiring: programs of this host hand in mail through role smtpd, see
// the queue through role queue, and watch their message in queue and remote alike.

// injectSocket is the local socket's name.
const injectSocket = "inject"

const methodWatch = "watch" // of the seams' sockets of roles queue and remote

// newFilters are what filters run with.
func newFilters(c *config.Config) *submit.Filters {
	return &submit.Filters{Env: []string{
		"PATH=/var/qmail/bin:/usr/local/bin:/usr/bin:/bin",
		injectVariable(c),
	}, Spool: c.InData("events/" + string(role.SMTPD))}
}

// injectVariable tells programs that the server runs where the local socket is: the path that every
// user can reach, where the operator gave one.
func injectVariable(c *config.Config) string {
	if c.Inject.Socket != "" {
		return wire.SocketVariable + "=" + c.Inject.Socket
	}
	return wire.SocketVariable + "=" + control.SocketPath(c.Data, injectSocket)
}

// injection serves the local socket in role smtpd.
type injection struct {
	p      *process
	part   *part
	server *inject.Server
}

// prepare checks a configuration and returns what brings it into force. The first one also starts
// the server.
func (j *injection) prepare(c *config.Config, submitter *submit.Submitter, deps smtpd.Deps) (func(), error) {
	p := j.p
	o := c.SMTP.Options
	o.Mode = smtpd.Local
	deps.Auth, deps.TLS, deps.ETRN, deps.Busy = nil, nil, nil, nil // local mail is queued whatever the load
	dialogue, err := smtpd.New(o, deps)
	if err != nil {
		return nil, err
	}
	d := inject.Deps{Submit: submitter, Queue: p.queueView(), Watch: p.watchMessage, SMTP: dialogue, IDs: p.ids,
		Owner: control.Owners(p.cfg.Data), Clock: p.clock, Log: p.logger(),
		Explain: func(ctx context.Context, a string, test bool) string { return explain(ctx, submitter, a, test) }}
	if j.server != nil {
		return j.server.Prepare(c.Inject, d)
	}
	if j.server, err = inject.New(c.Inject, d); err != nil {
		return nil, err
	}
	for _, l := range p.sockets.Named(injectSocket) {
		j.part.run = append(j.part.run, func(ctx context.Context) error { return j.server.Serve(ctx, l) })
	}
	return func() {}, nil
}

// queueView is the queue as mailq, sendmail -q and ETRN want it.
func (p *process) queueView() queueadmin.View {
	if d := p.here.dispatcher; d != nil {
		return queueadmin.ViewHere(d)
	}
	return queueadmin.ViewOver(p.client(role.Queue).Client)
}

// watchHandlers gives the events of one message as a stream, until the caller hangs up.
func watchHandlers(h *watch.Hub) map[string]rpc.Handler {
	return map[string]rpc.Handler{methodWatch: func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
		message, err := id.Parse(string(request))
		if err != nil {
			return nil, err
		}
		sub, err := h.Subscribe(message)
		if err != nil {
			return nil, err
		}
		defer sub.Close()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer cancel()
			for { // the caller sends nothing: this ends when it goes
				if _, err := c.Recv(); err != nil {
					return
				}
			}
		}()
		tell := func(v any) error {
			p, err := json.Marshal(v)
			if err != nil {
				return err
			}
			return errors.Join(c.Send(p), c.Flush())
		}
		if err := tell("watching"); err != nil {
			return nil, rpc.MidStream(err)
		}
		for {
			e, err := sub.Next(ctx)
			if err != nil {
				return nil, rpc.MidStream(io.EOF)
			}
			if err := tell(&e); err != nil {
				return nil, rpc.MidStream(err)
			}
		}
	}}
}

// watchedRoles are those that tell of a message under way.
var watchedRoles = []role.Role{role.Queue, role.Remote}

// watchMessage gives a message's events of all roles, until ctx ends.
func (p *process) watchMessage(ctx context.Context, message id.ID) (<-chan trace.Event, error) {
	out := make(chan trace.Event, 64)
	var begun []func()
	for _, r := range watchedRoles {
		run, err := p.watchRole(ctx, r, message, out)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", r, err)
		}
		begun = append(begun, run)
	}
	for _, run := range begun {
		go run()
	}
	return out, nil
}

// watchRole begins to watch one role; the returned function passes its events on until ctx ends.
func (p *process) watchRole(ctx context.Context, r role.Role, message id.ID, out chan<- trace.Event) (func(), error) {
	pass := func(e trace.Event) bool {
		select {
		case out <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if part := p.parts[r]; part != nil && part.watch != nil {
		sub, err := part.watch.Subscribe(message)
		if err != nil {
			return nil, err
		}
		return func() {
			defer sub.Close()
			for {
				if e, err := sub.Next(ctx); err != nil || !pass(e) {
					return
				}
			}
		}, nil
	}
	s, err := p.client(r).Open(ctx, methodWatch, []byte(message.String()))
	if err == nil {
		if err = s.Flush(); err == nil {
			_, err = s.Recv() // it watches from here on
		}
		if err != nil {
			s.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	return func() {
		defer s.Close()
		for {
			p, err := s.Recv()
			var e trace.Event
			if err != nil || json.Unmarshal(p, &e) != nil || !pass(e) {
				return
			}
		}
	}, nil
}

// dialogue lets role remote tell the lines of a session to those who watch its message.
func dialogue(h *watch.Hub, c clock.Clock) func(message, attempt id.ID) func(string) {
	return func(message, attempt id.ID) func(string) {
		if !h.Watched(message) {
			return nil
		}
		return func(line string) {
			h.Record(trace.Event{Time: c.Now().UTC(), Kind: trace.Dialogue, Role: "remote", Message: message, Attempt: attempt, Text: line})
		}
	}
}

// explain tells where an address leads, as sendmail -bv and -bt do (qmail reference 25.3, 25.4).
func explain(ctx context.Context, s *submit.Submitter, address string, test bool) string {
	r, err := s.Route(ctx, mail.ParseAddress(address))
	var b strings.Builder
	if test {
		for _, step := range r.Steps {
			b.WriteString(oneLine(step.What+": "+step.Result+" ["+step.Where+"]") + "\n")
		}
		for line := range strings.Lines(route.Rulesets("3,0", address, &r, err)) {
			b.WriteString(oneLine(strings.TrimSuffix(line, "\n")) + "\n")
		}
	}
	line, _ := route.Verify(address, &r, err)
	b.WriteString(oneLine(line) + "\n")
	return b.String()
}

// oneLine makes a text fit for one line of a terminal.
func oneLine(s string) string { return smtp.Text(s, 2000) }
