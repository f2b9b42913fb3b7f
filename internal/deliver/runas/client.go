package runas

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/reason"
)

// Client is the service of a process apart: it asks the one that has root.
type Client struct {
	userFiles
	dial  func(ctx context.Context) (net.Conn, error)
	hang  time.Duration
	rule  rule // what the other side refuses, with a reason
	lanes lanes

	mu       sync.Mutex
	files    []*raw
	programs []*net.UnixConn
	asking   []*net.UnixConn
}

var (
	_ Service   = (*Client)(nil)
	_ Passwords = (*Client)(nil)
)

// NewClient returns a client of the socket that dial connects to. o is the server's.
func NewClient(dial func(ctx context.Context) (net.Conn, error), o Options) *Client {
	setDefault(&o.HangTime, 30*time.Second)
	c := &Client{dial: dial, hang: o.HangTime, lanes: lanes{hang: o.HangTime, users: map[identity]*lane{}}}
	c.rule.groups, _ = newGroups(o.RefusedGroups) // wrong ones are refused with the configuration
	c.userFiles = userFiles{c, osfs.NewDevices()}
	return c
}

// maxSpare bounds the connections of each kind that are kept for the next call.
const maxSpare = 64

// Files implements Service.
func (c *Client) Files(_ context.Context, u User) (fs.FS, error) {
	if err := c.rule.check(u); err != nil {
		return nil, err
	}
	return c.userFiles.files(u), nil
}

// Search implements Service.
func (c *Client) Search(_ context.Context, u User, s Search) (Found, error) {
	if err := c.rule.check(u); err != nil {
		return Found{}, err
	}
	return c.search(u, s)
}

// do implements doer.
func (c *Client) do(r *request) (reply, error) { return c.lanes.do(r, c.exchange) }

// exchange makes calls of one user.
func (c *Client) exchange(calls []*asked) {
	err := c.try(calls)
	if err == nil {
		for _, a := range calls {
			if a.reply.busy {
				a.err = reason.RunasBusy.With(a.request.user.title())
			}
		}
		return
	}
	for _, a := range calls {
		closeFile(a.reply.file)
		a.reply = reply{file: -1}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			a.err = reason.RunasBusy.With(a.request.user.title()).Because(errHang)
		} else {
			a.err = reason.RunasUnavailable.Because(err)
		}
	}
}

// try is exchange once there is a connection that works.
func (c *Client) try(calls []*asked) error {
	for {
		conn, fresh, err := c.take()
		if err != nil {
			return err
		}
		if err = conn.exchange(calls, c.hang); err == nil {
			c.put(conn)
			return nil
		}
		conn.conn.Close()
		if fresh || !errors.Is(err, errStale) {
			return err
		}
		// The other side was started anew: nothing was done.
	}
}

// errStale is of a connection that was closed before the calls reached anybody.
var errStale = errors.New("the connection was closed")

// exchange sends the requests and takes the replies.
func (c *raw) exchange(calls []*asked, hang time.Duration) error {
	w := c.begin()
	w.num(int64(len(calls)))
	for _, a := range calls {
		w.request(a.request)
	}
	// The other side waits for its turn up to hang, and then does it.
	if err := c.conn.SetReadDeadline(time.Now().Add(2 * hang)); err != nil {
		return errors.Join(errStale, err)
	}
	if err := c.send(nil); err != nil {
		return errors.Join(errStale, err)
	}
	frame, files, err := c.receive()
	if err != nil {
		return err
	}
	r := &reader{b: frame}
	for _, a := range calls {
		if a.reply, err = r.reply(a.request.op); err != nil {
			break
		}
		if !a.reply.sent {
			continue
		}
		if len(files) == 0 {
			err = errFrame
			break
		}
		a.reply.file, files = files[0], files[1:]
	}
	closeFiles(files)
	return err
}

// take returns a connection for operations, and whether it is a new one.
func (c *Client) take() (*raw, bool, error) {
	c.mu.Lock()
	if n := len(c.files); n > 0 {
		conn := c.files[n-1]
		c.files = c.files[:n-1]
		c.mu.Unlock()
		return conn, false, nil
	}
	c.mu.Unlock()
	u, err := c.connect(context.Background(), forFiles)
	if err != nil {
		return nil, false, err
	}
	conn, err := newRaw(u)
	if err != nil {
		u.Close()
	}
	return conn, true, err
}

// put keeps a connection for the next operation.
func (c *Client) put(conn *raw) {
	if cap(conn.in) > 64<<10 { // do not keep what one large file needed
		conn.in = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.files) >= maxSpare {
		conn.conn.Close()
		return
	}
	c.files = append(c.files, conn)
}

// connect makes a connection for one kind of calls.
func (c *Client) connect(ctx context.Context, what byte) (*net.UnixConn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("not a Unix socket")
	}
	if _, err := u.Write([]byte{what}); err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

// Run implements Service.
func (c *Client) Run(ctx context.Context, u User, command Command) (Result, error) {
	if err := c.rule.check(u); err != nil {
		return Result{}, err
	}
	q := call{User: u, Time: command.Time, Output: command.MaxOutput}
	for _, s := range command.Args {
		q.Args = append(q.Args, []byte(s))
	}
	for _, s := range command.Env {
		q.Env = append(q.Env, []byte(s))
	}
	stdin := -1
	if command.Stdin != nil {
		stdin = int(command.Stdin.Fd())
	}
	var a answer
	if err := c.ask(ctx, &c.programs, forPrograms, q, stdin, &a); err != nil {
		return Result{}, err
	}
	if a.Reason != nil {
		if a.Cause != "" {
			a.Reason = a.Reason.Because(errors.New(a.Cause))
		}
		return a.Result, a.Reason
	}
	return a.Result, nil
}

// Check implements Passwords.
func (c *Client) Check(ctx context.Context, user, pass string) (bool, error) {
	var v verdict
	if err := c.ask(ctx, &c.asking, forPasswords, password{[]byte(user), []byte(pass)}, -1, &v); err != nil {
		return false, err
	}
	if v.Trouble != "" {
		return false, reason.RunasUnavailable.Because(errors.New(v.Trouble))
	}
	return v.Right, nil
}

// ask makes a call on a connection of the pool.
func (c *Client) ask(ctx context.Context, pool *[]*net.UnixConn, what byte, q any, file int, v any) error {
	for {
		u, fresh, err := c.takeConn(ctx, pool, what)
		if err != nil {
			return reason.RunasUnavailable.Because(err)
		}
		stop := context.AfterFunc(ctx, func() { u.SetDeadline(time.Unix(1, 0)) })
		err = sendConn(u, q, file)
		if err != nil && !fresh && ctx.Err() == nil {
			u.Close()
			continue // the other side was started anew
		}
		var frame []byte
		if err == nil {
			frame, _, err = receiveConn(u)
		}
		if err == nil {
			err = decode(frame, v)
		}
		if !stop() || err != nil {
			u.Close()
		} else {
			c.putConn(pool, u)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return reason.AttemptInterrupted.Because(ctx.Err())
		}
		return reason.RunasUnavailable.Because(err)
	}
}

func (c *Client) takeConn(ctx context.Context, pool *[]*net.UnixConn, what byte) (*net.UnixConn, bool, error) {
	c.mu.Lock()
	if n := len(*pool); n > 0 {
		u := (*pool)[n-1]
		*pool = (*pool)[:n-1]
		c.mu.Unlock()
		return u, false, nil
	}
	c.mu.Unlock()
	u, err := c.connect(ctx, what)
	return u, true, err
}

func (c *Client) putConn(pool *[]*net.UnixConn, u *net.UnixConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(*pool) >= maxSpare {
		u.Close()
		return
	}
	*pool = append(*pool, u)
}

// Close closes the connections that wait for calls.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.files {
		conn.conn.Close()
	}
	for _, u := range append(c.programs, c.asking...) {
		u.Close()
	}
	c.files, c.programs, c.asking = nil, nil, nil
	return nil
}
