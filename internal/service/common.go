package service

import (
	"context"
	"errors"
	"sync"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/rpc"
)

// This file is what every role answers.

// none is the request or reply of calls without one.
type none struct{}

// errGone is for nobody: who asked is not there any more.
var errGone = errors.New("nobody waits for the answer")

// whileAsked drops calls whose caller has given up and said so: what an operator was told to have failed must not be done when
// the role comes to it, minutes later.
func whileAsked(handlers map[string]rpc.Handler) {
	for method, serve := range handlers {
		handlers[method] = func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
			if c != nil && c.Gone() {
				return nil, errGone
			}
			return serve(ctx, c, request)
		}
	}
}

// addCommon adds what every role answers, and has verbs' calls served while they wait for the answer.
func (p *process) addCommon(part *part) {
	defer func() {
		whileAsked(part.admin)
		whileAsked(part.office)
	}()
	counters := rpc.Handle(func(context.Context, none) (any, error) { return part.counters.Snapshot(), nil })
	part.seam[rolecall.MethodCounters] = counters
	part.admin[rolecall.MethodCounters] = counters
	part.admin[rolecall.MethodFacts] = rpc.Handle(func(ctx context.Context, _ none) (map[string]any, error) {
		if part.facts == nil {
			return nil, nil
		}
		return part.facts(ctx), nil
	})
	part.admin[rolecall.MethodAlive] = rpc.Handle(func(ctx context.Context, _ none) (none, error) {
		if part.alive != nil {
			part.alive(ctx)
		}
		return none{}, nil
	})
	var mu sync.Mutex
	var pending func()
	part.admin[rolecall.MethodPrepare] = rpc.Handle(func(_ context.Context, text string) (none, error) {
		f, err := config.Decode("reload", []byte(text))
		if err != nil || part.prepare == nil {
			return none{}, err
		}
		switchOver, err := part.prepare(f.Config)
		mu.Lock()
		pending = switchOver
		mu.Unlock()
		return none{}, err
	})
	part.admin[rolecall.MethodSwitch] = rpc.Handle(func(context.Context, none) (none, error) {
		mu.Lock()
		defer mu.Unlock()
		if pending != nil {
			pending()
			pending = nil
		}
		return none{}, nil
	})
}

// snapshotter is a store that copies itself while it is in use.
type snapshotter interface {
	Backup(ctx context.Context, path string) error
}

// snapshotHandler serves rolecall.MethodSnapshot.
func snapshotHandler(s snapshotter) rpc.Handler {
	return rpc.Handle(func(ctx context.Context, path string) (none, error) { return none{}, s.Backup(ctx, path) })
}
