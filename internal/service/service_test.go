package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

func TestAPortInUseNamesWhoHoldsIt(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, control.RunFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = bind(data, []socket{{Name: "smtp", Address: l.Addr().String()}, {Name: "pop3", Address: "192.0.2.1:110"}}, nil, nil)
	if err == nil {
		t.Fatal("a port was bound twice")
	}
	for _, want := range []string{"smtp: " + l.Addr().String() + " is in use by process " + strconv.Itoa(os.Getpid()),
		"pop3: 192.0.2.1:110 is no address of this host"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %q", want, err)
		}
	}
}

func TestALongDataFolderHasItsSocketsToo(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.MkdirAll(filepath.Join(data, control.RunFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := bind(data, []socket{{Name: control.Supervisor, Admin: true}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	c, err := control.Dial(context.Background(), data, control.Supervisor)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if st, err := os.Stat(control.SocketPath(data, control.Supervisor)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("have %v, %v", st, err)
	}
}

func TestTheLockNamesItsHolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	lock, err := control.Lock(data)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	synctest.Test(t, func(t *testing.T) { // it waits for the lock for a while
		_, err := OpenStores(context.Background(), data)
		if !errors.Is(err, fs.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
			t.Errorf("have %v", err)
		}
	})
	if _, err := control.Dial(context.Background(), data, control.Supervisor); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("have %v", err)
	}
}

func TestTheGroupMayDoWhatTheOwnerMay(t *testing.T) {
	t.Parallel()
	root, err := osfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := groupFS{root}
	if err := g.MkdirAll("a/b", 0o700); err != nil {
		t.Fatal(err)
	}
	sub, err := g.Sub("a")
	if err != nil {
		t.Fatal(err)
	}
	f, err := sub.OpenFile("b/f", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for name, want := range map[string]fs.FileMode{"a/b": 0o770, "a/b/f": 0o660} {
		st, err := root.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		// The umask of the tests may take rights away, but gives none.
		if st.Mode().Perm()&^want != 0 || st.Mode().Perm()&0o700 != want&0o700 {
			t.Errorf("%s has %v, want %v", name, st.Mode().Perm(), want)
		}
	}
}

func TestEachRoleGetsOnlyItsKeys(t *testing.T) {
	t.Parallel()
	f, err := config.Parse("p.toml", []byte(`
host = "mail.example.test"
[route]
next_hop = "relay.example:587 user=me password=secret"
[auth]
min_password = 12
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range allRoles {
		text, err := forRole(f.Config, r).Encode(groupsOf(r)...)
		if err != nil {
			t.Fatal(err)
		}
		knows := bytes.Contains(text, []byte("secret"))
		if may := r == Queue; knows != may {
			t.Errorf("role %s knows the relay's password: %v", r, knows)
		}
		if knows := bytes.Contains(text, []byte("min_password")); knows != (r == Auth) {
			t.Errorf("role %s knows auth's keys: %v", r, knows)
		}
		if _, err := config.Decode("handover", text); err != nil {
			t.Errorf("role %s: %v", r, err)
		}
	}
}

func TestBlocksKeepClientsOut(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := &blocks{now: func() time.Time { return now }, list: func(context.Context) ([]directory.Block, error) {
		return []directory.Block{{What: "192.0.2.0/24", Reason: "guessing", Expires: now.Add(time.Hour)}, {What: "joe@example.test"}}, nil
	}}
	b.refresh(context.Background())
	if why := b.admit(addr("192.0.2.9")); !strings.Contains(why, "guessing") {
		t.Errorf("have %q", why)
	}
	if why := b.admit(addr("::ffff:192.0.2.9")); why == "" {
		t.Error("a mapped address came through")
	}
	if why := b.admit(addr("198.51.100.1")); why != "" {
		t.Errorf("have %q", why)
	}
	now = now.Add(2 * time.Hour)
	if why := b.admit(addr("192.0.2.9")); why != "" {
		t.Errorf("an expired block: %q", why)
	}
}

func TestListenersWaitForTheBlocksButNotForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, late := range []time.Duration{0, 300 * time.Millisecond, time.Hour} {
			b := newBlocks(func(ctx context.Context) ([]directory.Block, error) {
				select {
				case <-time.After(late):
					return []directory.Block{{What: "192.0.2.1"}}, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}, new(directory.Generations), time.Now)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- b.watch(ctx) }()
			began := time.Now()
			b.wait(ctx)
			if took := time.Since(began); took != min(late, firstRead) {
				t.Errorf("a list that comes after %s was waited for %s", late, took)
			}
			if known := b.admit(addr("192.0.2.1")) != ""; known != (late < firstRead) {
				t.Errorf("a list that comes after %s: known %v", late, known)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestABlockIsInForceWithoutWaitingForTheNextLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var list []directory.Block
		var broken error
		var changes directory.Generations
		change := func(err error, now ...directory.Block) {
			mu.Lock()
			list, broken = now, err
			mu.Unlock()
			changes.Set(changes.Now() + 1)
		}
		b := newBlocks(func(context.Context) ([]directory.Block, error) {
			mu.Lock()
			defer mu.Unlock()
			return list, broken
		}, &changes, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.watch(ctx) }()
		b.wait(ctx)
		within := func(d time.Duration, want bool) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if blocked := b.admit(addr("192.0.2.1")) != ""; blocked != want {
				t.Errorf("blocked %v, want %v", blocked, want)
			}
		}
		for range 3 {
			change(nil, directory.Block{What: "192.0.2.1"})
			within(blocksSoonest, true)
			change(nil)
			within(blocksSoonest, false)
		}
		change(errors.New("the directory is restarted"))
		within(blocksSoonest, false)
		mu.Lock()
		list, broken = []directory.Block{{What: "192.0.2.1"}}, nil // the change went by unread
		mu.Unlock()
		within(blocksAgain, true)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestARoleAloneSaysHowItIsStarted(t *testing.T) {
	t.Parallel()
	if err := RunRole(context.Background(), "nonsense", io.Discard); err == nil || !strings.Contains(err.Error(), "smtpd") {
		t.Errorf("have %v", err)
	}
}

func TestPasswordsAreNeverTheSame(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		p := NewPassword()
		if len(p) != 23 || seen[p] {
			t.Fatalf("have %q", p)
		}
		seen[p] = true
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestEverySocketOfSystemdsIsListenedOn(t *testing.T) {
	t.Parallel()
	pass := func(name string) *os.File {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		named := os.NewFile(uintptr(fd), name)
		t.Cleanup(func() { named.Close() })
		return named
	}
	ask := []socket{{Name: "smtp", Address: "127.0.0.1:0"}, {Name: "pop3", Address: "127.0.0.1:0"}}
	b, err := bind(t.TempDir(), ask, nil, []*os.File{pass("smtp"), pass("smtp")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if n := len(b.named("smtp")); n != 2 || len(b.named("pop3")) != 1 {
		t.Errorf("have %d sockets for smtp, %v in all", n, b)
	}
	// The name that systemd gives where the unit has none.
	want := `systemd passed a socket with the name "postilion-smtp.socket": want FileDescriptorName= one of the services that listen: pop3, smtp`
	if _, err := bind(t.TempDir(), ask, nil, []*os.File{pass("postilion-smtp.socket")}); err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
}
