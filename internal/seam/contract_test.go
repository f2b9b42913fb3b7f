package seam

import (
	"testing"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory/directorytest"
	"github.com/postilion/postilion/internal/directory/memdir"
)

// carried is a directory behind the seam; its generation is looked at directly.
type carried struct {
	Directory
	db *memdir.DB
}

func (c carried) Generation() uint64 { return c.db.Generation() }

func TestADirectoryKeepsItsContractOverTheSeam(t *testing.T) {
	t.Parallel()
	directorytest.Run(t, func(t *testing.T, c clock.Clock) directorytest.Store {
		db := &memdir.DB{Clock: c}
		cl, _ := dial(t, AdminHandlers(db))
		return carried{Directory{cl}, db}
	})
}
