// Package runas does for a system user what only that user may: reach the user's files and
// run the user's programs. It is the one part of the server that keeps root, takes
// nothing from the network, and is handed deliveries that are decided already.
//
// Nobody is ever served as uid 0.
package runas

import (
	"bytes"
	"context"
	"os"
	"slices"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// User is whom to become. Supplementary groups are none but GID (qmail reference 1.2).
type User struct {
	Name     string
	UID, GID uint32
	Home     string // absolute; the root of Files and the working directory of Run
}

// Service becomes users. It is safe for concurrent use. Errors about a user that may not be
// served (uid 0, no such home, …) are *reason.Error with the family's texts.
type Service interface {
	// Files returns the user's home as a tree of files, with that user's rights and no others.
	// Links lead wherever those rights allow; with Home "/" it is the whole host's tree, for
	// instructions that name files elsewhere. It is cheap: callers ask again rather than keep it.
	Files(ctx context.Context, u User) (fs.FS, error)
	// Run runs one program and waits for its end, or until its limits end it.
	Run(ctx context.Context, u User, c Command) (Result, error)
	// Search looks for a delivery's instructions in one call.
	Search(ctx context.Context, u User, s Search) (Found, error)
	// Hold keeps an eye on the file of instructions that a Search found: the last of s.Names, where no other of
	// them and none of s.Exist is a link. The error says that it cannot be watched, or not now.
	Hold(ctx context.Context, u User, s Search) (*Held, error)
	// SyncAll is that of fs.FS for the files of all users: it makes everything durable that was
	// written before in any tree that Files gave.
	SyncAll() error
}

// Search says what to look for in a user's home (qmail reference 9.1, 9.3, 9.6). Names are relative
// to the home.
type Search struct {
	Names []string // tried in order: the first that can be opened and is a regular file counts
	Exist []string // files whose existence is asked
	Limit int64    // most bytes to read of the file found
	// Settle is how long neither the home nor the file found must have been changed for a Found.Witness; 0
	// asks for none. Below two seconds a change may go unnoticed on some file systems.
	Settle time.Duration

	// Known is what the same Search found before. Where it finds that again, byte for byte, and only
	// then, it makes the file Make too, for writing, which must be new: what a delivery does next, without a call of its own.
	Known *Found
	Make  string
}

// Found is what a Search found. An error of the file system is an *fs.PathError: its Path is
// User.Home where that cannot be entered or looked at, else the name that made the trouble. Only
// what may pass counts as trouble with a name: EPERM, EACCES, EIO and the like; one that leads
// nowhere (ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP) is not there.
type Found struct {
	Home    fs.FileMode // the home's, with its sticky bit (fs.ModeSticky)
	Name    string      // the file of instructions; "" when there is none, or the home is refused
	Mode    fs.FileMode
	Size    int64  // larger than len(Content) where Limit cut it
	Content []byte // of the file
	Exist   []bool // one for each of Search.Exist
	Witness string // how the home and the file are, see Held; "" for none

	// File is the open file Search.Make, the caller's to close; nil where it was not made.
	File fs.File
}

// same reports whether two Searches found the same.
func (f *Found) same(g *Found) bool {
	return f.Home == g.Home && f.Name == g.Name && f.Mode == g.Mode && f.Size == g.Size && bytes.Equal(f.Content, g.Content) && slices.Equal(f.Exist, g.Exist)
}

// Command is one program to run.
type Command struct {
	Args  []string // the program and its arguments; a line of .qmail is /bin/sh -c LINE
	Env   []string // the whole environment, as NAME=value
	Stdin *os.File // positioned at its start; the program may read, not write it
	// Time ends the program and all it started; 0 is the service's default.
	Time time.Duration
	// MaxOutput bounds what is kept of stdout and stderr together, in bytes; what is more is
	// read and dropped. 0 is the service's default.
	MaxOutput int
}

// Result is how a program ended.
type Result struct {
	Exit      int    // its exit status; -1 when a signal ended it
	Signal    string // the signal's name; "" without
	Output    []byte // stdout and stderr, as they came
	Cut       bool   // there was more output
	TimedOut  bool   // Time had passed
	CPU       time.Duration
	MaxMemory int64 // bytes
}
