// Package runas does for a system user what only that user may: reach the user's files and
// run the user's programs. It is the one part of the server that keeps root, takes
// nothing from the network, and is handed deliveries that are decided already.
//
// Nobody is ever served as uid 0.
package runas

import (
	"context"
	"os"
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
	Files(ctx context.Context, u User) (fs.FS, error)
	// Run runs one program and waits for its end, or until its limits end it.
	Run(ctx context.Context, u User, c Command) (Result, error)
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
