package crashfs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// Kind is a kind of operation; kinds combine with |.
type Kind uint32

// The kinds of operations. Those up to OpSyncAll go into the journal.
const (
	OpCreate Kind = 1 << iota
	OpWrite
	OpTruncate
	OpRename
	OpLink
	OpRemove
	OpMkdir
	OpChtimes
	OpSync // of a file, SyncData too
	OpSyncDir
	OpSyncAll
	OpOpen // without creation
	OpRead
	OpReadDir
	OpStat
	OpLock

	// OpChanging is every kind that goes into the journal.
	OpChanging = OpSyncAll<<1 - 1
)

// kindNames are the names of the kinds in the order of their bits.
var kindNames = [...]string{
	"create", "write", "truncate", "rename", "link", "remove", "mkdir", "chtimes", "sync", "sync folder",
	"sync all", "open", "read", "list", "stat", "lock",
}

func (k Kind) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// op is one operation of the journal.
type op struct {
	Call
	at      time.Time
	err     error
	changes []change
}

func (o *op) add(c change) { o.changes = append(o.changes, c) }

func (o *op) String() string {
	s := o.Kind.String() + " " + o.Name
	switch o.Kind {
	case OpRename, OpLink:
		s += " -> " + o.To
	case OpWrite:
		s += fmt.Sprintf(" (%d bytes at %d)", o.Len, o.Offset)
	case OpTruncate:
		s += fmt.Sprintf(" to %d", o.Len)
	}
	if o.err != nil {
		s += ": " + o.err.Error()
	}
	return s
}

// change is one effect of an operation on what the disk holds or owes.
type change struct {
	kind  changeKind
	isDir bool        // makeNode
	mode  fs.FileMode // makeNode
	index int         // setBlock
	node  ino
	to    ino    // setName, moveName: the node the name leads to, 0 for none
	dir   ino    // moveName: the folder of the new name
	name  string // setName, moveName
	newer string // moveName: the new name
	data  block  // setBlock; cutSize: the last block if it became shorter
	size  int64
}

type changeKind uint8

const (
	makeNode changeKind = iota
	setName
	moveName // both names of a rename
	setBlock
	setSize
	cutSize // to less than before
	setTime
	syncContent // blocks and size, and times unless it was SyncData
	syncTime
	syncNames
	syncAll
	loseContent // a sync failed: unsynced blocks count as written and are not
	loseAll     // loseContent of every file
)

// do lets an operation happen, or fail as injected, and puts it into the journal
// if it is of a kind that belongs there.
func (d *disk) do(c Call, f func(o *op) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := op{Call: c, at: d.now()}
	o.N = len(d.journal) + 1
	if err := d.injected(o.Call); err != nil {
		if c.Kind&OpChanging != 0 {
			o.err = err
			d.fail(&o)
			d.journal = append(d.journal, o)
		}
		return err
	}
	o.err = f(&o)
	if c.Kind&OpChanging != 0 && (o.err == nil || len(o.changes) > 0) {
		d.journal = append(d.journal, o)
	}
	return o.err
}

// fail adds what a failed operation does nevertheless: Linux counts pages as clean
// whose write-back failed, so the next sync succeeds without them.
func (d *disk) fail(o *op) {
	if errors.Is(o.err, errors.ErrUnsupported) {
		return // nothing was tried
	}
	switch o.Kind {
	case OpSync:
		o.add(change{kind: loseContent, node: o.node})
	case OpSyncAll:
		o.add(change{kind: loseAll})
		d.noAll = true
		for _, n := range d.nodes {
			if n.wrote > max(n.synced, d.synced) {
				n.lost, n.synced, n.told = o.N, o.N, false
			}
		}
	}
}

// Ops returns the number of operations in the journal.
func (d *disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.journal)
}

// Op describes operation n of the journal, counted from 1.
func (d *disk) Op(n int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.journal[n-1].String()
}
