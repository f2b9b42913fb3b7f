package service

import (
	"github.com/postilion/postilion/internal/auth/secrets"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/seam"
)

// Methods of the seams' sockets.
const (
	methodLocal  = "deliver.local"
	methodRemote = "deliver.remote"
)

// here is what the roles of this process offer each other directly. A nil field is of
// a role that runs elsewhere.
type here struct {
	removals  directory.Removals // of directory
	directory directory.Admin
	reader    directory.Reader
	changes   *directory.Generations // of the directory, here or elsewhere
	// toDirectory is the client of role directory where that is elsewhere; nil before the first use.
	toDirectory *seam.Client
	runas       runas.Service
	auth        *secrets.Service
	mailbox     deliver.Target
	room        seam.Room
	exists      seam.Exists
	remote      deliver.Target
	hosts       seam.Hosts
	store       *pebblestore.Store
	dispatcher  *dispatch.Dispatcher
}
