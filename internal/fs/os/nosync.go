//go:build nosync

package osfs

import "github.com/postilion/postilion/internal/fs"

// built returns the tree as the build for testing the tests has it: no sync reaches the
// system, so a power cut loses what was acknowledged, and a test that cuts power must
// say so. Nobody serves mail with this build.
func built(f *FS) fs.FS { return unsynced{f} }

type unsynced struct{ fs.FS }

func (u unsynced) SyncDir(string) error { return nil }
func (u unsynced) SyncAll() error       { return nil }

func (u unsynced) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	f, err := u.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

func (u unsynced) Sub(name string) (fs.FS, error) {
	f, err := u.FS.Sub(name)
	if err != nil {
		return nil, err
	}
	return unsynced{f}, nil
}

type unsyncedFile struct{ fs.File }

func (unsyncedFile) Sync() error     { return nil }
func (unsyncedFile) SyncData() error { return nil }
