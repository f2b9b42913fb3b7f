// Package crashfs is a file system in memory that can lose power: our model of what
// POSIX promises and of nothing more.
//
// Every operation that changes or syncs something goes into a journal. CrashAt cuts
// the journal after any operation and returns a file system as the disk might then
// hold it. What was synced is there. What was not is kept or dropped by chance:
// each block of a file, its size, and each name on its own, a removal or a rename as
// much as a creation, so that a file may have its size without its data, old blocks
// beside new ones, and a name that leads to nothing. Of kindness only this is
// left: a rename never loses both names, and a name leads to the file it was made
// for. A file's Sync does not make its name durable, SyncDir of its folder does.
//
// Explore runs a scenario once and checks it at many cuts. Package plant breaks a
// file system on purpose, to prove that a check can fail.
package crashfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// Options of a file system. The zero value is the strict model with a clock of its own.
type Options struct {
	// Ext4 makes names survive in the order of their operations, as a journal of
	// metadata does: after a cut there is a prefix of them. A Sync of a new file then
	// also makes its name durable, with every name operation before it.
	Ext4 bool
	// Now gives the times of files. Nil is a clock that starts with 2026 and moves on
	// by a millisecond with each operation, and by a second with a cut.
	Now func() time.Time
}

// FS is a tree on a disk that can lose power. Make it with New.
type FS struct {
	*disk
	prefix string // "." or the path of a Sub
}

var _ fs.FS = (*FS)(nil)

// disk is what a file system and its Subs share.
type disk struct {
	opts Options
	seed uint64
	base images    // what was there, durable, before the journal
	boot time.Time // when the journal began, without Options.Now

	mu      sync.Mutex
	nodes   map[ino]*node // what was touched; the rest lies in base
	next    ino
	journal []op
	faults  []*fault
	synced  int  // the last operation that synced all
	noAll   bool // a SyncAll has failed
	locked  map[ino]bool

	capacity int64 // bytes, 0 is no limit
	used     int64 // bytes more than base holds
	// baseBytes is what base holds, counted at the first need; -1 before.
	baseBytes int64

	cursor *replay // where the last CrashAt stood
}

// New returns an empty file system. The seed decides what NewRand returns, and
// nothing else: operations themselves know no chance.
func New(seed uint64) *FS { return NewWith(seed, Options{}) }

// NewWith is New with options.
func NewWith(seed uint64, opts Options) *FS {
	root := &image{id: rootID, dir: true, mode: 0o755, mtime: epoch}
	return newFS(seed, opts, images{rootID: {image: root, links: 1}}, rootID+1)
}

func newFS(seed uint64, opts Options, base images, next ino) *FS {
	return &FS{prefix: ".", disk: &disk{
		opts: opts, seed: seed, base: base, next: next,
		nodes: map[ino]*node{}, locked: map[ino]bool{}, baseBytes: -1, boot: epoch,
	}}
}

// NewRand returns a source of chance for CrashAt, the same for the same seed and n.
func (d *disk) NewRand(n uint64) *rand.Rand { return rand.New(rand.NewPCG(d.seed, n)) }

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// now is called with the lock held.
func (d *disk) now() time.Time {
	if d.opts.Now != nil {
		return d.opts.Now()
	}
	return d.timeAt(len(d.journal) + 1)
}

// timeAt is the time of operation n by the clock of its own.
func (d *disk) timeAt(n int) time.Time { return d.boot.Add(time.Duration(n) * time.Millisecond) }

// full returns the name from the root of the disk.
func (f *FS) full(name string) (string, error) {
	if !filepath.IsLocal(name) || strings.IndexByte(name, 0) >= 0 {
		return "", fs.ErrInvalid
	}
	return path.Join(f.prefix, name), nil
}

// node returns a node that exists, with the lock held.
func (d *disk) node(id ino) *node {
	if n, ok := d.nodes[id]; ok {
		return n
	}
	b := d.base[id]
	n := &node{
		id: id, dir: b.dir, mode: b.mode, mtime: b.mtime, links: b.links,
		size: b.size, blocks: b.blocks, names: b.names, shared: true,
	}
	d.nodes[id] = n
	return n
}

// create makes a node and its name in dir.
func (d *disk) create(o *op, dir *node, name string, isDir bool, mode fs.FileMode) *node {
	n := &node{id: d.next, dir: isDir, mode: mode.Perm(), mtime: o.at, links: 1}
	d.next++
	d.nodes[n.id] = n
	o.add(change{kind: makeNode, node: n.id, isDir: isDir, mode: n.mode})
	d.setName(o, dir, name, n.id)
	return n
}

// setName points a name at a node, or with 0 removes it.
func (d *disk) setName(o *op, dir *node, name string, to ino) {
	dir.setName(name, to)
	dir.mtime = o.at
	o.add(change{kind: setName, node: dir.id, name: name, to: to})
}

// drop takes a link or an open file from a node, and frees it with the last.
func (d *disk) drop(n *node, links, handles int) {
	n.links -= links
	n.handles -= handles
	if n.links <= 0 && n.handles <= 0 {
		d.used -= n.allocated()
		delete(d.nodes, n.id)
	}
}

// find returns the node of a full name.
func (d *disk) find(full string) (*node, error) {
	n := d.node(rootID)
	if full == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(full, "/") {
		id, err := n.lookup(part)
		if err != nil {
			return nil, err
		}
		n = d.node(id)
	}
	return n, nil
}

// parent returns the folder of a full name and the last part of the name, which the
// root of the tree has not.
func (f *FS) parent(full string) (*node, string, error) {
	if full == f.prefix {
		return nil, "", fs.ErrInvalid
	}
	dir, name := path.Split(full)
	n, err := f.find(path.Clean(dir))
	if err != nil {
		return nil, "", err
	}
	if !n.dir {
		return nil, "", syscall.ENOTDIR
	}
	if len(name) > maxName {
		return nil, "", syscall.ENAMETOOLONG
	}
	return n, name, nil
}

// maxName is the length of one part of a name in bytes (NAME_MAX).
const maxName = 255

// one does an operation on one name, and names it in its error.
func (f *FS) one(verb string, kind Kind, name string, do func(o *op, full string) error) error {
	full, err := f.full(name)
	if err == nil {
		err = f.do(Call{Kind: kind, Name: full}, func(o *op) error { return do(o, full) })
	}
	if err != nil {
		return &os.PathError{Op: verb, Path: name, Err: err}
	}
	return nil
}

// two does an operation on two names.
func (f *FS) two(verb string, kind Kind, oldname, newname string, do func(o *op, from, to string) error) error {
	from, err := f.full(oldname)
	if err == nil {
		var to string
		if to, err = f.full(newname); err == nil {
			err = f.do(Call{Kind: kind, Name: from, To: to}, func(o *op) error { return do(o, from, to) })
		}
	}
	if err != nil {
		return &os.LinkError{Op: verb, Old: oldname, New: newname, Err: err}
	}
	return nil
}

// String tells what the file system is, for messages of tests.
func (f *FS) String() string { return fmt.Sprintf("crashfs(%s, %d operations)", f.prefix, f.Ops()) }
