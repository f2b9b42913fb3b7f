package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/postilion/postilion/internal/reason"
)

var errSentinel = errors.New("a sentinel")

// serve starts a server on a socket of its own and returns a client of it.
func serve(t *testing.T, s *Server) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	cl := NewClient(path)
	t.Cleanup(func() {
		cl.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return cl
}

func TestCallsShareConnectionsAndKeepTheirErrors(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"double":   Handle(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
		"reason":   Handle(func(context.Context, int) (int, error) { return 0, reason.DiskFull.Because(errSentinel) }),
		"sentinel": Handle(func(context.Context, int) (int, error) { return 0, errSentinel }),
	}})
	ctx := context.Background()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if got, err := Do[int, int](ctx, cl, "double", i); err != nil || got != 2*i {
				t.Errorf("double %d: %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	if _, err := Do[int, int](ctx, cl, "reason", 0); reason.As(err).Reason != reason.DiskFull.Reason || !errors.Is(err, errSentinel) {
		t.Errorf("want disk-full because of the sentinel, have %v", err)
	}
	if _, err := Do[int, int](ctx, cl, "sentinel", 0); !errors.Is(err, errSentinel) {
		t.Errorf("want the sentinel, have %v", err)
	}
	if got, err := Do[int, int](ctx, cl, "double", 4); err != nil || got != 8 {
		t.Errorf("a call after errors: %d, %v", got, err)
	}
}

// Frames lie in the buffer of their connection, over its end, or are too long for it.
func TestPiecesOfAllSizesComeWhole(t *testing.T) {
	t.Parallel()
	const buffer = 16 << 10
	sizes := []int{0, 1, 100, buffer - frameHead - 1, buffer - frameHead, buffer - 1, buffer, buffer + 1, 3 * buffer, MaxFrame - 1, 7}
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"check": func(_ context.Context, c *Conn, _ []byte) ([]byte, error) {
			for i := 0; ; i++ {
				p, err := c.Recv()
				if err == io.EOF {
					return []byte(strconv.Itoa(i)), nil
				}
				if err != nil {
					return nil, err
				}
				if n := sizes[i%len(sizes)]; len(p) != 1+n || p[0] != 'm' || !bytes.Equal(p[1:], bytes.Repeat([]byte{byte(i)}, n)) {
					return nil, MidStream(fmt.Errorf("piece %d has %d bytes, want the mark and %d", i, len(p), n))
				}
			}
		},
	}})
	g, err := cl.Gather(t.Context(), "check", nil)
	if err != nil {
		t.Fatal(err)
	}
	const pieces = 100
	for i := range pieces {
		if err := g.SendMarked('m', bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)])); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.SendMarked('m', make([]byte, MaxFrame)); err == nil {
		t.Error("a frame that is too long was sent")
	}
	if reply, err := g.Reply(); err != nil || string(reply) != strconv.Itoa(pieces) {
		t.Errorf("the server says %q, %v", reply, err)
	}
}

func TestStreamsBothWays(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"echo": func(_ context.Context, c *Conn, request []byte) ([]byte, error) {
			var all []byte
			for {
				p, err := c.Recv()
				if err == io.EOF {
					break
				}
				if err != nil {
					return nil, err
				}
				all = append(all, p...)
			}
			c.Send(all)
			return request, c.CloseSend()
		},
	}})
	want := bytes.Repeat([]byte("0123456789abcdef"), 100_000) // several frames
	for range 3 {
		s, err := cl.Open(context.Background(), "echo", []byte("tag"))
		if err != nil {
			t.Fatal(err)
		}
		s.Send(want)
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for {
			p, err := s.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p...)
		}
		if reply, err := s.Reply(); err != nil || string(reply) != "tag" || !bytes.Equal(got, want) {
			t.Fatalf("reply %q, %v; %d bytes came back of %d", reply, err, len(got), len(want))
		}
	}
}

func TestAStrangerIsRefused(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Allow: func(uint32) bool { return false }, Handlers: map[string]Handler{
		"double": Handle(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
	}})
	if _, err := Do[int, int](context.Background(), cl, "double", 1); err == nil {
		t.Error("a uid that is not allowed was served")
	}
}

func TestGarbageEndsTheConnectionOnly(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"double": Handle(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
	}})
	c, err := cl.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c.Write(bytes.Repeat([]byte{0xff}, 64))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("garbage was answered")
	}
	c.Close()
	if got, err := Do[int, int](context.Background(), cl, "double", 2); err != nil || got != 4 {
		t.Errorf("after garbage: %d, %v", got, err)
	}
}

func TestAnErrorThatIsPassedOnStaysWhatItWas(t *testing.T) {
	t.Parallel()
	far := serve(t, &Server{Handlers: map[string]Handler{
		"sentinel": Handle(func(context.Context, int) (int, error) { return 0, fmt.Errorf("more about it: %w", errSentinel) }),
	}})
	near := serve(t, &Server{Handlers: map[string]Handler{
		"sentinel": Handle(func(ctx context.Context, n int) (int, error) { return Do[int, int](ctx, far, "sentinel", n) }),
	}})
	_, err := Do[int, int](context.Background(), near, "sentinel", 0)
	if !errors.Is(err, errSentinel) || err.Error() != "more about it: "+errSentinel.Error() {
		t.Errorf("got %v", err)
	}
}

func TestWhoIsRefusedIsToldWhy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			Refuse(c, reason.AdminBusy) // the call stays unread
			c.Close()
		}
	}()
	for range 100 {
		cl := NewClient(path)
		defer cl.Close()
		if _, err := Do[int, int](context.Background(), cl, "double", 1); reason.As(err).Reason != reason.AdminBusy.Reason {
			t.Fatalf("got %v", err)
		}
	}
}

func TestALongReplyComesInPieces(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"repeat": func(_ context.Context, _ *Conn, request []byte) ([]byte, error) {
			n, err := strconv.Atoi(string(request))
			return bytes.Repeat([]byte("x"), n), err
		},
	}})
	for _, n := range []int{0, 1, MaxFrame - 1, MaxFrame, MaxFrame + 1, 3 * MaxFrame, 5*MaxFrame + 7} {
		if got, err := cl.Call(context.Background(), "repeat", []byte(strconv.Itoa(n))); err != nil || len(got) != n {
			t.Errorf("%d bytes of %d, %v", len(got), n, err)
		}
	}
	if _, err := cl.Call(context.Background(), "repeat", []byte(strconv.Itoa(maxReply+2*MaxFrame))); err == nil {
		t.Error("a reply sized the client")
	}
	if got, err := cl.Call(context.Background(), "repeat", []byte("5")); err != nil || len(got) != 5 {
		t.Errorf("after it: %q, %v", got, err)
	}
}
