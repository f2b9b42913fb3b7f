package queueadmin

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/queue/memstore"
	"github.com/postilion/postilion/internal/rpc"
)

// A file that cannot be read ends the import at once: the server is not waited for, which waits for the rest.
func TestAnImportOfWhatCannotBeReadEnds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	served := make(chan error, 1)
	go func() {
		served <- (&rpc.Server{Handlers: archiveHandlers(memstore.New(memstore.Options{}), nil)}).Serve(ctx, l)
	}()
	defer func() { cancel(); <-served }()
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	q := NewClient(rpc.NewClient(path))
	defer q.Close()
	if _, err := q.Import(ctx, folder); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("%v", err)
	}
	if _, err := q.Import(ctx, strings.NewReader("")); err == nil || err.Error() != "this is no archive of queue export, or it was cut off within its first message" {
		t.Errorf("%v", err)
	}
}
