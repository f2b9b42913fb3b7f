// Package remote delivers to other hosts over SMTP and QMTP.
//
// An attempt finds the destination's hosts, connects to the first that answers, and
// hands the message over in as few round trips as the other side allows. Its rule: a
// recipient is told delivered only for a 2xx reply to the whole content, refused only
// for a 5xx reply or a fact of DNS or of the message, and everything else is tried
// again later. Where a connection dies after the content was sent, nobody can know:
// that is said ("Possible duplicate"), and the message is sent again.
//
// Connections stay open for a few seconds and are used again by the next message to
// the same place.
package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/remote/mtasts"
	"github.com/postilion/postilion/internal/deliver/remote/sevenbit"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// Target delivers to other hosts.
type Target struct {
	o    Options
	deps Deps
	helo string // Options.Helo in key form, to know this host among exchangers
	own  func(netip.AddrPort) bool

	verified, any *tls.Config      // the roots of a session's own config, by policy
	sts           *mtasts.Cache    // nil where policies are not asked for
	qmqp          []netip.AddrPort // a null client's servers
	idle          pool
	dead          deadHosts
}

var _ deliver.Target = (*Target)(nil)

// New returns a Target. The error names every option that is wrong. Close ends it.
func New(o Options, deps Deps) (*Target, error) {
	settled := o.settle()
	dialer, wrongDial := o.dialer()
	servers, wrongServers := parseQMQP(o.QMQPServers)
	roots, err := o.roots()
	if err := errors.Join(settled, wrongDial, wrongServers, err); err != nil {
		return nil, err
	}
	t := &Target{o: o, deps: deps, own: deps.Own, qmqp: servers}
	if deps.Dial == nil {
		t.deps.Dial = dialer.Dial
	}
	if t.own == nil {
		addrs := new(netx.OwnAddrs)
		t.own = func(a netip.AddrPort) bool { return a.Port() == 25 && addrs.Contains(a.Addr()) }
	}
	if t.deps.Clock == nil {
		t.deps.Clock = clock.System{}
	}
	t.verified = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(256), Time: t.deps.Clock.Now}
	// RFC 7435: encryption to anyone beats none, so any certificate and TLS 1.0 will do.
	t.any = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, ClientSessionCache: tls.NewLRUClientSessionCache(256), Time: t.deps.Clock.Now}
	if !o.NoMTASTS {
		t.sts, err = mtasts.New(mtasts.Deps{Resolver: deps.Resolver, Dial: t.deps.Dial, Clock: t.deps.Clock, Roots: roots, Folder: deps.Policies})
		if err != nil {
			return nil, err
		}
	}
	if name, err := names.Domain(o.Helo); err == nil {
		t.helo = name
	}
	t.idle.init(o.MaxIdle, o.IdleTime)
	t.dead = deadHosts{after: o.DeadAfter, hold: o.DeadTime, now: time.Now, entries: map[netip.Addr]deadEntry{}}
	return t, nil
}

// Close ends the idle connections. Deliveries still running end theirs themselves.
func (t *Target) Close() error {
	t.idle.close()
	return nil
}

// Deliver sends one message to recipients of one destination.
func (t *Target) Deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	a := &attempt{t: t, job: job, verdicts: make([]deliver.Verdict, len(job.Recipients)), key: keyOf(job)}
	a.pending = make([]int, 0, len(job.Recipients))
	defer a.end()
	for i := range job.Recipients {
		if e := a.check(i); e != nil {
			a.verdicts[i] = deliver.Verdict{Err: e, Text: e.Text(reason.English)}
			continue
		}
		a.pending = append(a.pending, i)
	}
	if len(t.qmqp) > 0 {
		a.runQMQP(ctx)
	} else {
		a.run(ctx)
	}
	return a.verdicts
}

// attempt is one Deliver under way.
type attempt struct {
	t        *Target
	job      *deliver.Job
	key      poolKey
	verdicts []deliver.Verdict
	pending  []int // recipients without a verdict, in order

	fresh   bool           // an idle connection has died: take no other
	looked  bool           // hosts is filled
	hosts   []host         // still to be tried
	equals  bool           // the first of them have the same preference
	failure failure        // why the last of the tried hosts did not serve
	plan    *sevenbit.Plan // what is known of the content, once it was looked at
}

// failure is why a host did not serve this attempt, with what to tell of it.
type failure struct {
	err        *reason.Error
	host, addr string
	transcript string
	tls        string
	retryAfter time.Duration
}

// check refuses addresses that no command can carry.
func (a *attempt) check(i int) *reason.Error {
	for _, address := range []mail.Address{a.job.Recipients[i].From, a.to(i)} {
		for _, s := range []string{address.Local, address.Domain} {
			for j := range len(s) {
				if s[j] == '\r' || s[j] == '\n' || s[j] == 0 {
					return reason.BadAddress.With("a line end or NUL in an address")
				}
			}
		}
	}
	return nil
}

// to is the address that a recipient is sent to.
func (a *attempt) to(i int) mail.Address {
	if r := &a.job.Recipients[i]; !r.Final.IsZero() {
		return r.Final
	}
	return a.job.Recipients[i].To
}

// run works until every recipient has a verdict. Each round settles a recipient, or uses up
// an idle connection or a host's address, so it ends.
func (a *attempt) run(ctx context.Context) {
	var s *session
	for len(a.pending) > 0 {
		if s == nil {
			if s = a.session(ctx); s == nil {
				a.settleAll(a.failure)
				return
			}
		}
		transaction := a.transaction
		if s.qmtp {
			transaction = a.transactionQMTP
		}
		switch alive := transaction(ctx, s); {
		case !alive || s.tainted || s.in.Buffered() > 0: // a reply too many: nobody knows to what the next one is
			s.close()
			s = nil
		case s.worn():
			s.quit()
			s, a.looked = nil, false
		}
	}
	if s != nil {
		s.tap, s.rec = nil, nil
		a.t.idle.put(s)
	}
}

// session returns a connection that is ready for MAIL: an idle one, or one to the next
// address that serves; nil when there is none left, a.failure tells why then.
func (a *attempt) session(ctx context.Context) *session {
	if !a.fresh {
		if s := a.idle(""); s != nil {
			return s
		}
	}
	if !a.looked {
		a.looked = true
		hosts, err := a.t.lookup(ctx, a.job.Next, a.key.published())
		if ctx.Err() != nil {
			err = reason.AttemptInterrupted.Because(ctx.Err())
		}
		if err != nil {
			a.failure = failure{err: err}
			return nil
		}
		a.hosts = hosts
		a.equals = len(hosts) > 1 && hosts[0].pref == hosts[1].pref
	}
	for len(a.hosts) > 0 {
		if ctx.Err() != nil {
			a.failure = failure{err: reason.AttemptInterrupted.Because(ctx.Err())}
			return nil
		}
		h := &a.hosts[0]
		if len(h.addrs) == 0 {
			a.t.join(ctx, h)
		}
		if len(h.addrs) == 0 {
			a.hosts = a.hosts[1:]
			continue
		}
		if !a.fresh {
			if s := a.idle(h.name); s != nil {
				return s
			}
		}
		s, f := a.open(ctx, h)
		if s != nil {
			s.equals = a.equals
			return s
		}
		a.fail(f)
	}
	return nil
}

// idle takes an idle connection, as pool.get does.
func (a *attempt) idle(host string) *session {
	s := a.t.idle.get(a.key, host)
	if s == nil {
		return nil
	}
	s.reused, s.tap = true, a.tap()
	return a.recorded(s)
}

// tap returns who follows the message's dialogue.
func (a *attempt) tap() func(line string) {
	if a.t.deps.Dialogue == nil {
		return nil
	}
	return a.t.deps.Dialogue(a.job.Envelope.ID, a.job.Attempt)
}

// end tells who follows the dialogue that there is no more of it.
func (a *attempt) end() {
	if tell := a.tap(); tell != nil {
		tell("")
	}
}

// fail keeps what a host did wrong. A temporary failure outlasts permanent ones: that host may
// serve another time.
func (a *attempt) fail(f failure) {
	if a.failure.err == nil || f.err.Class == reason.Temporary || a.failure.err.Class == reason.Permanent {
		a.failure = f
	}
}

// settleAll gives what is pending one verdict.
func (a *attempt) settleAll(f failure) {
	for _, i := range a.pending {
		a.verdicts[i] = f.verdict()
	}
	a.pending = nil
}

// settle gives one recipient its verdict.
func (a *attempt) settle(i int, v deliver.Verdict) {
	a.verdicts[i] = v
	for n, p := range a.pending {
		if p == i {
			a.pending = append(a.pending[:n], a.pending[n+1:]...)
			return
		}
	}
}

// keyOf tells which connections may carry a job: those of the same next hop, protected and
// logged in alike.
func keyOf(job *deliver.Job) poolKey {
	n := job.Next
	k := poolKey{host: n.Host, port: n.Port, mx: n.MX, user: n.User, password: n.Password, tls: n.TLS, required: job.Envelope.TLSOnly}
	k.qmtp = n.QMTP
	if n.Host == "" {
		k.host, k.domain = n.Domain, true
	}
	return k
}

// poolKey identifies interchangeable connections.
type poolKey struct {
	host           string
	port           int
	domain, mx     bool
	qmtp           bool // as the route says; by MXPS it stays unset
	user, password string
	tls            route.TLSPolicy
	required       bool // REQUIRETLS
}
