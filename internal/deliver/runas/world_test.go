package runas

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// testGrace is what tests give programs to end by themselves.
const testGrace = time.Second

// The uids of the tests: numbers that no user of the system has.
var lastUID atomic.Uint32

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become others")
	}
}

// newUser makes a home for a user of an own uid, who need not be in passwd.
func newUser(t testing.TB) User {
	t.Helper()
	needRoot(t)
	uid := 1_000_000 + uint32(os.Getpid()%4000)*1000 + lastUID.Add(1) // of no other run beside this one
	top, err := os.MkdirTemp("", "runas")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	u := User{Name: "test", UID: uid, GID: uid, Home: filepath.Join(top, "home")}
	for _, err := range []error{os.Chmod(top, 0o755), os.Mkdir(u.Home, 0o700), os.Chown(u.Home, int(uid), int(uid))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return u
}

// services are the implementations, with what an operator may choose.
func services(t testing.TB, o Options) map[string]Service {
	t.Helper()
	here, err := NewHere(o)
	if err != nil {
		t.Fatal(err)
	}
	here.programs.grace = testGrace
	t.Cleanup(func() { here.Close() })
	return map[string]Service{"in this process": here, "over a socket": newClient(t, o)}
}

// newClient starts a server of all rights for this process, and returns its client.
func newClient(t testing.TB, o Options) *Client {
	t.Helper()
	s, err := NewServer(o, Reserved{})
	if err != nil {
		t.Fatal(err)
	}
	s.programs.grace = testGrace
	s.Peers = map[uint32]Rights{uint32(os.Geteuid()): {Files: true, Programs: true, Passwords: true}}
	c, stop := serve(t, s, o)
	t.Cleanup(stop)
	return c
}

// serve serves until stop is called, at the latest at the test's end.
func serve(t testing.TB, s *Server, o Options) (*Client, func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	c := NewClient(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) }, o)
	return c, func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// each runs a test with every implementation.
func each(t *testing.T, o Options, test func(t *testing.T, s Service)) {
	t.Helper()
	t.Parallel()
	needRoot(t)
	for name, s := range services(t, o) {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, s) })
	}
}

// tree returns a user's files.
func tree(t testing.TB, s Service, u User) fs.FS {
	t.Helper()
	f, err := s.Files(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sh runs a line as .qmail does.
func sh(t testing.TB, s Service, u User, line string) Result {
	t.Helper()
	return shFor(t, s, u, 0, line)
}

// shFor is sh with a limit of time.
func shFor(t testing.TB, s Service, u User, limit time.Duration, line string) Result {
	t.Helper()
	r, err := s.Run(context.Background(), u, Command{Args: []string{"/bin/sh", "-c", line}, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + u.Home}, Time: limit})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// quiet is sh for goroutines: an error is a program that ended with 255.
func quiet(s Service, u User, line string) Result {
	r, err := s.Run(context.Background(), u, Command{Args: []string{"/bin/sh", "-c", line}, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + u.Home}})
	if err != nil {
		r.Exit, r.Output = 255, []byte(err.Error())
	}
	return r
}
