package service

import (
	"context"
	"os"
	"runtime"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/intake/netstrings"
	"github.com/postilion/postilion/internal/intake/qmqpd"
	"github.com/postilion/postilion/internal/intake/qmtpd"
	"github.com/postilion/postilion/internal/intake/smtpd"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/seam"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/service/certs"
	"github.com/postilion/postilion/internal/submit"
)

// The services of role smtpd, with where their keys are.
var smtpServices = map[string]func(*config.Config) *config.SMTP{
	"smtp":        func(c *config.Config) *config.SMTP { return &c.SMTP },
	"submission":  func(c *config.Config) *config.SMTP { return &c.Submission },
	"submissions": func(c *config.Config) *config.SMTP { return &c.Submissions },
	"lmtp":        func(c *config.Config) *config.SMTP { return &c.LMTP },
}

func (p *process) startSMTPD(_ context.Context, part *part) error {
	f, err := p.newFront(part)
	if err != nil {
		return err
	}
	local := &injection{p: p, part: part}
	part.prepare = func(c *config.Config) (func(), error) { return f.prepareSMTPD(c, local) }
	if err := prepareNow(part, p.cfg); err != nil {
		return err
	}
	for name, group := range smtpServices {
		f.listen(name, group(p.cfg).Listener.Options, name == "submissions")
	}
	f.listen("qmtp", p.cfg.QMTP.Listener.Options, false)
	f.listen("qmqp", p.cfg.QMQP.Listener.Options, false)
	p.startACME(part, f.cert)
	part.facts = f.facts
	return nil
}

// prepareSMTPD makes all by which messages enter, as a configuration wants it. The function it returns
// puts that in force.
func (f *front) prepareSMTPD(c *config.Config, local *injection) (func(), error) {
	p := f.p
	submitter, floors, err := p.newSubmitter(c, f.part)
	if err != nil {
		return nil, err
	}
	fetchers, err := p.newFetchers(c, f.guests)
	if err != nil {
		return nil, err
	}
	lists, err := f.guests.lists(c)
	if err != nil {
		return nil, err
	}
	all := &services{handlers: map[string]serve.Handler{}}
	deps := smtpd.Deps{Submit: submitter, Auth: p.authService(), Events: f.part.recorder, Clock: p.clock, Busy: floors.Busy, ETRN: fetchers.ETRN,
		Record: f.book, TLS: f.tls(c)}
	if err := f.addSMTP(all, c, lists, deps); err != nil {
		return nil, err
	}
	family := netstrings.Deps{Submit: submitter, Events: f.part.recorder, Clock: p.clock, Busy: floors.Busy}
	if err := f.addNetstrings(all, c, lists, family); err != nil {
		return nil, err
	}
	for _, name := range []string{"smtp", "qmtp"} {
		all.handlers[name] = fetchers.Handler(all.handlers[name])
	}
	setLocal, err := local.prepare(c, submitter, deps)
	if err != nil {
		return nil, err
	}
	return func() {
		p.rates.SetLimit(c.Policy.AccountRate)
		f.use(all)
		f.guests.content.Store(submitter.Content())
		setLocal()
	}, nil
}

// addSMTP makes the handlers of SMTP and LMTP. The DNS lists are asked about strangers only.
func (f *front) addSMTP(to *services, c *config.Config, lists *dnsbl.Lists, d smtpd.Deps) (err error) {
	for name, group := range smtpServices {
		only := lists
		if name != "smtp" {
			only = nil
		}
		if d.Clients, err = to.checker(f.guests, name, group(c).ClientOptions, only); err != nil {
			return err
		}
		if to.handlers[name], err = smtpd.New(group(c).Options, d); err != nil {
			return err
		}
	}
	return nil
}

// addNetstrings makes the handlers of QMTP and QMQP.
func (f *front) addNetstrings(to *services, c *config.Config, lists *dnsbl.Lists, d netstrings.Deps) (err error) {
	if d.Clients, err = to.checker(f.guests, "qmtp", c.QMTP.ClientOptions, lists); err != nil {
		return err
	}
	if to.handlers["qmtp"], err = qmtpd.New(c.QMTP.Options, d); err != nil {
		return err
	}
	if d.Clients, err = to.checker(f.guests, "qmqp", c.QMQP.ClientOptions, nil); err != nil {
		return err
	}
	to.handlers["qmqp"], err = qmqpd.New(c.QMQP.Options, d)
	return err
}

// newSubmitter makes the path by which messages enter.
func (p *process) newSubmitter(c *config.Config, part *part) (*submit.Submitter, *policy.Floors, error) {
	own := new(netx.OwnAddrs)
	router, err := route.New(c.Route, p.reader(), own.Contains)
	if err != nil {
		return nil, nil, err
	}
	o := c.Policy
	o.Warn = func(err error) {
		p.logger().Warn("a file is wrong; what it said before stays in force", "error", err)
	}
	rules, err := policy.New(o)
	if err != nil {
		return nil, nil, err
	}
	floors := &policy.Floors{Options: c.Floors, LoadAverage: loadPerProcessor,
		Space: func() (fs.Space, error) { return p.data.Space("queue") }}
	var q queue.Enqueuer = seam.Enqueuer{Client: p.client(role.Queue)}
	if p.here.store != nil {
		q = p.here.store
	}
	room, exists := p.here.room, p.here.exists
	if room == nil {
		room, exists = seam.NewRoom(p.client(role.Local)), seam.NewExists(p.client(role.Local))
	}
	quota := &seam.RoomCache{Room: room, Log: p.logger()}
	known := &seam.ExistsCache{Exists: exists, Log: p.logger()}
	content, err := headers.Open(c.Content, o.Warn)
	if err != nil {
		return nil, nil, err
	}
	archives, err := archive.Parse(c.Archive.Copies)
	if err != nil {
		return nil, nil, err
	}
	return submit.New(c.Submit, submit.Deps{
		Queue: q, Router: router, Policy: rules, Events: part.recorder, Clock: p.clock, IDs: p.ids, Full: floors.Full, Quota: quota.Ask, Exists: known.Ask,
		Filters: p.filters, Rate: p.rates.Take, Archive: archives, Content: content,
	}), floors, nil
}

func (p *process) startACME(part *part, c *certs.Certificate) {
	for _, l := range p.sockets.Named("acme") {
		k := &certs.Keeper{Host: p.cfg.Host, Options: p.cfg.TLS, Store: p.cfg.InData("tls/acme"), Cert: c.Cert, Key: c.Key, Listener: l, Log: p.logger()}
		part.run = append(part.run, k.Run)
	}
}

// authService returns who checks credentials.
func (p *process) authService() auth.Service {
	if p.here.auth != nil {
		return p.here.auth
	}
	return seam.Auth{Client: p.client(role.Auth)}
}

// loadPerProcessor is the 1-minute load divided by the number of processors.
func loadPerProcessor() (float64, error) {
	if _, err := os.Stat("/proc/loadavg"); err != nil {
		return 0, err
	}
	return loadAverages()[0] / float64(runtime.NumCPU()), nil
}
