package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate serves one that knows joe's password, and what he can call then.
func gate(t *testing.T, o GateOptions) (path string) {
	t.Helper()
	g, err := NewGate(o, slog.New(slog.DiscardHandler), func(_ context.Context, uid uint32, l Login) (LoggedIn, map[string]rpc.Handler, error) {
		if uid != uint32(os.Getuid()) || string(l.User) != "joe" || string(l.Password) != "secr\xe9t" {
			return LoggedIn{}, nil, auth.Failed
		}
		return LoggedIn{"joe@a.test"}, map[string]rpc.Handler{
			"double": rpc.Handle(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func as(t *testing.T, path, user, password string) *rpc.Client {
	cl := &rpc.Client{Dial: DialAs("", path, Login{[]byte(user), []byte(password)})}
	t.Cleanup(cl.Close)
	return cl
}

func TestOnlyWhoLoggedInCallsAnything(t *testing.T) {
	t.Parallel()
	path := gate(t, GateOptions{})
	joe := as(t, path, "joe", "secr\xe9t")
	for range 2 {
		if got, err := rpc.Do[int, int](t.Context(), joe, "double", 4); err != nil || got != 8 {
			t.Errorf("joe: %d, %v", got, err)
		}
	}
	if _, err := rpc.Do[int, int](t.Context(), as(t, path, "joe", "wrong"), "double", 4); reason.As(err).Reason != auth.Failed.Reason {
		t.Errorf("a wrong password: %v", err)
	}
	stranger := rpc.NewClient(path)
	t.Cleanup(stranger.Close)
	if _, err := rpc.Do[int, int](t.Context(), stranger, "double", 4); err == nil {
		t.Error("who did not log in was served")
	}
	if _, err := rpc.Do[Login, LoggedIn](t.Context(), stranger, MethodLogin, Login{User: []byte(strings.Repeat("x", maxLogin))}); reason.As(err).Reason != reason.AdminLogin.Reason {
		t.Errorf("a login of many bytes: %v", err)
	}
}

// A connection has one login: a guess costs a new one, which is counted.
func TestASecondLoginEndsTheConnection(t *testing.T) {
	t.Parallel()
	path := gate(t, GateOptions{})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	once := &rpc.Client{Dial: func(context.Context) (net.Conn, error) { return c, nil }}
	defer once.Close()
	defer c.Close()
	joe := Login{[]byte("joe"), []byte("secr\xe9t")}
	if who, err := rpc.Do[Login, LoggedIn](t.Context(), once, MethodLogin, joe); err != nil || who.Address != "joe@a.test" {
		t.Fatalf("joe is %+v, %v", who, err)
	}
	if _, err := rpc.Do[Login, LoggedIn](t.Context(), once, MethodLogin, joe); err == nil {
		t.Error("a second login was served")
	}
}

func TestWhoIsSilentIsLeftAndTooManyAreRefused(t *testing.T) {
	t.Parallel()
	silent, err := net.Dial("unix", gate(t, GateOptions{LoginTimeout: 20 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a silent peer: %v", err)
	}
	// One that has logged in keeps its place while it is idle.
	path := gate(t, GateOptions{MaxConnections: 2})
	joe, more := as(t, path, "joe", "secr\xe9t"), as(t, path, "joe", "secr\xe9t")
	for _, cl := range []*rpc.Client{joe, more} {
		if _, err := rpc.Do[int, int](t.Context(), cl, "double", 4); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rpc.Do[int, int](t.Context(), as(t, path, "joe", "secr\xe9t"), "double", 4); reason.As(err).Reason != reason.AdminBusy.Reason {
		t.Errorf("one too many: %v", err)
	}
	if got, err := rpc.Do[int, int](t.Context(), joe, "double", 4); err != nil || got != 8 {
		t.Errorf("joe, beside others: %d, %v", got, err)
	}
}

func TestOneUserDoesNotTakeAllPlaces(t *testing.T) {
	t.Parallel()
	g, err := NewGate(GateOptions{MaxConnections: 4, MaxPerUser: 2}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		uid  uint32
		want error
	}{{7, nil}, {7, nil}, {7, reason.AdminUserBusy}, {8, nil}, {0, nil}, {0, reason.AdminBusy}} {
		if err := g.enter(c.uid); err != c.want {
			t.Errorf("connection %d: %v, want %v", i, err, c.want)
		}
	}
	g.conns.Give(7, 1)
	if err := g.enter(7); err != nil {
		t.Error(err)
	}
}

func TestWrongOptionsOfTheGateAreAllNamed(t *testing.T) {
	t.Parallel()
	err := GateOptions{Socket: "x", MaxPerUser: -1, IdleTimeout: -time.Second}.Validate()
	want := "socket: \"x\": want an absolute path\nmax_per_user: -1: want a number that is not negative\nidle_timeout: -1s: want a duration that is not negative"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
