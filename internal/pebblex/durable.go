//go:build !nosync

package pebblex

import "github.com/cockroachdb/pebble/v2/vfs"

// base is the system's files as this build has them: syncs and all.
func base() vfs.FS { return vfs.Default }
