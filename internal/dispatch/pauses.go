package dispatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/postilion/postilion/internal/fs"
)

// This file is what operators pause. A pause holds at once, and over restarts: it is
// kept in a small file beside the queue until it is continued.

// Scope is what is paused or continued: a destination's domain, a queue group, or with
// neither everything.
type Scope struct {
	Domain string `json:"domain,omitempty"`
	Group  string `json:"group,omitempty"` // "default" is that of mail without a group
}

// pauses is what the file keeps.
type pauses struct {
	Version int      `json:"version"`
	All     bool     `json:"all,omitempty"`
	Domains []string `json:"domains,omitempty"`
	Groups  []string `json:"groups,omitempty"` // "" is that of mail without a group
}

const (
	pausesFile    = "pauses.json"
	pausesVersion = 1
	maxPauses     = 1 << 20 // bytes of the file
)

// Pause keeps deliveries of the scope from starting until Continue. Those that run go on. An
// error means that the pause is in force, but ends with the process.
func (d *Dispatcher) Pause(s Scope) error {
	d.pausing.Lock()
	defer d.pausing.Unlock()
	d.mu.Lock()
	switch {
	case s.Domain != "":
		d.pauseDomain(s.Domain)
	case s.Group != "":
		d.group(groupName(s.Group)).paused = true
	default:
		d.paused = true
	}
	now := d.pauses()
	d.mu.Unlock()
	return d.savePauses(now)
}

// pauseDomain is called with mu held.
func (d *Dispatcher) pauseDomain(domain string) {
	if name := foldDomain(domain); d.parked[name] == nil {
		d.parked[name] = d.lanes.add(laneKey{})
	}
}

// Continue undoes Pause of the same scope. An error means that a restart brings the pause back.
func (d *Dispatcher) Continue(s Scope) error {
	d.pausing.Lock()
	defer d.pausing.Unlock()
	d.mu.Lock()
	switch {
	case s.Domain != "":
		d.continueDomain(foldDomain(s.Domain))
	case s.Group != "":
		d.group(groupName(s.Group)).paused = false
	default:
		d.paused = false
	}
	d.pump()
	d.nudge()
	now := d.pauses()
	d.mu.Unlock()
	return d.savePauses(now)
}

// continueDomain is called with mu held.
func (d *Dispatcher) continueDomain(name string) {
	l := d.parked[name]
	if l == nil {
		return
	}
	delete(d.parked, name)
	for len(l.wait) > 0 {
		t := d.tasks.at(l.wait[0])
		d.unplace(t)
		if m := d.msg(t); !m.held {
			d.place(t, d.lane(nil, d.groups[m.group]))
		}
	}
	d.lanes.remove(l)
}

// pauses lists what is paused, with mu held.
func (d *Dispatcher) pauses() pauses {
	p := pauses{Version: pausesVersion, All: d.paused}
	for name := range d.parked {
		p.Domains = append(p.Domains, name)
	}
	slices.Sort(p.Domains)
	for _, g := range d.groups {
		if g.paused {
			p.Groups = append(p.Groups, g.name)
		}
	}
	return p
}

// savePauses replaces the file; the old or the new one survives a power cut.
func (d *Dispatcher) savePauses(p pauses) error {
	if d.deps.Folder == nil {
		return nil
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = replaceFile(d.deps.Folder, pausesFile, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("in force until the next start only, since it could not be saved: %w", err)
	}
	return nil
}

func replaceFile(dir fs.FS, name string, text []byte) error {
	tmp := name + ".new"
	f, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = dir.Rename(tmp, name)
	}
	if err != nil {
		dir.Remove(tmp) // best effort: the next one overwrites it
		return err
	}
	return dir.SyncDir(".")
}

// loadPauses brings what was paused before the start into force. A file that cannot be read
// pauses everything: too late is better than against the operator's word.
func (d *Dispatcher) loadPauses() {
	if d.deps.Folder == nil {
		return
	}
	p, err := readPauses(d.deps.Folder)
	if err != nil {
		d.deps.Log.Error("what was paused could not be read, so all deliveries are paused; continue them when that is right", "file", pausesFile, "error", err)
		p = pauses{All: true}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paused = p.All
	for _, name := range p.Domains {
		d.pauseDomain(name)
	}
	for _, name := range p.Groups {
		d.group(name).paused = true
	}
}

func readPauses(dir fs.FS) (p pauses, err error) {
	f, err := dir.OpenFile(pausesFile, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPauses))
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, err
	}
	if p.Version != pausesVersion {
		return p, fmt.Errorf("version %d: this program knows version %d", p.Version, pausesVersion)
	}
	return p, nil
}
