package seam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/rpc"
)

// Auth is an auth.Service over rpc. Its errors other than auth's own are temporary.
type Auth struct{ Client *Client }

var _ auth.Service = Auth{}

// What a client sends goes as bytes: a string that is not UTF-8 would not survive JSON.
type (
	passwordRequest struct {
		Attempt        auth.Attempt
		User, Password []byte
	}
	apopRequest struct {
		Attempt                 auth.Attempt
		User, Timestamp, Digest []byte
	}
	scramRequest struct {
		Attempt  auth.Attempt
		Bindings []auth.ChannelBinding
	}
	scramStep struct {
		Challenge []byte
		Done      bool
		Identity  auth.Identity
	}
)

// AuthHandlers serves auth.Service, and whose credentials were changed.
func AuthHandlers(s auth.Service, revoked *auth.Revoked) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"auth.password": rpc.Handle(func(ctx context.Context, r passwordRequest) (auth.Identity, error) {
			return s.Password(ctx, r.Attempt, string(r.User), string(r.Password))
		}),
		"auth.apop": rpc.Handle(func(ctx context.Context, r apopRequest) (auth.Identity, error) {
			return s.APOP(ctx, r.Attempt, string(r.User), string(r.Timestamp), string(r.Digest))
		}),
		"auth.allowed": rpc.Handle(func(ctx context.Context, client netip.Addr) (none, error) {
			return none{}, s.Allowed(ctx, client)
		}),
		"auth.revoked": rpc.Handle(func(ctx context.Context, m auth.Mark) (auth.Revocation, error) {
			ctx, cancel := context.WithTimeout(ctx, changesWait)
			defer cancel()
			return revoked.Since(ctx, m), nil
		}),
		"auth.scram": func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
			return nil, serveSCRAM(ctx, s, c, request)
		},
	}
}

// Revoked is auth.Revoked's Since, which waits until there is something to tell or ctx ends.
func (a Auth) Revoked(ctx context.Context, m auth.Mark) (auth.Revocation, error) {
	for pause := followSoonest; ; pause = min(2*pause, time.Second) {
		within, cancel := context.WithTimeout(ctx, 2*changesWait)
		r, err := rpc.Do[auth.Mark, auth.Revocation](within, a.Client.Client, "auth.revoked", m)
		cancel()
		switch {
		case err == nil && r.Now != m:
			return r, nil
		case err == nil:
			pause = followSoonest
			continue
		}
		select {
		case <-ctx.Done():
			return auth.Revocation{Now: m}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// serveSCRAM answers each frame of the caller's stream with one step, until the
// conversation or the stream ends.
func serveSCRAM(ctx context.Context, s auth.Service, c *rpc.Conn, request []byte) error {
	var r scramRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return err
	}
	conversation, err := s.SCRAM(ctx, r.Attempt, r.Bindings)
	if err != nil {
		return err
	}
	defer conversation.Close()
	for {
		response, err := c.Recv()
		if errors.Is(err, io.EOF) {
			return nil // the client gave up
		}
		if err != nil {
			return err
		}
		var step scramStep
		step.Challenge, step.Done, err = conversation.Step(ctx, append([]byte(nil), response...))
		if err != nil {
			return err
		}
		if step.Done {
			step.Identity = conversation.Identity()
		}
		p, err := json.Marshal(step)
		if err != nil {
			return err
		}
		c.Send(p)
		if step.Done {
			return nil
		}
		if err := c.Flush(); err != nil {
			return err
		}
	}
}

// Password implements auth.Service.
func (a Auth) Password(ctx context.Context, attempt auth.Attempt, user, password string) (auth.Identity, error) {
	return call[passwordRequest, auth.Identity](ctx, a.Client, "auth.password", passwordRequest{attempt, []byte(user), []byte(password)})
}

// APOP implements auth.Service.
func (a Auth) APOP(ctx context.Context, attempt auth.Attempt, user, timestamp, digest string) (auth.Identity, error) {
	return call[apopRequest, auth.Identity](ctx, a.Client, "auth.apop", apopRequest{attempt, []byte(user), []byte(timestamp), []byte(digest)})
}

// allowedWait bounds Allowed, which greetings wait for.
const allowedWait = 2 * time.Second

// Allowed implements auth.Service.
func (a Auth) Allowed(ctx context.Context, client netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, allowedWait)
	defer cancel()
	_, err := once[netip.Addr, none](ctx, a.Client, "auth.allowed", client)
	return err
}

// SCRAM implements auth.Service.
func (a Auth) SCRAM(ctx context.Context, attempt auth.Attempt, bindings []auth.ChannelBinding) (auth.Conversation, error) {
	p, err := json.Marshal(scramRequest{attempt, bindings})
	if err != nil {
		return nil, err
	}
	s, err := a.Client.Open(ctx, "auth.scram", p)
	if err != nil {
		return nil, err
	}
	return &conversation{stream: s}, nil
}

// conversation is the client's side of auth.scram.
type conversation struct {
	stream   *rpc.Stream
	identity auth.Identity
	over     bool
}

// Step implements auth.Conversation.
func (c *conversation) Step(_ context.Context, response []byte) (challenge []byte, done bool, err error) {
	if c.over {
		return nil, false, errors.New("the conversation is over")
	}
	if len(response) > rpc.MaxFrame {
		return nil, false, fmt.Errorf("a response of %d bytes", len(response))
	}
	step, err := c.step(response)
	if err != nil || step.Done {
		c.over = true
		if err == nil {
			_, err = c.stream.Reply()
		}
		c.stream.Close()
	}
	if err != nil {
		return nil, false, err
	}
	c.identity = step.Identity
	return step.Challenge, step.Done, nil
}

func (c *conversation) step(response []byte) (step scramStep, err error) {
	if err := c.stream.Send(response); err != nil {
		return step, err
	}
	if err := c.stream.Flush(); err != nil {
		return step, err
	}
	p, err := c.stream.Recv()
	if err != nil {
		return step, err
	}
	return step, json.Unmarshal(p, &step)
}

// Identity implements auth.Conversation.
func (c *conversation) Identity() auth.Identity { return c.identity }

// Close implements auth.Conversation.
func (c *conversation) Close() error {
	if c.over {
		return nil
	}
	c.over = true
	if err := c.stream.CloseSend(); err != nil {
		c.stream.Close()
		return nil // the other side has closed it already
	}
	c.stream.Reply()
	return nil
}
