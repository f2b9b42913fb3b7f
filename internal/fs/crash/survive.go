package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// CrashAt returns the file system as it may be after power was cut following
// operation n, 0 for before the first. It is a copy of its own in which everything is
// durable; no lock is held there. Calls with ascending n cost least.
func (d *disk) CrashAt(n int, rng *rand.Rand) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cursor == nil || d.cursor.pos > n {
		d.cursor = newReplay(d)
	}
	d.cursor.advance(d.journal, n)
	survivors := d.cursor.survive(newFate(d.opts.Ext4, rng))
	survivor := newFS(rng.Uint64(), d.opts, survivors, d.next)
	survivor.boot = d.timeAt(n).Add(time.Second)
	return survivor
}

// fate decides what survives of the unsynced.
type fate struct {
	seed uint64
	ext4 bool
	kind fateKind
	keep float64 // with chance: how likely the newest version survives
}

type fateKind uint8

const (
	chance  fateKind = iota // each on its own
	nothing                 // what was synced and no more
	all                     // as if nothing had been cut
	prefix                  // the names up to some operation, content by chance
)

func newFate(ext4 bool, rng *rand.Rand) fate {
	f := fate{seed: rng.Uint64(), ext4: ext4, keep: []float64{0.1, 0.5, 0.9}[rng.IntN(3)]}
	switch rng.IntN(8) {
	case 0, 1:
		f.kind = nothing
	case 2:
		f.kind = all
	case 3, 4:
		f.kind = prefix
	}
	if ext4 && f.kind == chance {
		f.kind = prefix
	}
	return f
}

// of returns the chance that belongs to one node, the same however it is reached.
func (f fate) of(id ino) *rand.Rand { return rand.New(rand.NewPCG(f.seed, uint64(id))) }

// pick chooses one of n versions in their order, or -1 for what was durable.
func (f fate) pick(rng *rand.Rand, n int) int {
	switch {
	case f.kind == nothing:
		return -1
	case f.kind == all || rng.Float64() < f.keep:
		return n - 1
	}
	return rng.IntN(n+1) - 1
}

// chosen tells for each folder and name which of its unsynced versions survives.
type chosen map[ino]map[string]int

// survive returns everything that can be reached from the root after the cut.
func (r *replay) survive(f fate) images {
	names := r.chooseNames(f)
	found := images{}
	todo := []ino{rootID}
	found[rootID] = linked{r.imageOf(rootID, f, names), 1}
	for len(todo) > 0 {
		dir := found[todo[len(todo)-1]].image
		todo = todo[:len(todo)-1]
		for _, id := range dir.names {
			if known, ok := found[id]; ok {
				known.links++
				found[id] = known
				continue
			}
			image := r.imageOf(id, f, names)
			found[id] = linked{image, 1}
			if image.dir {
				todo = append(todo, id)
			}
		}
	}
	return found
}

func (r *replay) chooseNames(f fate) chosen {
	choice := chosen{}
	last := r.lastOfPrefix(f)
	for id := range r.dirty {
		n := r.nodes[id]
		if len(n.newNames) == 0 {
			continue
		}
		rng := f.of(id)
		choice[id] = map[string]int{}
		for _, name := range slices.Sorted(maps.Keys(n.newNames)) {
			versions := n.newNames[name]
			if f.kind == prefix {
				choice[id][name] = upTo(versions, last) - 1
			} else {
				choice[id][name] = f.pick(rng, len(versions))
			}
		}
	}
	for id, of := range choice {
		for name := range of {
			r.bringAlong(choice, nameRef{dir: id, name: name})
		}
	}
	return choice
}

// lastOfPrefix picks the operation with which a surviving prefix of names ends.
func (r *replay) lastOfPrefix(f fate) int {
	first := r.pos + 1
	for id := range r.dirty {
		for _, versions := range r.nodes[id].newNames {
			first = min(first, versions[0].seq)
		}
	}
	switch f.kind {
	case nothing:
		return first - 1
	case all:
		return r.pos
	}
	return first - 1 + rand.New(rand.NewPCG(f.seed, 0)).IntN(r.pos-first+2)
}

// bringAlong lets survive what the chosen version of a name cannot be without,
// after raising the choice to the version of operation ref.seq.
func (r *replay) bringAlong(choice chosen, ref nameRef) {
	versions := r.nodes[ref.dir].newNames[ref.name]
	if len(versions) == 0 {
		return // durable already
	}
	if need := upTo(versions, ref.seq) - 1; ref.seq > 0 {
		if choice[ref.dir][ref.name] >= need {
			return
		}
		choice[ref.dir][ref.name] = need
	}
	for _, v := range versions[:choice[ref.dir][ref.name]+1] {
		if v.with != nil {
			r.bringAlong(choice, *v.with)
		}
	}
}

// imageOf returns what survives of one node.
func (r *replay) imageOf(id ino, f fate, names chosen) *image {
	n, ok := r.nodes[id]
	if !ok {
		return r.base[id].image
	}
	if _, owes := r.dirty[id]; !owes {
		if n.image == nil {
			n.image = &image{
				id: id, dir: n.dir, mode: n.mode, mtime: n.mtime,
				size: n.size, blocks: n.blocks, names: n.names,
			}
			n.shared = true
		}
		return n.image
	}
	rng := f.of(id)
	i := &image{id: id, dir: n.dir, mode: n.mode, mtime: n.mtime, size: n.size}
	if n.dir {
		i.names = n.survivingNames(names[id])
	} else {
		i.blocks, i.size = n.survivingContent(f, rng)
	}
	if n.newTime != (time.Time{}) && f.pick(rng, 1) == 0 {
		i.mtime = n.newTime
	}
	return i
}

func (n *durable) survivingNames(choice map[string]int) map[string]ino {
	names := maps.Clone(n.names)
	if names == nil {
		names = map[string]ino{}
	}
	for name, i := range choice {
		switch {
		case i < 0:
		case n.newNames[name][i].to == 0:
			delete(names, name)
		default:
			names[name] = n.newNames[name][i].to
		}
	}
	return names
}

// survivingContent returns blocks and size, chosen apart from each other.
func (n *durable) survivingContent(f fate, rng *rand.Rand) ([]block, int64) {
	size := n.size
	if len(n.sizes) > 0 {
		if i := f.pick(rng, len(n.sizes)); i >= 0 {
			size = n.sizes[i]
		}
	}
	blocks := slices.Clone(n.blocks)
	for _, i := range slices.Sorted(maps.Keys(n.newBlocks)) {
		var old block
		if i < len(n.blocks) {
			old = n.blocks[i]
		}
		if b := f.survivingBlock(rng, old, n.newBlocks[i]); b != nil || i < len(blocks) {
			blocks = put(blocks, i, b)
		}
	}
	return trim(blocks, size), size
}

// sectorSize is what a disk writes as a whole, in bytes.
const sectorSize = 512

// survivingBlock returns one of the versions, now and then two of them torn between
// sectors, or garbage where the block had never been written before.
func (f fate) survivingBlock(rng *rand.Rand, old block, versions []block) block {
	at := func(i int) block {
		if i < 0 {
			return old
		}
		return versions[i]
	}
	b := at(f.pick(rng, len(versions)))
	if f.kind == nothing || f.kind == all {
		return b
	}
	switch roll := rng.IntN(8); {
	case roll == 0:
		return torn(rng, b, at(f.pick(rng, len(versions))))
	case roll == 1 && old == nil && b == nil && !f.ext4:
		return garbage(rng)
	}
	return b
}

// torn takes each sector from one of two versions.
func torn(rng *rand.Rand, a, b block) block {
	mixed := make(block, BlockSize)
	copy(mixed, a)
	for s := 0; s < BlockSize; s += sectorSize {
		if rng.IntN(2) == 0 {
			sector := mixed[s : s+sectorSize]
			clear(sector)
			copy(sector, b[min(s, len(b)):])
		}
	}
	return mixed
}

// garbage is what a block held when it belonged to another file.
func garbage(rng *rand.Rand) block {
	b := make(block, BlockSize)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
