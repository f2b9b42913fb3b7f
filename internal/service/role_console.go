package service

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/postilion/postilion/internal/console"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
	"github.com/postilion/postilion/internal/stats"
)

// startConsole serves /metrics and /health on the local listener.
func (p *process) startConsole(_ context.Context, part *part) error {
	pages, err := console.Pages(p.counterSources())
	if err != nil {
		return err
	}
	for _, l := range p.sockets.Named("metrics") {
		server := &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
			WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
		part.run = append(part.run, func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { server.Close() })()
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	return p.startManage(part)
}

// counterSources returns how to ask each role for its counters.
func (p *process) counterSources() map[role.Role]func(context.Context) (stats.Snapshot, error) {
	all := map[role.Role]func(context.Context) (stats.Snapshot, error){}
	for _, r := range role.All() {
		if p.has(r) {
			all[r] = func(context.Context) (stats.Snapshot, error) {
				if part := p.parts[r]; part != nil {
					return part.counters.Snapshot(), nil
				}
				return stats.Snapshot{}, errors.New("not started")
			}
			continue
		}
		cl := p.client(r)
		all[r] = func(ctx context.Context) (stats.Snapshot, error) {
			return rpc.Do[none, stats.Snapshot](ctx, cl.Client, rolecall.MethodCounters, none{})
		}
	}
	return all
}

// startManage serves the gate.
func (p *process) startManage(part *part) error {
	data := p.cfg.Data
	client := func(r role.Role) *seam.Client { return rolecall.Seam(data, r.OfficeSocket(), r) }
	o := &console.Office{
		Logins: p.authService(), IDs: p.ids, Journal: p.journal(part), Queue: queueadmin.NewClient(client(role.Queue).Client),
		Directory: seam.Directory{Client: client(role.Directory)}, Passwords: seam.AuthAdmin{Client: client(role.Auth)}, Mailboxes: mailboxes.Client{Data: data, Office: true},
	}
	gate, err := control.NewGate(p.cfg.Admin, p.logger(), o.Login)
	if err != nil {
		return err
	}
	for _, l := range p.sockets.Named(control.Manage) {
		part.run = append(part.run, func(ctx context.Context) error { return gate.Serve(ctx, l) })
	}
	return nil
}
