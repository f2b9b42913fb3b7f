package owners

import (
	"github.com/postilion/postilion/internal/fs"
)

// groupFS gives the group what the owner may do: local writes the Maildirs and access
// reads and empties them, under uids of their own that share the group postilion-mail.
type groupFS struct{ fs.FS }

// SharedMail returns a tree of Maildirs as a role in a process of its own works in it.
func SharedMail(tree fs.FS) fs.FS { return groupFS{tree} }

// widen copies the owner's rights to the group.
func widen(perm fs.FileMode) fs.FileMode { return perm | perm&0o700>>3 }

// OpenFile implements fs.FS.
func (g groupFS) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	return g.FS.OpenFile(name, flag, widen(perm))
}

// Mkdir implements fs.FS.
func (g groupFS) Mkdir(name string, perm fs.FileMode) error { return g.FS.Mkdir(name, widen(perm)) }

// MkdirAll implements fs.FS.
func (g groupFS) MkdirAll(name string, perm fs.FileMode) error {
	return g.FS.MkdirAll(name, widen(perm))
}

// Sub implements fs.FS.
func (g groupFS) Sub(name string) (fs.FS, error) {
	sub, err := g.FS.Sub(name)
	return groupFS{sub}, err
}
