package verbs

import (
	"context"
	"net/netip"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/policy/rules"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/seam"
)

// Question is an address to explain, and optionally whose message it is that goes there.
type Question struct {
	To       mail.Address
	From     mail.Address
	WithFrom bool // From is asked about; zero is the null reverse-path
	// Client is where the message comes from; invalid is a program of this host.
	Client netip.Addr
}

// Explanation is everything that is known of an address without sending anything there.
type Explanation struct {
	Route route.Route
	Err   error // why the route cannot be told now: mail waits
	// Deliveries are what the instructions of a system user would do; PlanErr is why they would not.
	Deliveries []route.Step
	PlanErr    error
	// Policy is what is said of the client and the sender; Refusal is what RCPT would be refused with.
	Policy  []route.Step
	Refusal *reason.Error
}

// Explain finds out what an address is, down to the deliveries, without sending.
func (s *Stores) Explain(ctx context.Context, c *config.Config, q Question) (*Explanation, error) {
	own := new(netx.OwnAddrs)
	router, err := route.New(c.Route, s.Directory, own.Contains)
	if err != nil {
		return nil, err
	}
	x := new(Explanation)
	client, err := x.client(c, &q)
	if err != nil {
		return nil, err
	}
	x.Route, x.Err = router.Route(ctx, q.To)
	if x.Err == nil && x.Route.Kind == route.SystemUser {
		x.Deliveries, x.PlanErr = s.plan(ctx, c, *x.Route.User)
	}
	if !q.WithFrom && !q.Client.IsValid() {
		return x, nil
	}
	return x, x.judge(ctx, c, q, client, router)
}

// client tells what the rules of the listener smtp give q's client. RELAYCLIENT's value goes behind the
// recipient. The client's name is not looked up.
func (x *Explanation) client(c *config.Config, q *Question) (policy.Client, error) {
	client := policy.Client{Addr: q.Client, Local: !q.Client.IsValid()}
	if client.Local {
		return client, nil
	}
	set, err := rules.Open(c.SMTP.Rules, "smtp", nil)
	if err != nil {
		return client, err
	}
	said := set.Decide(rules.Client{Addr: q.Client})
	who := "client " + q.Client.String()
	switch {
	case said.Refusal != nil:
		x.Refusal = said.Refusal
		x.Policy = append(x.Policy, route.Step{What: who, Where: said.Rule, Result: "refused: " + said.Refusal.Text(reason.English)})
	case said.Deny:
		x.Refusal = reason.ClientRefused.With("Access denied")
		x.Policy = append(x.Policy, route.Step{What: who, Where: said.Rule, Result: "turned away without a word"})
	case said.Rule != "":
		x.Policy = append(x.Policy, route.Step{What: who, Where: said.Rule, Result: "let in"})
	}
	if client.Grant = said.Grant; client.Grant != nil && client.Grant.Append != "" {
		to := client.Grant.Recipient(q.To)
		x.Policy = append(x.Policy, route.Step{What: "recipient " + q.To.String(), Where: said.Rule, Result: "becomes " + to.String()})
		q.To = to
	}
	return client, nil
}

// plan tells what a delivery would do: the running server, or without one this process, which as root
// becomes the user for it.
func (s *Stores) plan(ctx context.Context, c *config.Config, u route.User) ([]route.Step, error) {
	if s.Running {
		cl := adminClient(s.Data, role.Local)
		defer cl.Close()
		return seam.NewPlan(cl)(ctx, u)
	}
	deps := local.Deps{Directory: s.Directory, Clock: clock.System{}}
	if c.RunAs.Enabled {
		here, err := runas.NewHere(c.RunAs)
		if err != nil {
			return nil, err
		}
		defer here.Close()
		deps.Runas = here
	}
	return local.New(c.Local, deps).Plan(ctx, u)
}

// judge asks the rules what they say to a client that sends a message from one address to another.
func (x *Explanation) judge(ctx context.Context, c *config.Config, q Question, client policy.Client, router route.Router) error {
	keys, err := policy.New(c.Policy)
	if err != nil {
		return err
	}
	who := "a program of this host"
	if q.Client.IsValid() {
		who = "client " + q.Client.String()
	}
	say := func(what, result string, e *reason.Error) {
		if e != nil {
			result = "refused: " + e.Text(reason.English)
			if x.Refusal == nil {
				x.Refusal = e
			}
		}
		x.Policy = append(x.Policy, route.Step{What: what, Where: "policy", Result: result})
	}
	if keys.MayRelay(client) {
		say(who, "may send to other hosts", nil)
	} else {
		say(who, "may send to this host's domains only", nil)
	}
	if q.WithFrom {
		what := "sender " + q.From.String()
		if q.From.IsZero() {
			what = "the null sender"
		}
		e := keys.Sender(client, q.From)
		if e == nil && !q.From.IsZero() && keys.ChecksOutside(client) {
			from, err := router.Route(ctx, q.From)
			if err != nil {
				return err
			}
			e = keys.Outside(q.From, &from)
		}
		say(what, "accepted", e)
	}
	if x.Err == nil {
		say("recipient "+q.To.String(), "accepted", keys.Recipient(client, q.To, &x.Route, 0))
	}
	return nil
}
