package crashfs

import (
	"maps"
	"slices"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// replay is what the disk holds and owes after a prefix of the journal. It moves
// forward only, so many cuts in ascending order cost one pass.
type replay struct {
	ext4  bool
	base  images
	pos   int              // operations replayed
	seq   int              // of the operation being replayed
	nodes map[ino]*durable // what was touched; the rest lies in base, settled
	dirty map[ino]struct{} // nodes that owe something
	order []nameRef        // with ext4: every unsynced name, in order
}

// durable is a file or folder: what a cut cannot take away, and what it may.
type durable struct {
	id      ino
	dir     bool
	mode    fs.FileMode
	created int // the operation that made it, 0 if it was there before

	// What is on the disk. The image of it is cached until something changes; while
	// shared, blocks and names belong to an image too.
	mtime  time.Time
	size   int64
	blocks []block
	names  map[string]ino
	image  *image
	shared bool

	// What is owed: versions in the order they were made, of which any may survive.
	newTime   time.Time
	sizes     []int64
	newBlocks map[int][]block
	newNames  map[string][]version
}

// version is what a name led to after an operation.
type version struct {
	to  ino // 0: nowhere
	seq int
	// with names another name that the same rename changed, and that must have come
	// at least as far for this version to survive.
	with *nameRef
}

type nameRef struct {
	dir  ino
	name string
	seq  int
}

func newReplay(d *disk) *replay {
	return &replay{ext4: d.opts.Ext4, base: d.base, nodes: map[ino]*durable{}, dirty: map[ino]struct{}{}}
}

// advance replays the journal up to and with operation n.
func (r *replay) advance(journal []op, n int) {
	for ; r.pos < n; r.pos++ {
		r.seq = r.pos + 1
		o := &journal[r.pos]
		for i := range o.changes {
			r.apply(o, &o.changes[i])
		}
	}
}

func (r *replay) apply(o *op, c *change) {
	switch c.kind {
	case makeNode:
		r.nodes[c.node] = &durable{id: c.node, dir: c.isDir, mode: c.mode, mtime: o.at, created: r.seq}
	case setName:
		r.owe(c.node, o.at).addName(c.name, version{to: c.to, seq: r.seq})
		r.remember(nameRef{c.node, c.name, r.seq})
	case moveName:
		r.move(o, c)
	case setBlock:
		r.owe(c.node, o.at).addBlock(c.index, c.data)
	case setSize:
		n := r.owe(c.node, o.at)
		n.sizes = append(n.sizes, c.size)
	case cutSize:
		r.owe(c.node, o.at).cut(c.size, c.data)
	case setTime:
		r.owe(c.node, o.at)
	case loseContent:
		r.node(c.node).newBlocks = nil
	case loseAll:
		for id := range r.dirty {
			r.nodes[id].newBlocks = nil
		}
	case syncAll:
		for id := range r.dirty {
			n := r.nodes[id]
			r.sync(n, syncContent)
			r.sync(n, syncTime)
			r.sync(n, syncNames)
		}
	default:
		r.sync(r.node(c.node), c.kind)
	}
}

// node returns a node for a change of it.
func (r *replay) node(id ino) *durable {
	n, ok := r.nodes[id]
	if !ok {
		b := r.base[id]
		n = &durable{
			id: id, dir: b.dir, mode: b.mode, mtime: b.mtime,
			size: b.size, blocks: b.blocks, names: b.names, image: b.image, shared: true,
		}
		r.nodes[id] = n
	}
	return n
}

// owe returns a node that from now on owes something.
func (r *replay) owe(id ino, at time.Time) *durable {
	n := r.node(id)
	n.newTime = at
	r.dirty[id] = struct{}{}
	return n
}

func (n *durable) addName(name string, v version) {
	if n.newNames == nil {
		n.newNames = map[string][]version{}
	}
	n.newNames[name] = append(n.newNames[name], v)
}

func (n *durable) addBlock(i int, b block) {
	if n.newBlocks == nil {
		n.newBlocks = map[int][]block{}
	}
	n.newBlocks[i] = append(n.newBlocks[i], b)
}

// cut makes the file shorter; last is the new last block if it became shorter.
func (n *durable) cut(size int64, last block) {
	keep := blocksOf(size)
	for i := range n.newBlocks {
		if i >= keep {
			n.addBlock(i, nil)
		}
	}
	for i := keep; i < len(n.blocks); i++ {
		if _, ok := n.newBlocks[i]; !ok {
			n.addBlock(i, nil)
		}
	}
	if last != nil {
		n.addBlock(keep-1, last)
	}
	n.sizes = append(n.sizes, size)
}

// move is a rename. The old name may not vanish before the new one is there; the
// two names of a folder change only together.
func (r *replay) move(o *op, c *change) {
	from := nameRef{c.node, c.name, r.seq}
	to := nameRef{c.dir, c.newer, r.seq}
	gone, here := version{seq: r.seq, with: &to}, version{to: c.to, seq: r.seq}
	if c.isDir {
		here.with = &from
	}
	r.owe(to.dir, o.at).addName(to.name, here)
	r.owe(from.dir, o.at).addName(from.name, gone)
	r.remember(to)
	r.remember(from)
}

func (r *replay) remember(ref nameRef) {
	if r.ext4 {
		r.order = append(r.order, ref)
	}
}

// sync pays one kind of debt of a node.
func (r *replay) sync(n *durable, kind changeKind) {
	switch kind {
	case syncContent:
		n.settleContent()
		if r.ext4 && n.created > 0 {
			r.settlePrefix(n.created)
			n.created = 0
		}
	case syncTime:
		if !n.newTime.IsZero() {
			n.mtime, n.newTime, n.image = n.newTime, time.Time{}, nil
		}
	case syncNames:
		if r.ext4 && len(n.newNames) > 0 {
			r.settlePrefix(n.lastName())
		}
		for name, versions := range n.newNames {
			r.settleName(nameRef{n.id, name, versions[len(versions)-1].seq})
		}
		if n.dir {
			r.sync(n, syncTime)
		}
	}
	if len(n.sizes) == 0 && len(n.newBlocks) == 0 && len(n.newNames) == 0 && n.newTime.IsZero() {
		delete(r.dirty, n.id)
	}
}

// own makes what is on the disk the node's own, for a change.
func (n *durable) own() {
	if n.shared {
		n.blocks, n.names, n.shared = slices.Clone(n.blocks), maps.Clone(n.names), false
	}
	n.image = nil
}

func (n *durable) settleContent() {
	if len(n.sizes) == 0 && len(n.newBlocks) == 0 {
		return
	}
	n.own()
	if len(n.sizes) > 0 {
		n.size = n.sizes[len(n.sizes)-1]
	}
	for i, versions := range n.newBlocks {
		n.blocks = put(n.blocks, i, versions[len(versions)-1])
	}
	n.blocks = trim(n.blocks, n.size)
	n.sizes, n.newBlocks = nil, nil
}

// put sets block i of blocks, which grows as needed.
func put(blocks []block, i int, b block) []block {
	for len(blocks) <= i {
		blocks = append(blocks, nil)
	}
	blocks[i] = b
	return blocks
}

// trim cuts what lies behind size: it would come to light again when the file grows.
func trim(blocks []block, size int64) []block {
	keep := blocksOf(size)
	if len(blocks) > keep {
		blocks = blocks[:keep:keep]
	}
	if in := int(size % BlockSize); in > 0 && keep == len(blocks) && len(blocks[keep-1]) > in {
		blocks[keep-1] = blocks[keep-1][:in:in]
	}
	return blocks
}

// settleName makes a name durable as it was after the operation ref.seq, and with
// it what had to come first.
func (r *replay) settleName(ref nameRef) {
	n := r.node(ref.dir)
	versions := n.newNames[ref.name]
	done := upTo(versions, ref.seq)
	if done == 0 {
		return
	}
	n.own()
	if to := versions[done-1].to; to == 0 {
		delete(n.names, ref.name)
	} else {
		if n.names == nil {
			n.names = map[string]ino{}
		}
		n.names[ref.name] = to
	}
	if done == len(versions) {
		delete(n.newNames, ref.name)
	} else {
		n.newNames[ref.name] = versions[done:]
	}
	for _, v := range versions[:done] {
		if v.with != nil {
			r.settleName(*v.with)
		}
	}
}

// upTo counts the versions made by operation seq and before.
func upTo(versions []version, seq int) int {
	done := 0
	for done < len(versions) && versions[done].seq <= seq {
		done++
	}
	return done
}

// settlePrefix makes every name durable up to an operation.
func (r *replay) settlePrefix(seq int) {
	for len(r.order) > 0 && r.order[0].seq <= seq {
		r.settleName(r.order[0])
		r.order = r.order[1:]
	}
}

// lastName is the last operation that changed one of the folder's names.
func (n *durable) lastName() (seq int) {
	for _, versions := range n.newNames {
		seq = max(seq, versions[len(versions)-1].seq)
	}
	return seq
}
