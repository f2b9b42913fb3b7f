package service

import (
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/listen"
)

// This file is what the server listens on.

// sockets lists everything that the configuration asks to listen on.
func sockets(c *config.Config) (list []listen.Socket) {
	tcp := func(name string, r role.Role, addrs []string) {
		for _, a := range addrs {
			list = append(list, listen.Socket{Name: name, Role: r, Address: c.Trial.Address(a)})
		}
	}
	for _, s := range c.Services() {
		r, _ := role.Serving(s.Name)
		tcp(s.Name, r, s.Listen)
	}
	if c.TLS.ACME {
		tcp("acme", role.SMTPD, []string{c.TLS.ACMEHTTP})
	}
	list = append(list, openTo(injectSocket, role.SMTPD, c.Inject.Socket)...)
	for _, r := range handedRoles {
		list = append(list, listen.Socket{Name: r.HandedSocket(), Role: r, Admin: true})
	}
	list = append(list, openTo(control.Manage, role.Console, c.Admin.Socket)...)
	for _, r := range role.All() {
		if officeMethods[r] != nil {
			list = append(list, listen.Socket{Name: r.OfficeSocket(), Role: r, Admin: true, For: role.Console})
		}
	}
	for _, r := range role.All() {
		list = append(list, listen.Socket{Name: string(r), Role: r}, listen.Socket{Name: r.AdminSocket(), Role: r, Admin: true})
	}
	return append(list, listen.Socket{Name: control.Supervisor, Admin: true})
}

// openTo are the sockets of one name that every user may connect to: one in the run folder, and one where the operator wants it.
func openTo(name string, r role.Role, path string) []listen.Socket {
	list := []listen.Socket{{Name: name, Role: r, Open: true}}
	if path != "" {
		list = append(list, listen.Socket{Name: name, Role: r, Open: true, Path: path})
	}
	return list
}

// handedRoles are the roles that take connections which other programs have accepted; see package handed.
var handedRoles = []role.Role{role.SMTPD, role.Access}

// runasSockets are those of role runas, where it is run.
func (n *Node) runasSockets() []listen.Socket {
	if n.ids == nil || !n.cfg.RunAs.Enabled {
		return nil
	}
	return []listen.Socket{{Name: runasSocket, Role: role.RunAs}, {Name: role.RunAs.AdminSocket(), Role: role.RunAs, Admin: true}}
}
