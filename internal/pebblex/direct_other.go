//go:build !linux

package pebblex

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func openDirect(vfs.File) *os.File { return nil }
