package seam

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/rpc"
)

// Exists tells whether anything takes a system user's mail: nil, the *reason.Error that refuses the
// address for good, or another error when it cannot be told.
type Exists func(ctx context.Context, u route.User) error

// Plan tells what a delivery to a system user would do, step by step, without doing it. What it
// found comes with an error too: the *reason.Error that the delivery would end with.
type Plan func(ctx context.Context, u route.User) ([]route.Step, error)

// askedUser is the user of a question, in the form of jobs: an extension may hold any bytes.
type askedUser struct{ User []byte }

func (a askedUser) user() (route.User, error) {
	r := pieces{rest: a.User}
	u := r.user()
	return *u, r.end()
}

type plan struct {
	Steps []route.Step
	Error *reason.Error
	Cause string // Error's, for the operator
}

// UserHandlers serves both.
func UserHandlers(exists Exists, ask Plan) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"local.exists": rpc.Handle(func(ctx context.Context, a askedUser) (none, error) {
			u, err := a.user()
			if err != nil {
				return none{}, err
			}
			return none{}, exists(ctx, u)
		}),
		"local.plan": PlanHandler(ask),
	}
}

// PlanHandler serves a Plan alone.
func PlanHandler(ask Plan) rpc.Handler {
	return rpc.Handle(func(ctx context.Context, a askedUser) (plan, error) {
		u, err := a.user()
		if err != nil {
			return plan{}, err
		}
		steps, err := ask(ctx, u)
		p := plan{Steps: steps, Error: reason.As(err)}
		if p.Error != nil && p.Error.Cause != nil {
			p.Cause = p.Error.Cause.Error()
		}
		return p, nil
	})
}

// NewExists returns an Exists over rpc. It does not wait for a role that is being restarted.
func NewExists(cl *Client) Exists {
	return func(ctx context.Context, u route.User) error {
		_, err := once[askedUser, none](ctx, cl, "local.exists", askedUser{appendUser(nil, &u)})
		return err
	}
}

// NewPlan returns a Plan over rpc.
func NewPlan(cl *Client) Plan {
	return func(ctx context.Context, u route.User) ([]route.Step, error) {
		p, err := once[askedUser, plan](ctx, cl, "local.plan", askedUser{appendUser(nil, &u)})
		if err != nil || p.Error == nil {
			return p.Steps, err
		}
		if p.Cause != "" {
			return p.Steps, p.Error.Because(errors.New(p.Cause))
		}
		return p.Steps, p.Error
	}
}

// ExistsCache is how an Exists is asked at RCPT: seldom, and never for long. An address that nothing
// takes is refused; any trouble in finding out lets the message in, since its delivery looks again. Only
// that an address exists is remembered: one whose file was made a moment ago is never refused.
type ExistsCache struct {
	Exists Exists
	Log    *slog.Logger
	// TTL is how long it holds that an address exists; 0 means 3 s.
	TTL time.Duration
	// Timeout is how long one question may take; 0 means 2 s.
	Timeout time.Duration

	cautious
	kept map[string]time.Time // when it was found that an address exists
}

// Ask is an Exists whose errors refuse for good.
func (c *ExistsCache) Ask(ctx context.Context, u route.User) error {
	if len(u.Instructions) > 0 {
		return nil
	}
	// The extension's case does not matter to what exists, but the user's files do.
	key := strings.Join([]string{u.Name, u.Home, u.Dash, strings.ToLower(u.Ext)}, "\x00")
	now := time.Now()
	c.mu.Lock()
	found, ok := c.kept[key]
	c.mu.Unlock()
	if ok && now.Sub(found) < cmp.Or(c.TTL, 3*time.Second) {
		return nil
	}
	err := c.ask(ctx, c.Timeout, func(ctx context.Context) error { return c.Exists(ctx, u) })
	e, said := errors.AsType[*reason.Error](err)
	if said && e.Class == reason.Permanent {
		return err
	}
	if err != nil {
		if c.seldom() && c.Log != nil {
			c.Log.Warn("it cannot be told whether an address exists; its mail is let in", "user", u.Name, "extension", u.Ext, "error", err)
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxRoomsKept {
		c.kept = map[string]time.Time{}
	}
	c.kept[key] = now
	return nil
}
