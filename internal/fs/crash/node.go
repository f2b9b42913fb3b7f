package crashfs

import (
	"io"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// ino is the number of a file or folder; a number is never used twice.
type ino uint64

const rootID ino = 1

// BlockSize is the unit, in bytes, in which file content survives or does not.
const BlockSize = 4096

// block is the content of one block. It is never changed, only replaced; what it
// is shorter than BlockSize is zero. Nil is a hole.
type block []byte

// image is a file or folder at rest. It is never changed and may be shared.
type image struct {
	id     ino
	dir    bool
	mode   fs.FileMode
	mtime  time.Time
	size   int64
	blocks []block
	names  map[string]ino
}

// images are the files and folders of a disk at rest.
type images map[ino]linked

type linked struct {
	*image
	links int
}

// node is a file or folder in use.
type node struct {
	id      ino
	dir     bool
	mode    fs.FileMode
	mtime   time.Time
	links   int
	handles int
	size    int64
	blocks  []block
	names   map[string]ino
	wrote   int  // the last operation that changed the content
	synced  int  // the last that synced it, or lost it
	lost    int  // the failed SyncAll that lost some of it
	told    bool // somebody's Sync has failed for that
	shared  bool // blocks and names are an image's: copy before a change
}

func (n *node) own() {
	if n.shared {
		n.blocks, n.names, n.shared = slices.Clone(n.blocks), maps.Clone(n.names), false
	}
	if n.dir && n.names == nil {
		n.names = map[string]ino{}
	}
}

// lookup finds a name in a folder.
func (n *node) lookup(name string) (ino, error) {
	if !n.dir {
		return 0, syscall.ENOTDIR
	}
	id, ok := n.names[name]
	if !ok {
		return 0, syscall.ENOENT
	}
	return id, nil
}

func (n *node) setName(name string, to ino) {
	n.own()
	if to == 0 {
		delete(n.names, name)
	} else {
		n.names[name] = to
	}
}

// allocated is the number of bytes that the content takes on the disk.
func (n *node) allocated() (bytes int64) { return allocated(n.blocks) }

func allocated(blocks []block) (bytes int64) {
	for _, b := range blocks {
		if b != nil {
			bytes += BlockSize
		}
	}
	return bytes
}

func blocksOf(size int64) int { return int((size + BlockSize - 1) / BlockSize) }

// readAt reads as io.ReaderAt does.
func (n *node) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	if off >= n.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	short := int64(len(p)) > n.size-off
	if short {
		p = p[:n.size-off]
	}
	for done := 0; done < len(p); {
		i, in := int((off+int64(done))/BlockSize), int((off+int64(done))%BlockSize)
		part := p[done:min(len(p), done+BlockSize-in)]
		clear(part)
		if i < len(n.blocks) && in < len(n.blocks[i]) {
			copy(part, n.blocks[i][in:])
		}
		done += len(part)
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// write writes p at off, as far as there is room on the disk.
func (d *disk) write(o *op, n *node, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	n.own()
	n.mtime, n.wrote = o.at, o.N
	done, err := 0, error(nil)
	for done < len(p) {
		i, in := int((off+int64(done))/BlockSize), int((off+int64(done))%BlockSize)
		part := p[done:min(len(p), done+BlockSize-in)]
		for len(n.blocks) <= i {
			n.blocks = append(n.blocks, nil)
		}
		old := n.blocks[i]
		if old == nil {
			if d.capacity > 0 && d.total()+BlockSize > d.capacity {
				err = syscall.ENOSPC
				break
			}
			d.used += BlockSize
		}
		b := make(block, max(len(old), in+len(part)))
		copy(b, old)
		copy(b[in:], part)
		n.blocks[i] = b
		o.add(change{kind: setBlock, node: n.id, index: i, data: b})
		done += len(part)
	}
	if end := off + int64(done); done > 0 && end > n.size {
		n.size = end
		o.add(change{kind: setSize, node: n.id, size: end})
	}
	return done, err
}

// truncate makes a file shorter or longer.
func (d *disk) truncate(o *op, n *node, size int64) error {
	if size < 0 {
		return fs.ErrInvalid
	}
	n.own()
	n.mtime, n.wrote = o.at, o.N
	c := change{kind: setSize, node: n.id, size: size}
	if size < n.size {
		c.kind = cutSize
		keep := blocksOf(size)
		if keep < len(n.blocks) {
			d.used -= allocated(n.blocks[keep:])
			n.blocks = n.blocks[:keep:keep]
		}
		if in := int(size % BlockSize); in > 0 && keep <= len(n.blocks) && len(n.blocks[keep-1]) > in {
			n.blocks[keep-1] = n.blocks[keep-1][:in:in]
			c.data = n.blocks[keep-1]
		}
	}
	n.size = size
	o.add(c)
	return nil
}

// total is the number of bytes taken on the disk.
func (d *disk) total() int64 {
	if d.baseBytes < 0 {
		d.baseBytes = 0
		for _, b := range d.base {
			d.baseBytes += allocated(b.blocks)
		}
	}
	return d.baseBytes + d.used
}
