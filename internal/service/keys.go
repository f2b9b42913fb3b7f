package service

import (
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/certs"
)

// This file is which keys of the configuration each role is given: those that it needs, so that who breaks into one learns no more.

// roleGroups are the groups of keys that each role is given, besides those of
// everyGroup and the keys outside of groups.
var roleGroups = map[role.Role][]string{
	role.Auth:    {"auth", "runas"},
	role.Local:   {"local", "runas", "inject", "dispatch"}, // dispatch: how many deliveries there are at once
	role.Remote:  {"remote", "dns", "smtp"},                // smtp: where mail would come back
	role.Queue:   {"queue", "dispatch", "archive", "bounce", "route"},
	role.SMTPD:   {"inject", "smtp", "submission", "submissions", "lmtp", "policy", "floors", "submit", "content_rules", "archive", "route", "tls", "qmtp", "qmqp", "dns", "dns_lists", "turn"},
	role.Access:  {"pop3", "pop3s", "local", "tls", "dns", "runas"},
	role.RunAs:   {"runas"},
	role.Console: {"metrics", "admin"},
}

var everyGroup = []string{"log", "events", "process", "trial"}

// groupsOf returns the groups that a role is given.
func groupsOf(r role.Role) []string {
	return append(append([]string(nil), everyGroup...), roleGroups[r]...)
}

// forRole returns the configuration as a role in a process of its own sees it: the
// certificate is the copy, and smtpd, which only asks what an address is, gets no relay's
// password.
func forRole(c *config.Config, r role.Role) *config.Config {
	seen := *c
	seen.TLS.Cert, seen.TLS.Key = certs.ForRoles(c)
	if r == role.SMTPD {
		seen.Route.NextHop = withoutLogin(c.Route.NextHop)
		seen.Route.Routes = nil
		for _, line := range c.Route.Routes {
			seen.Route.Routes = append(seen.Route.Routes, withoutLogin(line))
		}
	}
	return &seen
}

// withoutLogin takes user and password out of a route.
func withoutLogin(line string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(line), func(w string) bool {
		return strings.HasPrefix(w, "user=") || strings.HasPrefix(w, "password=")
	}), " ")
}
