package service

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/dispatch"
	pfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/role"
)

// This file is what `status` shows, and why the server refuses mail where it does.

// Status tells how the server is.
func (n *Node) Status(ctx context.Context) control.Status {
	n.mu.Lock()
	s := control.Status{
		Version: n.opts.Version, Host: n.cfg.Host, Data: n.cfg.Data, PID: os.Getpid(), Started: n.started,
		Seconds: int64(time.Since(n.started).Seconds()), Single: n.sup == nil, Paused: n.paused, Reloaded: n.reloaded,
		Listeners: n.Listeners(), Load: loadAverages(),
	}
	s.Notes = loadNotes(n.cfg.Floors.RefuseLoad, n.cfg.Process.QueueLoad, s.Load[0]/float64(runtime.NumCPU()))
	s.Notes = append(s.Notes, diskNotes(n.cfg.Floors, n.cfg.Data)...)
	s.Notes = append(s.Notes, qmailNotes(n.cfg)...)
	n.mu.Unlock()
	if n.sup != nil {
		s.Roles = n.sup.Status()
	} else {
		for _, r := range role.All() {
			s.Roles = append(s.Roles, control.Role{Name: string(r), State: "up", PID: s.PID, UID: os.Getuid(), Seconds: s.Seconds})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range s.Roles {
		r := &s.Roles[i]
		if r.PID == 0 {
			continue
		}
		wg.Go(func() {
			facts, err := rolecall.Ask[none, map[string]any](ctx, n.cfg.Data, role.Role(r.Name), rolecall.MethodFacts, none{})
			if err != nil && r.State == "up" {
				r.State = "starting"
				if r.Seconds > 5 {
					r.State = "hung"
				}
				return
			}
			r.Facts = facts
		})
	}
	wg.Wait()
	s.Notes = append(s.Notes, queueNotes(s.Roles)...)
	for _, r := range s.Roles {
		if paused, ok := r.Facts["paused"].(bool); ok && r.Name == string(role.Queue) {
			s.Paused = paused
		}
	}
	return s
}

// loadNotes tells what the load a processor keeps the server from: sendmail's "rejecting connections"
// and queueing only. The limits are those of policy.Floors and queueOnly.
func loadNotes(refuse, queue int, load float64) []string {
	if most := cmp.Or(refuse, 12); most >= 0 && load > float64(most) {
		return []string{fmt.Sprintf("rejecting connections: the load a processor is %.1f, above floors.refuse_load = %d", load, most)}
	}
	if most := cmp.Or(queue, 8); most >= 0 && load > float64(most) {
		return []string{fmt.Sprintf("mail is only queued: the load a processor is %.1f, above process.queue_load = %d", load, most)}
	}
	return nil
}

// diskNotes tells when there is too little room to take mail.
func diskNotes(o policy.FloorOptions, data string) []string {
	floors := policy.Floors{Options: o, Space: func() (pfs.Space, error) {
		root, err := osfs.New(data)
		if err != nil {
			return pfs.Space{}, err
		}
		return root.Space("queue")
	}}
	err := floors.Full()
	if err == nil {
		return nil
	}
	return []string{"rejecting messages: " + err.Error()}
}

// queueNotes moves what the queue itself says of why it takes no message out of the roles' facts: a full or failing
// disk, which no floor needs to know of.
func queueNotes(roles []control.Role) (notes []string) {
	for _, r := range roles {
		if text, ok := r.Facts[factRejecting].(string); ok {
			notes = append(notes, "rejecting messages: "+text)
			delete(r.Facts, factRejecting)
		}
	}
	return notes
}

// loadAverages returns the host's load of 1, 5 and 15 minutes (proc(5)).
func loadAverages() (l [3]float64) {
	p, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		fmt.Sscan(string(p), &l[0], &l[1], &l[2])
	}
	return l
}

// factRejecting is why the queue takes no message; there is none where it does. Status tells it above the table.
const factRejecting = "rejecting"

// queueFacts is the queue's state as `status` shows it.
func queueFacts(s dispatch.Stats, refuses error) map[string]any {
	groups := []string{}
	for _, g := range s.Groups {
		if g.Paused {
			groups = append(groups, g.Name)
		}
	}
	facts := map[string]any{
		"paused_domains": append([]string{}, s.PausedDomains...), "paused_groups": groups,
		"messages": s.Messages, "recipients": s.Recipients, "held": s.Held, "ready": s.Ready,
		"running_local": s.RunningLocal, "running_remote": s.RunningRemote,
		"oldest_seconds": int64(s.OldestAge.Seconds()), "loaded": s.Loaded, "paused": s.Paused, "held_back": s.HeldBack,
	}
	if refuses != nil {
		facts[factRejecting] = refuses.Error()
	}
	return facts
}
