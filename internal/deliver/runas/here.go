package runas

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// errHang is the cause of RunasBusy for an operation that did not return.
var errHang = errors.New("the file system does not answer")

// Here becomes users in this process: any as root, only its own user otherwise.
type Here struct {
	userFiles
	rule     rule
	workers  *workers
	programs *programs
}

var _ Service = (*Here)(nil)

// NewHere returns the service of a process that is not apart. The error is Options.Validate's.
func NewHere(o Options) (*Here, error) { return newHere(o, Reserved{}) }

func newHere(o Options, own Reserved) (*Here, error) {
	n, err := o.normalise()
	if err != nil {
		return nil, err
	}
	self := os.Geteuid() != 0
	rights, err := newRights(self)
	if err != nil {
		return nil, err
	}
	w := &workers{gate: newGate(1000, n.FilesPerUser, 200), hang: n.HangTime, rights: rights}
	h := &Here{userFiles: userFiles{w, osfs.NewDevices()}, rule: rule{self: self, reserved: map[uint32]bool{}}, workers: w, programs: newPrograms(n, &w.rights)}
	for _, uid := range own.UIDs {
		h.rule.reserved[uid] = true
	}
	if !self {
		h.rule.groups = n.groups
		for _, gid := range own.GIDs {
			n.groups.reserved[gid] = true
		}
	}
	return h, nil
}

// Files implements Service.
func (h *Here) Files(_ context.Context, u User) (fs.FS, error) {
	if err := h.rule.check(u); err != nil {
		return nil, err
	}
	return h.files(u), nil
}

// Search implements Service.
func (h *Here) Search(_ context.Context, u User, s Search) (Found, error) {
	if err := h.rule.check(u); err != nil {
		return Found{}, err
	}
	return h.search(u, s)
}

// Run implements Service.
func (h *Here) Run(ctx context.Context, u User, c Command) (Result, error) {
	if err := h.rule.check(u); err != nil {
		return Result{}, err
	}
	return h.programs.run(ctx, u, c)
}

// Close ends the programs that still run. It is called once, at the end.
func (h *Here) Close() error {
	h.programs.starters.close()
	return nil
}

// discard gives back what nobody waits for any more.
func discard(r result) {
	if r.file >= 0 {
		syscall.Close(r.file)
	}
}
