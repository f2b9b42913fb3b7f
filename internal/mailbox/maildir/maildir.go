// Package maildir keeps mailboxes as Maildir++ folders on disk (qmail reference
// 10.1, 10.2, 19.2), readable by every program that knows the format.
//
// A delivery is acknowledged when its file and its name in new/ are durable, and
// not before; no half message is ever visible outside tmp/. Deliveries at the same
// time share two syncs: one for the files, one for the names. A file's name derives
// from message and recipient, so that a repeated delivery finds its own file.
package maildir

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
)

// Options are what an operator may choose. The zero value works.
type Options struct {
	// Host goes into file names; at most 64 bytes of it are used.
	Host string `toml:"host" doc:"host name in the names of message files; empty is the server's" example:"mx1.example.test"`
	// Link publishes a message by link and unlink, as qmail does, instead of rename.
	Link bool `toml:"link" default:"false" doc:"move messages from tmp to new by link and unlink instead of rename" example:"true"`
	// Batch bounds the files that one delivery job holds open at a time.
	Batch int `toml:"batch" default:"100" unit:"mailboxes" doc:"mailboxes that one message is written to at once" example:"50"`
	// TmpAge is the age at which a file in tmp/ is taken for abandoned.
	TmpAge time.Duration `toml:"tmp_age" default:"36h" doc:"age at which abandoned files in tmp are removed" example:"48h"`
}

// Deps is the world a Store works in. All fields but Files are needed.
type Deps struct {
	FS      fs.FS // rooted at the mail folder: mailbox paths are below it
	Barrier *fs.Barrier
	Clock   clock.Clock
	// Files tells how old files are by the times that the system gave them. Stores of one process that come and go share
	// it; nil is the system's from now on.
	Files *clock.Steady
}

// A mailbox is its owner's alone (qmail reference 10.1). An fs.FS that shares it with a
// group widens this.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// Store is the mailboxes below one folder. It is safe for concurrent use, also by
// several processes.
type Store struct {
	fs      fs.FS
	barrier *fs.Barrier
	clock   clock.Clock
	files   *clock.Steady
	opts    Options
	host    string        // escaped
	nonce   string        // tells this process's files in tmp/ from others'
	seq     atomic.Uint64 // with nonce: a name in tmp/
	known   durableSet
	warning sync.Map // mailboxes whose owners are being warned
}

// New returns the Store of the mailboxes in d.FS.
func New(o Options, d Deps) *Store {
	if o.Batch <= 0 {
		o.Batch = 100
	}
	if o.TmpAge <= 0 {
		o.TmpAge = 36 * time.Hour
	}
	if d.Files == nil {
		d.Files = clock.NewSteady(clock.System{})
	}
	var r [6]byte
	rand.Read(r[:]) // never fails: crypto/rand.Read
	return &Store{
		fs: d.FS, barrier: d.Barrier, clock: d.Clock, files: d.Files, opts: o,
		host: escapeHost(o.Host), nonce: hex.EncodeToString(r[:]),
	}
}
