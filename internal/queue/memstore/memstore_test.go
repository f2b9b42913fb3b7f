package memstore_test

import (
	"testing"

	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/memstore"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, queuetest.Maker{
		Open:  func(t *testing.T) queue.Store { return memstore.New(memstore.Options{}) },
		Limit: 64 << 10,
	})
}
