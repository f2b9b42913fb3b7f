//go:build !nosync

package osfs

import "github.com/postilion/postilion/internal/fs"

// built returns the tree as this build has it: syncs and all.
func built(f *FS) fs.FS { return f }
