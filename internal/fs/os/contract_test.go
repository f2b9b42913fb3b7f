package osfs

import (
	"testing"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/fstest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	fstest.Contract(t, func(t *testing.T) fs.FS { return newFS(t, t.TempDir()) })
}
