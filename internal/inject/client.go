package inject

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/netx/unixaddr"
)

// Client asks the server behind one socket. Each call is a connection of its own.
type Client struct {
	Socket string
	// Timeout is how long the server may be silent where it owes something; 0 means DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout is how long a program waits for a server that is silent: longer than a commit takes on a disk that
// works, and short enough for who waits at a terminal. Giving up early loses nothing: until the server said
// that it commits, nothing was taken.
const DefaultTimeout = time.Minute

func (c *Client) timeout() time.Duration { return cmp.Or(c.Timeout, DefaultTimeout) }

// Error is a call that got no answer.
type Error struct {
	Socket  string
	Refused bool // nobody listens: the server does not run
	Slow    bool // it did not answer in time
	Input   bool // the content could not be read: Cause is the reader's error
	// Doubt is the id of a message that the server was about to commit when the call broke off: it may be queued, or
	// not. "" means that nothing was taken.
	Doubt string
	Cause error
}

// Error tells what happened in a sentence.
func (e *Error) Error() string {
	if e.Doubt != "" {
		return e.trouble() + "; whether it has taken the message is in doubt: look for " + e.Doubt + " in its queue or log before this is sent again"
	}
	return e.trouble()
}

func (e *Error) trouble() string {
	switch {
	case e.Input:
		return "the message could not be read: " + e.Cause.Error()
	case e.Refused:
		return "the mail server is not running: nobody listens on " + e.Socket
	case e.Slow:
		return "the mail server does not answer on " + e.Socket
	case errors.Is(e.Cause, io.ErrUnexpectedEOF):
		return "the mail server hung up on " + e.Socket
	}
	return fmt.Sprintf("the mail server cannot be reached on %s: %v", e.Socket, e.Cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

func (c *Client) failed(err error) *Error {
	e := &Error{Socket: c.Socket, Cause: err}
	var ne net.Error
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		e.Refused = true
	case errors.As(err, &ne) && ne.Timeout(), errors.Is(err, syscall.EAGAIN): // unix(7): nobody takes connections, and many wait
		e.Slow = true
	case err == io.EOF:
		e.Cause = io.ErrUnexpectedEOF
	}
	return e
}

// call is one connection.
type call struct {
	c    *Client
	conn net.Conn
	w    *bufio.Writer
	r    *Reader
	// intent is what the server said it commits, once it has.
	intent *Intent
}

// open connects and begins a call.
func (c *Client) open(ctx context.Context, verb string, e *Envelope) (*call, error) {
	conn, err := dial(ctx, c.Socket)
	if err != nil {
		return nil, c.failed(err)
	}
	k := &call{c: c, conn: conn, w: bufio.NewWriterSize(conn, 32<<10), r: NewReader(conn)}
	k.arm()
	k.w.Write(CallFrame(verb, e)) // the writer keeps its first error
	return k, nil
}

// dial connects to a socket, whatever the length of its path.
func dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = unixaddr.Fit(path, func(short string) (err error) {
		d := net.Dialer{Timeout: DefaultTimeout}
		conn, err = d.DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// arm bounds the next write or answer.
func (k *call) arm() {
	k.conn.SetDeadline(time.Now().Add(k.c.timeout()))
}

// content sends r as pieces. A failed write is no error here: the server may have answered
// already, and that answer tells more.
func (k *call) content(r io.Reader) *Error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			k.arm()
			if _, werr := k.w.Write(AppendFrame(nil, FrameData, string(buf[:n]))); werr != nil {
				return nil
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return &Error{Input: true, Cause: err, Socket: k.c.Socket}
		}
	}
}

// Send hands a message in. content has LF line ends and is read to its end. steps, which may be
// nil, is told what happens to a message with e.Watch; Send then returns when every recipient
// has a verdict, ctx ends, or the server goes. The error is an *Error: nothing was taken then, unless it is in Doubt.
func (c *Client) Send(ctx context.Context, e *Envelope, content io.Reader, steps func(Step)) (a Answer, err error) {
	if e.tooLong() {
		return Answer{Code: 553, Enhanced: "5.1.3", Reason: "bad-address", Text: "an address is too long"}, nil
	}
	k, err := c.open(ctx, VerbSend, e)
	if err != nil {
		return a, err
	}
	defer k.conn.Close()
	defer context.AfterFunc(ctx, func() { k.conn.SetDeadline(time.Unix(1, 0)) })()
	k.w.Write(AppendFrame(nil, FrameFrom, e.From))
	var b []byte
	for i := range e.To {
		b = ToFrame(b[:0], &e.To[i])
		k.w.Write(b)
	}
	if e := k.content(content); e != nil {
		return a, e
	}
	k.arm()
	k.w.Write(AppendFrame(nil, FrameEnd))
	werr := k.w.Flush()
	if a, err = k.answer(); err != nil {
		a, err = k.giveUp(err)
	}
	if err != nil {
		if werr != nil && errors.Is(err, io.ErrUnexpectedEOF) {
			err = c.failed(werr)
		}
		return a, err
	}
	if a.OK() && e.Watch && steps != nil {
		k.watch(steps)
	}
	return a, nil
}

// answer reads up to the answer.
func (k *call) answer() (a Answer, err error) {
	var refused []Refusal
	for {
		kind, p, err := k.r.Next()
		switch {
		case err != nil:
			return a, k.c.failed(err)
		case kind == FrameIntent:
			i := parseIntent(p)
			k.intent = &i
			k.conn.SetDeadline(time.Now().Add(k.c.timeout() + i.Within))
		case kind == FrameRcpt:
			refused = append(refused, parseRefusal(p))
		case kind == FrameAnswer:
			a = parseAnswer(p)
			a.Refused = refused
			return a, nil
		default:
			return a, k.c.failed(fmt.Errorf("%w: frame %q", ErrFrame, kind))
		}
	}
}

// lastLook bounds the reading of what has come already, once the connection takes no more.
const lastLook = time.Second

// giveUp ends a call that got no answer, for the reason err. The connection is first closed for what the server has
// yet to write: from then on it cannot say that it commits, and so does not (see Intent). What it said before tells
// the rest: an answer after all, or that the message is in doubt.
func (k *call) giveUp(err error) (Answer, error) {
	if u, ok := k.conn.(*net.UnixConn); ok && u.CloseRead() == nil {
		k.conn.SetDeadline(time.Now().Add(lastLook))
		if a, late := k.answer(); late == nil {
			return a, nil
		}
	}
	if e, ok := errors.AsType[*Error](err); ok && k.intent != nil {
		e.Doubt = cmp.Or(k.intent.ID, "it")
	}
	return Answer{}, err
}

// watch reads steps until the server ends them.
func (k *call) watch(steps func(Step)) {
	k.conn.SetDeadline(time.Time{})
	for {
		kind, p, err := k.r.Next()
		if err != nil || kind != FrameStep {
			return
		}
		steps(parseStep(p))
	}
}

// Names asks what this host is called.
func (c *Client) Names(ctx context.Context) (Names, error) {
	k, err := c.open(ctx, VerbNames, &Envelope{})
	if err != nil {
		return Names{}, err
	}
	defer k.conn.Close()
	if err := k.w.Flush(); err != nil {
		return Names{}, c.failed(err)
	}
	kind, p, err := k.r.Next()
	if err == nil && kind != FrameAnswer {
		err = ErrFrame
	}
	if err != nil {
		return Names{}, c.failed(err)
	}
	return parseNames(p), nil
}

// Ask makes a call that takes input and gives output: VerbQueue, VerbFlush, VerbRoute. The answer
// tells whether the caller was allowed to; out has what came before it.
func (c *Client) Ask(ctx context.Context, verb, input string, out io.Writer) (Answer, error) {
	k, err := c.open(ctx, verb, &Envelope{})
	if err != nil {
		return Answer{}, err
	}
	defer k.conn.Close()
	defer context.AfterFunc(ctx, func() { k.conn.SetDeadline(time.Unix(1, 0)) })()
	if e := k.content(strings.NewReader(input)); e != nil {
		return Answer{}, e
	}
	k.w.Write(AppendFrame(nil, FrameEnd))
	if err := k.w.Flush(); err != nil {
		return Answer{}, c.failed(err)
	}
	for {
		k.arm()
		kind, p, err := k.r.Next()
		switch {
		case err != nil:
			return Answer{}, c.failed(err)
		case kind == FrameAnswer:
			return parseAnswer(p), nil
		case kind != FrameData:
			return Answer{}, c.failed(fmt.Errorf("%w: frame %q", ErrFrame, kind))
		}
		if _, err := out.Write(p); err != nil {
			return Answer{}, &Error{Socket: c.Socket, Cause: err}
		}
	}
}
