package pop3d

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// users is an auth.Service and directory.Reader of joe, with the password
// "open sesame" and the mailbox "joe", and of the locked-out ann.
type users struct{}

var joe = auth.Identity{Account: 1, Address: "joe@example.test"}

func (users) Password(_ context.Context, _ auth.Attempt, user, password string) (auth.Identity, error) {
	switch {
	case user == "ann@example.test":
		return auth.Identity{}, auth.Blocked.With("30")
	case user == "joe@example.test" && password == "open sesame":
		return joe, nil
	}
	return auth.Identity{}, auth.Failed
}

func (users) APOP(_ context.Context, _ auth.Attempt, user, timestamp, digest string) (auth.Identity, error) {
	sum := md5.Sum([]byte(timestamp + "open sesame"))
	if user == "joe@example.test" && digest == hex.EncodeToString(sum[:]) {
		return joe, nil
	}
	return auth.Identity{}, auth.Failed
}

// SCRAM stands in for the real one: two steps, the second proves the password.
func (users) SCRAM(context.Context, auth.Attempt, []auth.ChannelBinding) (auth.Conversation, error) {
	return &talk{}, nil
}

func (users) Allowed(_ context.Context, client netip.Addr) error {
	if client == netip.MustParseAddr("192.0.2.66") {
		return auth.Blocked.With("60")
	}
	return nil
}

type talk struct{ step int }

func (t *talk) Step(_ context.Context, response []byte) ([]byte, bool, error) {
	t.step++
	if t.step == 1 {
		return []byte("nonce"), false, nil
	}
	if !hmac.Equal(response, scramProof()) {
		return nil, false, auth.Failed
	}
	return []byte("v=ok"), true, nil
}

func scramProof() []byte {
	m := hmac.New(sha256.New, []byte("open sesame"))
	m.Write([]byte("nonce"))
	return m.Sum(nil)
}

func (t *talk) Identity() auth.Identity { return joe }
func (t *talk) Close() error            { return nil }

func (users) Find(context.Context, string, []string) (directory.Found, error) {
	return directory.Found{}, directory.ErrNotFound
}

func (users) Account(_ context.Context, n uint64) (*directory.Account, error) {
	if n != 1 {
		return nil, directory.ErrNotFound
	}
	return &directory.Account{ID: 1, Mailbox: "joe", Tenant: 7}, nil
}

// world is a Handler over a mail folder of its own.
type world struct {
	*Handler
	root   string
	events *tracetest.Events
	clock  *clock.Fake
	ids    id.Source
}

func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{root: t.TempDir(), events: new(tracetest.Events), clock: clock.NewFake(noon)}
	w.ids = id.Source{Clock: w.clock}
	files, err := osfs.New(w.root)
	if err != nil {
		t.Fatal(err)
	}
	if o.Host == "" {
		o.Host = "pop.example.test"
	}
	w.Handler = New(o, Deps{
		Logins:    &session.Logins{Auth: users{}, Directory: users{}},
		Holders:   &session.Table{},
		Mailboxes: maildir.New(maildir.Options{Host: "h"}, maildir.Deps{FS: files, Barrier: &fs.Barrier{FS: files}, Clock: w.clock}),
		Clock:     w.clock, Recorder: w.events,
	})
	return w
}

// put lays files below the mail folder, which gets joe's mailbox.
func (w *world) put(t testing.TB, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(w.root, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Mailboxes.Create("joe", ""); err != nil {
		t.Fatal(err)
	}
}

// names lists the message files of joe's mailbox.
func (w *world) names(t testing.TB) []string {
	t.Helper()
	list := []string{}
	for _, sub := range []string{"new", "cur"} {
		files, err := os.ReadDir(filepath.Join(w.root, "joe", sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			list = append(list, sub+"/"+f.Name())
		}
	}
	sort.Strings(list)
	return list
}

// client is the other end of a session.
type client struct {
	t testing.TB
	net.Conn
	r    *bufio.Reader
	done chan struct{} // closed when the session has ended
}

const loopbackClient = "127.0.0.1:4000"

// dial begins a session from the given address over an in-memory connection.
func (w *world) dial(t testing.TB, ctx context.Context, from string) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	c := &client{t: t, Conn: ours, r: bufio.NewReader(ours), done: make(chan struct{})}
	conn := &serve.Conn{
		Conn: theirs, ID: w.ids.New(), Listener: "pop3", Started: time.Now(),
		Client: netip.MustParseAddrPort(from), Server: netip.MustParseAddrPort("127.0.0.1:110"),
	}
	go func() {
		defer close(c.done)
		defer theirs.Close()
		w.Serve(ctx, conn)
	}()
	t.Cleanup(func() { ours.Close(); <-c.done })
	return c
}

// local is dial from loopback, for a session without an end of its own.
func (w *world) local(t testing.TB) *client {
	t.Helper()
	return w.dial(t, context.Background(), loopbackClient)
}

// reset makes conn the one to talk over.
func (c *client) reset(conn net.Conn) {
	c.Conn, c.r = conn, bufio.NewReader(conn)
}

func (c *client) send(line string) {
	c.t.Helper()
	c.raw(line + "\r\n")
}

func (c *client) raw(s string) {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("sending %.40q: %v", s, err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("reading a line: %v (%q so far)", err, l)
	}
	if !strings.HasSuffix(l, "\r\n") {
		c.t.Errorf("line %q does not end in CRLF", l)
	}
	return strings.TrimSuffix(l, "\r\n")
}

// want sends a command whose answer must begin so, and returns the answer.
func (c *client) want(command, prefix string) string {
	c.t.Helper()
	c.send(command)
	got := c.line()
	if !strings.HasPrefix(got, prefix) {
		c.t.Errorf("%s: %q, want %q…", command, got, prefix)
	}
	return got
}

// rest reads the lines of a listing up to its dot.
func (c *client) rest() []string {
	c.t.Helper()
	var list []string
	for {
		l := c.line()
		if l == "." {
			return list
		}
		list = append(list, l)
	}
}

func (c *client) login() {
	c.t.Helper()
	c.line()
	c.want("USER joe@example.test", "+OK")
	c.want("PASS open sesame", "+OK")
}
