package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postilion/postilion/internal/reason"
)

// sum is a handler that replies with the checksum of its request and stream.
func sum(_ context.Context, c *Conn, request []byte) ([]byte, error) {
	h := crc32.NewIEEE()
	h.Write(request)
	for {
		p, err := c.Recv()
		if err == io.EOF {
			return binary.BigEndian.AppendUint32(nil, h.Sum32()), nil
		}
		if err != nil {
			return nil, MidStream(err)
		}
		h.Write(p)
	}
}

// gather makes a call whose stream is content in pieces.
func gather(ctx context.Context, cl *Client, method string, request, content []byte) ([]byte, error) {
	g, err := cl.Gather(ctx, method, request)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	for len(content) > 0 {
		n := min(len(content), 50_000)
		if err := g.Send(content[:n]); err != nil {
			return nil, err
		}
		content = content[n:]
	}
	return g.Reply()
}

// counted returns a client of cl's server that counts its connections.
func counted(cl *Client) (*Client, *atomic.Int64) {
	n := new(atomic.Int64)
	return &Client{Dial: func(ctx context.Context) (net.Conn, error) {
		n.Add(1)
		return cl.Dial(ctx)
	}}, n
}

func TestGatheredCallsShareAConnectionAndArriveWhole(t *testing.T) {
	t.Parallel()
	cl, dialled := counted(serve(t, &Server{Handlers: map[string]Handler{"sum": sum}}))
	defer cl.Close()
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			request, content := fmt.Append(nil, i), bytes.Repeat([]byte{byte(i)}, i*i%100_000)
			want := crc32.ChecksumIEEE(append(request[:len(request):len(request)], content...))
			got, err := gather(t.Context(), cl, "sum", request, content)
			if err != nil || binary.BigEndian.Uint32(got) != want {
				t.Errorf("call %d of %d bytes: %x, %v", i, len(content), got, err)
			}
		})
	}
	wg.Wait()
	if n := dialled.Load(); n != 1 {
		t.Errorf("%d connections for short calls", n)
	}
	large := bytes.Repeat([]byte("large"), 1<<20)
	got, err := gather(t.Context(), cl, "sum", nil, large)
	if err != nil || binary.BigEndian.Uint32(got) != crc32.ChecksumIEEE(large) {
		t.Errorf("a large call: %x, %v", got, err)
	}
	if n := dialled.Load(); n != 2 {
		t.Errorf("%d connections after a large call, want one more", n)
	}
}

func TestAGatheredCallFailsAlone(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"sum":   sum,
		"full":  func(context.Context, *Conn, []byte) ([]byte, error) { return nil, reason.DiskFull.Because(errSentinel) },
		"back":  func(_ context.Context, c *Conn, _ []byte) ([]byte, error) { return nil, c.Send([]byte("p")) },
		"flush": func(_ context.Context, c *Conn, _ []byte) ([]byte, error) { return nil, c.Flush() },
		"long":  func(context.Context, *Conn, []byte) ([]byte, error) { return make([]byte, maxReply+2*MaxFrame), nil },
	}})
	for method, want := range map[string]string{
		"full": errSentinel.Error(), "back": ErrOneWay.Error(), "flush": ErrOneWay.Error(), "none": `no method "none"`, "long": errLongReply.Error(),
	} {
		_, err := gather(t.Context(), cl, method, nil, []byte("content"))
		var text string
		if err != nil {
			text = err.Error()
		}
		if r := reason.As(err); method == "full" && (r.Reason != reason.DiskFull.Reason || !errors.Is(err, errSentinel)) {
			t.Errorf("full: %v", err)
		} else if method != "full" && !strings.Contains(text, want) {
			t.Errorf("%s: %q, want %q", method, text, want)
		}
		if _, err := gather(t.Context(), cl, "sum", nil, nil); err != nil {
			t.Errorf("after %s: %v", method, err)
		}
	}
}

func TestLongRepliesOfGatheredCallsComeWhole(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Handlers: map[string]Handler{"twice": func(_ context.Context, c *Conn, _ []byte) ([]byte, error) {
		var reply []byte
		for {
			p, err := c.Recv()
			if err == io.EOF {
				return reply, nil
			}
			if err != nil {
				return nil, MidStream(err)
			}
			reply = append(append(reply, p...), p...)
		}
	}}})
	var wg sync.WaitGroup
	for _, n := range []int{0, 1, 100_000, MaxFrame/2 - 2, MaxFrame / 2, 3*MaxFrame + 1} {
		wg.Go(func() {
			content := bytes.Repeat([]byte{'x'}, n)
			if got, err := gather(t.Context(), cl, "twice", nil, content); err != nil || !bytes.Equal(got, append(content, content...)) {
				t.Errorf("%d bytes came as %d, %v", 2*n, len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestASlowGatheredCallHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	cl, dialled := counted(serve(t, &Server{Handlers: map[string]Handler{
		"sum":  sum,
		"slow": func(context.Context, *Conn, []byte) ([]byte, error) { close(entered); <-release; return nil, nil },
	}}))
	defer cl.Close()
	ctx, cancel := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() { _, err := gather(ctx, cl, "slow", nil, nil); left <- err }()
	<-entered
	if _, err := gather(t.Context(), cl, "sum", nil, []byte("beside it")); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who leaves: %v", err)
	}
	close(release)
	go func() { _, err := gather(t.Context(), cl, "sum", nil, nil); stayed <- err }()
	if err := <-stayed; err != nil || dialled.Load() != 1 {
		t.Errorf("after the late reply: %v, %d connections", err, dialled.Load())
	}
}

// What a server answered before it went counts: a message was delivered, and is not to be delivered again.
func TestRepliesThatCameBeforeTheEndCount(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// answer answers so many calls and goes away at once.
	answer := func(calls int) error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, frameHead)); err != nil {
			return err
		}
		m, err := serveMemory(c.(*net.UnixConn))
		if err != nil {
			return err
		}
		defer m.Close()
		var numbers []uint32
		for range calls {
			_, number, n, err := m.next(context.Background())
			if err == nil {
				err = m.in.take(make([]byte, n))
			}
			if err != nil {
				return err
			}
			numbers = append(numbers, number)
		}
		for _, number := range numbers {
			if err := m.send(kindResult, number, []byte("done")); err != nil {
				return err
			}
		}
		return nil
	}
	for round := range 300 {
		calls := 1 + round%3
		served := make(chan error, 1)
		go func() { served <- answer(calls) }()
		cl := NewClient(path)
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				if reply, err := gather(t.Context(), cl, "deliver", nil, nil); err != nil || string(reply) != "done" {
					t.Errorf("round %d, %d calls: have %q, %v", round, calls, reply, err)
				}
			})
		}
		all.Wait()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		cl.Close()
	}
}

func TestGatheredCallsEndWithTheServerAndGoOnWithTheNext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	run := func(h Handler) (stop, wait func()) {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { (&Server{Handlers: map[string]Handler{"sum": h}}).Serve(ctx, l); close(done) }()
		return cancel, func() { <-done }
	}
	entered, release := make(chan struct{}, 10), make(chan struct{})
	stop, wait := run(func(context.Context, *Conn, []byte) ([]byte, error) {
		entered <- struct{}{}
		<-release
		return nil, nil
	})
	cl := NewClient(path)
	defer cl.Close()
	if _, err := (&Client{Dial: func(context.Context) (net.Conn, error) { return nil, errSentinel }}).Gather(t.Context(), "sum", nil); !errors.Is(err, errSentinel) {
		t.Errorf("a server that is away: %v", err)
	}
	early, err := cl.Gather(t.Context(), "sum", nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 10)
	for range 10 {
		go func() { _, err := gather(t.Context(), cl, "sum", nil, nil); failed <- err }()
	}
	for range 10 {
		<-entered
	}
	stop()
	for range 10 {
		if err := <-failed; err == nil {
			t.Error("a call outlived its connection")
		}
	}
	close(release)
	wait()
	stop, wait = run(sum)
	defer wait()
	defer stop()
	if _, err := early.Reply(); err != nil {
		t.Errorf("a call begun before the restart and sent after it: %v", err)
	}
	if _, err := gather(t.Context(), cl, "sum", nil, nil); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func FuzzGatheredFrames(f *testing.F) {
	whole := appendFrame(appendFrame(appendFrame(nil, kindCall, []byte("sum\x00req")), kindData, []byte("content")), kindEnd)
	for n := range len(whole) + 1 {
		f.Add(whole[:n])
	}
	f.Add([]byte{kindCall, 0xff, 0xff, 0xff, 0xff})
	s := &Server{Handlers: map[string]Handler{"sum": sum}}
	f.Fuzz(func(t *testing.T, frames []byte) {
		c := &numbered{buf: &frames}
		method, err := c.parse()
		if err != nil || s.Handlers[method] == nil {
			return
		}
		if reply, err := s.Handlers[method](t.Context(), &c.conn, c.request); err == nil && len(reply) != 4 {
			t.Errorf("a reply of %d bytes", len(reply))
		}
	})
}
