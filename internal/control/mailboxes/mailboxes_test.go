package mailboxes

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listenUnix binds a socket of a data folder, on which nobody accepts yet.
func listenUnix(t *testing.T, data, name string) net.Listener {
	t.Helper()
	path := control.SocketPath(data, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveAlive has a role answer that it is alive.
func serveAlive(t *testing.T, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := &rpc.Server{Handlers: map[string]rpc.Handler{rolecall.MethodAlive: rpc.Handle(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })}}
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// Mail that cannot be set aside would be the next account's of that name.
func TestAnAccountIsRemovedWhenEveryRoleThatKeepsSomethingOfItAnswers(t *testing.T) {
	t.Parallel()
	for _, hangs := range append([]role.Role{""}, removers...) {
		data := t.TempDir()
		for _, r := range removers {
			l := listenUnix(t, data, r.AdminSocket())
			if r != hangs {
				serveAlive(t, l)
			}
		}
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if hangs != "" {
			ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond) // less than the patience, of which another test tells
		}
		err := Client{Data: data}.CanRemove(ctx)
		cancel()
		if (err != nil) != (hangs != "") {
			t.Errorf("role %q hangs: %v", hangs, err)
		}
	}
}
