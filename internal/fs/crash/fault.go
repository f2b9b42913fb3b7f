package crashfs

import (
	"slices"
	"syscall"
)

// Call is an operation as a fault's condition sees it, before it happens.
type Call struct {
	Kind Kind
	Name string // from the root of the disk
	To   string // the new name of a rename or link
	// N is the number the operation will have in the journal, counted from 1. One
	// that does not go there has the number of the next that does.
	N      int
	Offset int64 // of a read or write
	Len    int64 // bytes of a read or write, the size of a truncate

	node ino // of a sync
}

// Fault makes operations fail. A write fails as a whole; a file's Sync that fails
// leaves the unsynced blocks lost, though reads still show them and the next sync
// succeeds. A SyncAll that fails does so to all files; each that is open learns of it
// at its next Sync, which fails once. With errors.ErrUnsupported nothing is lost: so SyncAll
// answers on NFS.
type Fault struct {
	Kinds Kind            // 0 is OpChanging
	Match func(Call) bool // nil matches every operation of the kinds
	Skip  int             // how many matching operations succeed first
	Times int             // how many fail: 0 is one, below 0 all
	Err   error           // nil is EIO
}

type fault struct {
	Fault
	seen int
}

// Inject makes operations fail from now on, until remove is called. Match is called
// with the disk's lock held and must not use the file system.
func (d *disk) Inject(f Fault) (remove func()) {
	if f.Kinds == 0 {
		f.Kinds = OpChanging
	}
	if f.Times == 0 {
		f.Times = 1
	}
	if f.Err == nil {
		f.Err = syscall.EIO
	}
	in := &fault{Fault: f}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, in)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.faults = slices.DeleteFunc(d.faults, func(other *fault) bool { return other == in })
	}
}

// FailAt makes the operation with number n of the journal fail with err, nil for EIO.
func (d *disk) FailAt(n int, err error) {
	d.Inject(Fault{Match: func(c Call) bool { return c.N == n }, Err: err})
}

// SetCapacity makes writes fail with ENOSPC that need more than this many bytes on
// the disk, in whole blocks; 0 takes the limit away.
func (d *disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}

// injected returns the error with which an operation must fail.
func (d *disk) injected(c Call) error {
	for _, f := range d.faults {
		if f.Kinds&c.Kind == 0 || f.Match != nil && !f.Match(c) {
			continue
		}
		f.seen++
		if f.seen > f.Skip && (f.Times < 0 || f.seen <= f.Skip+f.Times) {
			return f.Err
		}
	}
	return nil
}
