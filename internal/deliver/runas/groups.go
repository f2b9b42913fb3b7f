package runas

// A group is asked for like a uid: users/assign may pair any two. A role that was broken into must not choose
// its way to the machine by one, so the groups that give power over it are given to nobody, but to a user whose own
// group the system says it is; those of the server itself (the TLS key's, the mailboxes') to nobody at all.

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/directory/sysuser"
	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/reason"
)

// powerful are groups that give power over the machine: its disks and memory, the passwords, root by a program or by a
// daemon, others' terminals, the log. Each says the system that has it, where that is not any.
var powerful = []string{
	"root", "wheel", "sudo", "admin", "google-sudoers",
	"disk", "kmem", "mem", "shadow", "tty", "input",
	"docker", "podman", "lxd", "incus", "incus-admin", "libvirt",
	"adm", "systemd-journal",
	"staff", // Debian: writes /usr/local, whose programs root starts
}

// noGroups is what Options.RefusedGroups says for none.
const noGroups = "none"

// groups tells which groups users are not given. The zero value refuses none.
type groups struct {
	names    map[string]bool
	numbers  map[uint32]bool
	reserved map[uint32]bool // the server's own

	file  *reread.File[map[uint32]string] // names of those refused, by number
	users *sysuser.Users
}

// newGroups reads Options.RefusedGroups.
func newGroups(list string) (*groups, error) {
	g := &groups{names: map[string]bool{}, numbers: map[uint32]bool{}, reserved: map[uint32]bool{}, users: sysuser.New(sysuser.Options{})}
	names := strings.Fields(list)
	switch {
	case len(names) == 0:
		names = powerful
	case len(names) == 1 && names[0] == noGroups:
		names = nil
	}
	for _, name := range names {
		n, err := strconv.ParseUint(name, 10, 32)
		switch {
		case err == nil:
			g.numbers[uint32(n)] = true
		case strings.ContainsAny(name, ":,") || name == noGroups:
			return nil, fmt.Errorf("refused_groups: %q: want names or numbers of groups with spaces between them, or none alone", name)
		}
		g.names[name] = true
	}
	if g.names["root"] {
		g.numbers[0] = true // whatever the file calls it
	}
	g.file = &reread.File[map[uint32]string]{Path: "/etc/group", Parse: g.parse, Optional: true}
	return g, nil
}

// parse finds the groups refused in group(5). As in the C library a line that is none is passed over, and the first of two
// with one name counts.
func (g *groups) parse(data []byte) (map[uint32]string, error) {
	found, seen := map[uint32]string{}, map[string]bool{}
	for line := range bytes.Lines(data) {
		f := strings.SplitN(strings.TrimSpace(string(line)), ":", 4)
		if len(f) < 3 || !g.names[f[0]] || seen[f[0]] {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			found[uint32(n)], seen[f[0]] = f[0], true
		}
	}
	return found, nil
}

// PowerfulGroups returns the names of the groups, by their number, that a file of groups says users are not given unless
// Options.RefusedGroups says otherwise.
func PowerfulGroups(file []byte) map[uint32]string {
	g, err := newGroups("")
	if err != nil {
		return nil // the list above is right
	}
	found, _ := g.parse(file)
	found[0] = "root"
	return found
}

// check refuses a user's group. It costs no system call where the group is nothing special.
func (g *groups) check(u User) *reason.Error {
	if g == nil {
		return nil
	}
	if g.reserved[u.GID] {
		return reason.RunasReserved.With(u.title())
	}
	named, err := g.file.Get()
	if err != nil {
		return reason.RunasUnavailable.Because(err)
	}
	name, refused := named[u.GID]
	if !refused && !g.numbers[u.GID] {
		return nil
	}
	// What a login gives, mail may.
	if own, ok, err := g.users.Lookup(u.Name); err == nil && ok && own.UID == u.UID && own.GID == u.GID && u.GID != 0 {
		return nil
	}
	if name == "" {
		name = strconv.FormatUint(uint64(u.GID), 10)
	}
	return reason.RunasGroup.With(u.title(), name)
}
