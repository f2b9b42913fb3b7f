package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/auth/secrets"
	"github.com/postilion/postilion/internal/auth/shadow"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/passwd"
	"github.com/postilion/postilion/internal/directory/sysuser"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/service/listen"
	"github.com/postilion/postilion/internal/trace/logs"
)

// runasSocket is the socket on which role runas serves other roles. Its own seam is none of
// rpc's, since it hands over open files.
const runasSocket = "runas-users"

// roles are those that this server runs: runas first, since it is needed to the last.
func (n *Node) roles() []role.Role {
	if n.ids != nil && n.cfg.RunAs.Enabled {
		return append([]role.Role{role.RunAs}, role.All()...)
	}
	return role.All()
}

// runas returns how this process reaches users of the system: nil where none are served.
func (p *process) runas() (runas.Service, error) {
	switch {
	case !p.cfg.RunAs.Enabled:
		return nil, nil
	case p.here.runas != nil:
		return p.here.runas, nil
	case p.has(role.Local) && p.has(role.Access): // all in one process
		h, err := runas.NewHere(p.cfg.RunAs)
		if err != nil {
			return nil, err
		}
		p.here.runas = h
	default:
		p.here.runas = p.runasClient()
	}
	return p.here.runas, nil
}

func (p *process) runasClient() *runas.Client {
	data := p.cfg.Data
	return runas.NewClient(func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, data, runasSocket) }, p.cfg.RunAs)
}

// systemPasswords checks the passwords of the system's users.
func systemPasswords() *shadow.Passwords {
	return shadow.New(shadow.Options{Match: secrets.Matches})
}

// serveRunas is role runas: the one process that keeps root. It opens no file of the data folder,
// since those who own them are trusted less; what it has to say goes to the supervisor's standard error.
func serveRunas(ctx context.Context, c *config.Config, h handover, sockets listen.Bound, stderr io.Writer) error {
	unix.Umask(0o077)
	// HUP means nothing here. Ignored it would be ignored by programs too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	log := logs.Direct(c.Log, string(role.RunAs), stderr)
	var own runas.Reserved
	for _, gid := range h.Groups {
		own.GIDs = append(own.GIDs, uint32(gid))
	}
	peers := map[uint32]runas.Rights{}
	for r, uid := range h.Roles {
		own.UIDs = append(own.UIDs, uint32(uid))
		switch r {
		case role.Local:
			peers[uint32(uid)] = runas.Rights{Files: true, Programs: !c.Trial.Enabled}
		case role.Access:
			peers[uint32(uid)] = runas.Rights{Files: true}
		case role.Auth:
			peers[uint32(uid)] = runas.Rights{Passwords: true}
		case role.Queue:
			peers[uint32(uid)] = runas.Rights{Holds: true}
		}
	}
	s, err := runas.NewServer(c.RunAs, own)
	if err != nil {
		return err
	}
	s.Peers, s.Passwords, s.Log = peers, systemPasswords(), log
	admin := &rpc.Server{Allow: control.Owners(c.Data), Handlers: map[string]rpc.Handler{
		rolecall.MethodFacts: rpc.Handle(func(context.Context, none) (map[string]any, error) { return s.Facts(), nil }),
	}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var done sync.WaitGroup
	defer done.Wait()
	failed := make(chan error, len(sockets)+1)
	for _, l := range sockets {
		serve := admin.Serve
		if l.Name == runasSocket {
			serve = s.Serve
		}
		done.Go(func() { failed <- serve(ctx, l) })
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		cancel()
		return fmt.Errorf("a listener ended: %w", err)
	}
}

// runasRights are the rights of root that role runas keeps (capabilities(7)): to become a user, to end and to
// limit what a user runs. Files it reaches with the users' rights alone.
var runasRights = []uint{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL, unix.CAP_SYS_RESOURCE}

// limitedMark is set in the environment of the program that giveUpRights starts.
const limitedMark = "POSTILION_RIGHTS=given-up"

// giveUpRights leaves the process without root's other rights. Rights belong to threads, and a
// program that is started has those that its thread may still gain: this program is started
// again in place, once, from a thread that may gain no others.
func giveUpRights() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	if err := unix.Capget(&head, &now[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	has := func(c uint) bool { return now[c/32].Permitted&(1<<(c%32)) != 0 }
	if !has(unix.CAP_SETUID) || !has(unix.CAP_SETGID) {
		return errors.New("this process may not change its uid (CAP_SETUID, CAP_SETGID): users of this system cannot be served")
	}
	if slices.Contains(os.Environ(), limitedMark) || !has(unix.CAP_SETPCAP) {
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for c := range uint(64) {
		if slices.Contains(runasRights, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); errors.Is(err, unix.EINVAL) {
			break // the kernel knows no more
		} else if err != nil {
			return fmt.Errorf("capabilities: %w", err)
		}
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), limitedMark))
}

// systemAccounts makes accounts of this system's users.
func (p *process) systemAccounts() *passwd.Source {
	s := &passwd.Source{Users: sysuser.New(sysuser.Options{}), Maildir: cmp.Or(p.cfg.RunAs.MaildirPath, "Maildir")}
	for _, d := range []string{p.cfg.Auth.DefaultDomain, p.cfg.Host} {
		if d != "" {
			s.Domains = append(s.Domains, d)
		}
	}
	return s
}

// systemUsers are this system's users with their passwords, for role auth; nil where none are served.
func (p *process) systemUsers() secrets.SystemUsers {
	if !p.cfg.RunAs.Enabled {
		return nil
	}
	s := systemUsers{Source: p.systemAccounts()}
	if p.has(role.Local) && p.has(role.Access) { // all in one process
		s.Passwords = systemPasswords()
	} else {
		s.Passwords = p.runasClient()
	}
	return s
}

type systemUsers struct {
	*passwd.Source
	runas.Passwords
}

// homes returns how the mailboxes in users' homes are reached, whose files are as old as ages says.
func (p *process) homes(users runas.Service, ages *clock.Steady) func(context.Context, *directory.SystemUser) (*maildir.Store, error) {
	if users == nil {
		return nil
	}
	return func(ctx context.Context, u *directory.SystemUser) (*maildir.Store, error) {
		files, err := users.Files(ctx, runas.User{Name: u.Name, UID: u.UID, GID: u.GID, Home: u.Home})
		if err != nil {
			return nil, err
		}
		return maildir.New(p.cfg.Local.Maildir, maildir.Deps{FS: files, Barrier: &fs.Barrier{FS: files}, Clock: p.clock, Files: ages}), nil
	}
}
