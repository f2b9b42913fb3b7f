package remote

// What protects a session: the route's TLS policy, and where that is opportunistic what the
// other side has published. TLSA records that DNSSEC has proven (DANE, RFC 7672) go before the domain's
// MTA-STS policy (RFC 8461 2); either makes an encrypted session with the right certificate the condition
// of any mail. A policy that an operator has chosen himself is what he says, no more and no less.

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/deliver/remote/dane"
	"github.com/postilion/postilion/internal/deliver/remote/mtasts"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
)

// Who asks for a verified session besides routes.
const (
	byDANE   = "DANE"
	byMTASTS = "MTA-STS"
)

// published reports whether what the other side has published counts.
func (k *poolKey) published() bool {
	return k.tls == route.TLSOpportunistic || k.required && k.tls != route.TLSImplicit
}

// answer is what was found of a domain's MTA-STS policy.
type answer struct {
	policy *mtasts.Policy
	why    error
}

func noPolicy() answer { return answer{} }

// policy looks for a domain's MTA-STS policy while the caller looks up other things; the result waits for it.
func (t *Target) policy(ctx context.Context, domain string) func() answer {
	if t.sts == nil {
		return noPolicy
	}
	c := make(chan answer, 1)
	go func() {
		p, why := t.sts.Lookup(ctx, domain)
		c <- answer{p, why}
	}()
	return func() answer { return <-c }
}

// allow returns the hosts of a domain that its policy names, or why there are none.
func (a answer) allow(domain string, hosts []host) ([]host, *reason.Error) {
	var allowed []host
	for _, h := range hosts {
		if a.why != nil {
			h.remark = smtp.Text(a.why.Error(), 200)
		}
		if a.policy != nil && a.policy.Mode == mtasts.Enforce {
			if !a.policy.Names(h.name) {
				continue
			}
			h.sts = true
		}
		allowed = append(allowed, h)
	}
	if len(allowed) == 0 {
		return nil, reason.MTASTSFailed.With(domain, "the policy names none of the hosts that DNS does, such as "+hosts[0].name)
	}
	return allowed, nil
}

// guard is what protects a session with one host.
type guard struct {
	policy route.TLSPolicy
	config *tls.Config // of the handshake
	name   string      // that the host is asked for in it
	by     string      // who asks for it; "" for the route
}

// how tells in one word or two whether the certificate of a session was checked, and by what.
func (g *guard) how() string {
	if g.policy < route.TLSVerify {
		return "unverified"
	}
	return strings.TrimSpace("verified " + g.by)
}

// guard finds what protects a session with a host, or why none can be begun.
func (a *attempt) guard(ctx context.Context, h *host) (guard, *reason.Error) {
	t := a.t
	g := guard{policy: a.key.tls, config: t.any, name: nameOf(h.name)}
	if a.key.required && g.policy != route.TLSImplicit {
		g.policy = route.TLSVerify
	}
	if a.key.published() && !h.qmtp {
		if decided, e := a.dane(ctx, h, &g); decided || e != nil {
			return g, e
		}
		if h.sts {
			g.policy, g.by = route.TLSVerify, byMTASTS
		}
	}
	if g.policy >= route.TLSVerify {
		g.config = t.verified
	}
	return g, nil
}

// dane makes a guard of the host's TLSA records, where it has some that decide on the certificate. Those that none can be checked
// by ask for encryption all the same (RFC 7672 2.2). An answer that does not come is no permission (RFC 7672 2.1.2).
func (a *attempt) dane(ctx context.Context, h *host, g *guard) (decided bool, err *reason.Error) {
	t := a.t
	if t.o.NoDANE || !h.proven {
		return false, nil
	}
	for _, base := range []string{h.alias, h.name} { // RFC 7672 2.2.2: the name after CNAMEs first
		if base == "" {
			continue
		}
		found, err := t.deps.Resolver.TLSA(ctx, base, h.addrs[0].Port())
		switch {
		case errors.Is(err, netx.ErrTemporary):
			return false, reason.DANEUnavailable.With(base).Because(err)
		case err != nil || !found.Secure:
			continue
		}
		records := dane.Usable(found.Records)
		if len(records) == 0 {
			if g.policy < route.TLSEncrypt {
				g.policy, g.by = route.TLSEncrypt, byDANE
			}
			return false, nil
		}
		g.policy, g.by, g.name = route.TLSVerify, byDANE, base
		g.config = t.any.Clone()
		g.config.MinVersion = tls.VersionTLS12
		accepted := []string{base}
		for _, name := range []string{h.name, a.job.Next.Domain} { // RFC 7672 3.2.2
			if !slices.Contains(accepted, name) {
				accepted = append(accepted, name)
			}
		}
		g.config.VerifyConnection = func(shown tls.ConnectionState) error {
			return dane.Check(records, shown, accepted, t.deps.Clock.Now())
		}
		return true, nil
	}
	return false, nil
}

// nameOf is what a host is asked for in a handshake: its name, or its address.
func nameOf(host string) string {
	if a, ok := names.Literal(host); ok {
		return a.String()
	}
	return host
}

// broken is the error of a session that did not become what the guard asks for. otherwise is the one where the route
// asks for it.
func (g *guard) broken(otherwise *reason.Error, detail string) *reason.Error {
	switch g.by {
	case byDANE:
		return reason.DANEFailed.With(g.name, detail)
	case byMTASTS:
		return reason.MTASTSFailed.With(g.name, detail)
	}
	return otherwise
}
