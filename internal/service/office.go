package service

import (
	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
)

// Role console does for administrators of domains what package authority allows them. For that the roles that
// keep things have an office socket each, which it alone may use, with no more methods than that takes: it cannot
// change domains, appoint anybody, read or change mail, or copy a store.

// officeMethods are what role console may call.
var officeMethods = map[role.Role][]string{
	role.Directory: {"directory.find", "directory.account", "directory.accounts", "directory.put-account", "directory.change-account", "directory.remove-account",
		"directory.aliases", "directory.put-alias", "directory.remove-alias", "directory.administrators", "directory.administered", "directory.set-catch-all", "directory.forget-removed"},
	role.Auth:   {"auth.set-password", "auth.credentials", "auth.add-app", "auth.remove-app", "auth.end-sessions", "auth.remove"},
	role.Queue:  {queueadmin.MethodCount, queueadmin.MethodList, queueadmin.MethodAct},
	role.Local:  {mailboxes.MethodAside, mailboxes.MethodUsage},
	role.Access: {mailboxes.MethodFree},
}

// officeHandlers picks a role's methods for its office socket.
func officeHandlers(part *part) map[string]rpc.Handler {
	from := part.office
	if from == nil {
		from = part.admin
	}
	picked := map[string]rpc.Handler{rolecall.MethodAlive: part.admin[rolecall.MethodAlive]}
	for _, method := range officeMethods[part.role] {
		if h := from[method]; h != nil {
			picked[method] = h
		}
	}
	return picked
}

// journal tells of what is changed through a role.
func (p *process) journal(part *part) authority.Journal {
	return authority.Journal{Recorder: part.recorder, Clock: p.clock}
}

// anyDirectory is the directory as those see it who ask for single accounts.
func (p *process) anyDirectory() directory.Admin {
	if p.here.directory != nil {
		return p.here.directory
	}
	return p.directoryClient()
}
