package service

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/role"
)

// This file brings a changed configuration into force while the server runs: in all roles, or in none.

// reload reads the configuration again: validated, prepared in every role, then
// switched. A mistake anywhere changes nothing.
func (n *Node) reload(ctx context.Context) (control.Reloaded, error) {
	notifyReloading()
	defer notify(daemon.SdNotifyReady)
	var done control.Reloaded
	f, err := config.Read(n.opts.Config, n.opts.Flags)
	if err != nil {
		return done, err
	}
	n.mu.Lock()
	last, running := n.file, n.cfg
	n.mu.Unlock()
	if done, err = n.compare(last, f); err != nil {
		return done, err
	}
	for _, method := range []string{rolecall.MethodPrepare, rolecall.MethodSwitch} {
		if err := n.tellRoles(ctx, method, f.Config); err != nil {
			return control.Reloaded{}, err
		}
	}
	// What needs a restart stays as it was for processes that are started meanwhile.
	inForce, err := running.With(f.Config, hot)
	if err != nil {
		return control.Reloaded{}, err
	}
	n.mu.Lock()
	n.cfg, n.file, n.reloaded = inForce, f, time.Now()
	n.mu.Unlock()
	n.log.Info("the configuration was reloaded", "changed", done.Changed, "needs_restart", done.NeedsRestart)
	return done, nil
}

// compare tells what a reload changes: keys that differ from the last one's, and those that only a
// restart brings into force, which are compared with what the server began with.
func (n *Node) compare(last, now *config.File) (r control.Reloaded, err error) {
	changed, err := changedKeys(last, now)
	if err != nil {
		return r, err
	}
	began, err := changedKeys(n.began, now)
	if err != nil {
		return r, err
	}
	r.Changed = slices.DeleteFunc(changed, func(key string) bool { return !hot(key) })
	r.NeedsRestart = slices.DeleteFunc(began, hot)
	return r, nil
}

// tellRoles has every role prepare its part of c, or switch to it.
func (n *Node) tellRoles(ctx context.Context, method string, c *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var errs []error
	for _, r := range role.All() {
		if n.sup != nil && n.sup.Stopped(r) {
			continue // it gets the configuration when it is started
		}
		mine := c
		if n.ids != nil {
			mine = forRole(c, r)
		}
		text, err := mine.Encode(groupsOf(r)...)
		if err != nil {
			return err
		}
		if method == rolecall.MethodSwitch {
			_, err = rolecall.Ask[none, none](ctx, n.cfg.Data, r, method, none{})
		} else {
			_, err = rolecall.Ask[string, none](ctx, n.cfg.Data, r, method, string(text))
		}
		if err != nil {
			errs = append(errs, rolecall.About(r, err))
		}
	}
	return errors.Join(errs...)
}

// changedKeys lists the keys whose values differ.
func changedKeys(old, now *config.File) (keys []string, err error) {
	values := map[string]string{}
	before, err := old.Settings(true)
	if err != nil {
		return nil, err
	}
	for _, s := range before {
		values[s.Key] = s.Value
	}
	after, err := now.Settings(true)
	if err != nil {
		return nil, err
	}
	for _, s := range after {
		if v, ok := values[s.Key]; !ok || v != s.Value {
			keys = append(keys, s.Key)
		}
		delete(values, s.Key)
	}
	return slices.AppendSeq(keys, maps.Keys(values)), nil
}

// hotGroups are the groups that a reload brings into force.
var hotGroups = []string{"route", "policy", "submit", "floors", "smtp", "submission", "submissions", "lmtp", "pop3", "pop3s", "qmtp", "qmqp", "dns_lists", "turn", "inject", "remote"}

// coldKeys are keys of hot groups that belong to the listener, which stays.
var coldKeys = []string{"listen", "max_connections", "max_per_client", "connection_rate", "exempt", "proxy_from", "tls_timeout", "stop_timeout", "socket"}

func hot(key string) bool {
	group, last, _ := strings.Cut(key, ".")
	if slices.Contains(coldKeys, last) {
		return false
	}
	return slices.Contains(hotGroups, group)
}
