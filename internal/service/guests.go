package service

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/service/turn"
)

// This file is who clients are to the listeners.

// guests makes the checkers of a role's listeners.
type guests struct {
	resolver *netx.Resolver
	warn     func(error) // of files that turned bad
	refusing func(error) // of DNS lists that refuse our questions

	mu   sync.Mutex
	each []*client.Checker // in force

	content atomic.Pointer[headers.Set] // in force; nil without
}

func (p *process) newGuests() (*guests, error) {
	r, err := netx.NewResolver(p.cfg.DNS)
	if err != nil {
		return nil, err
	}
	return &guests{resolver: r, warn: func(err error) {
		p.logger().Warn("a file is wrong; what it said before stays in force", "error", err)
	}, refusing: func(err error) {
		p.logger().Warn("a DNS list is of no use", "error", err)
	}}, nil
}

// lists compiles the DNS lists.
func (g *guests) lists(c *config.Config) (*dnsbl.Lists, error) {
	return dnsbl.New(c.DNSLists, g.resolver, g.refusing)
}

// checker makes one listener's; lists may be nil.
func (g *guests) checker(service string, o client.Options, lists *dnsbl.Lists) (*client.Checker, error) {
	return client.New(service, o, client.Deps{Resolver: g.resolver, Lists: lists, Warn: g.warn})
}

// use remembers which checkers are in force, for facts.
func (g *guests) use(each []*client.Checker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.each = each
}

// facts adds to a role's facts which files of rules are wrong.
func (g *guests) facts(m map[string]any) map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	var bad []string
	for _, k := range g.each {
		for _, e := range k.Errors() {
			if !slices.Contains(bad, e) {
				bad = append(bad, e)
			}
		}
	}
	bad = append(bad, g.content.Load().Errors()...)
	if bad != nil {
		m["wrong_rules"] = strings.Join(bad, "; ")
	}
	return m
}

// newFetchers prepares who may have mail that waits sent.
func (p *process) newFetchers(c *config.Config, g *guests) (*turn.Fetchers, error) {
	own := new(netx.OwnAddrs)
	router, err := route.New(c.Route, p.reader(), own.Contains)
	if err != nil {
		return nil, err
	}
	return turn.New(c, turn.Deps{Resolver: g.resolver, Router: router, Start: p.queueView().Fetch, Now: time.Now})
}
