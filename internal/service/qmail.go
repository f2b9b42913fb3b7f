package service

import (
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/qmailhost"
)

// A server that runs on a qmail sees changes of its files as qmail's programs do: those that these
// read at each of their starts count within seconds, whoever wrote them.

// watchEvery is how often a qmail's files are looked at.
const watchEvery = 2 * time.Second

// watchQmail reloads the configuration when a file of the qmail has changed. HUP and `reload` do
// the same at once.
func (n *Node) watchQmail(ctx context.Context) {
	told := map[migrate.Note]bool{}
	n.tellNotes(n.newNotes(told))
	if queue := oldQueue(n.cfg); queue != "" {
		n.log.Warn("programs of this host hand their mail to the old qmail", "program", queue)
	}
	seed := maphash.MakeSeed()
	tree := n.cfg.QmailTree()
	last := treeVersion(seed, tree)
	for clock.Sleep(ctx, watchEvery) == nil {
		now := treeVersion(seed, tree)
		if now == last {
			continue
		}
		last = now
		if _, err := n.reload(ctx); err != nil {
			n.log.Error("a change of the qmail's files is not in force", "error", err)
		}
		n.tellNotes(n.newNotes(told))
	}
}

// newNotes returns what was not told before.
func (n *Node) newNotes(told map[migrate.Note]bool) (list []migrate.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, note := range n.file.Notes {
		if !told[note] {
			told[note] = true
			list = append(list, note)
		}
	}
	return list
}

// treeVersion sums up the names, sizes and times of a qmail's files.
func treeVersion(seed maphash.Seed, o qmailhost.Options) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, name := range qmailhost.Files(o) {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintf(&h, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return h.Sum64()
}

// tellNotes logs what of the qmail's files does not count as it stands.
func (n *Node) tellNotes(notes []migrate.Note) {
	const most = 20
	told := 0
	for _, note := range notes {
		if note.Fate == migrate.Taken {
			continue
		}
		if told++; told > most {
			n.log.Warn("there are more such lines: `postilion migrate qmail` tells all of them")
			return
		}
		n.log.Warn("a line of the qmail's files does not count as it stands", "where", note.Where(), "line", note.What, "fate", note.Fate, "why", note.Text)
	}
}

// oldQueue returns the qmail's own qmail-queue where that is still in its place: what .qmail files and other
// programs of the host run with it (forward, sendmail) puts mail into a queue that nobody serves. In a trial
// that is as it should be, and a mini-qmail's qmail-qmqpc has no queue.
func oldQueue(c *config.Config) string {
	if c.Trial.Enabled || c.Qmail == "" {
		return ""
	}
	queue := filepath.Join(c.QmailTree().Dir, "bin", "qmail-queue")
	program, err := filepath.EvalSymlinks(queue)
	if err != nil {
		return ""
	}
	switch filepath.Base(program) {
	case "postilion-tools", "postilion", "qmail-qmqpc":
		return ""
	}
	return queue
}

// qmailNotes tells in status what kind of server this is.
func qmailNotes(c *config.Config) (notes []string) {
	if c.Trial.Enabled {
		notes = append(notes, "TRIAL: users' mail goes to "+trialFolder(c)+", no program of theirs is run, "+sendNote(c))
	}
	if c.Qmail != "" {
		notes = append(notes, "running on the qmail in "+c.Qmail)
		if queue := oldQueue(c); queue != "" {
			notes = append(notes, "OLD PROGRAMS: "+queue+" is qmail's own: mail of this host's programs goes into its queue; `postilion switch over` changes that")
		}
		if c.Policy.AnyRecipient {
			notes = append(notes, "OPEN RELAY: without "+filepath.Join(c.Qmail, "control/rcpthosts")+" mail for every host is taken from everybody")
		}
	}
	return notes
}
