package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe returns both sides of a ring of size bytes, and what closes the bells that are slept on.
func pipe(t *testing.T, size int) (out, in *ring, hangUp func()) {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, headRoom+size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	a, b := newRing(mem), newRing(mem)
	for _, x := range []struct{ sleeps, rings *bell }{{&b.come, &a.come}, {&a.room, &b.room}} {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		if x.rings.fd, err = unix.Dup(fd); err != nil {
			t.Fatal(err)
		}
		if err := x.sleeps.sleepsOn(fd); err != nil {
			t.Fatal(err)
		}
	}
	hangUp = func() {
		b.come.file.Close()
		a.room.file.Close()
	}
	t.Cleanup(func() {
		hangUp()
		closeAll([]int{a.come.fd, b.room.fd})
		unix.Munmap(mem)
	})
	return &a, &b, hangUp
}

func TestARingCarriesAStreamWhole(t *testing.T) {
	t.Parallel()
	for _, size := range []int{8, 64, 4096} {
		out, in, hangUp := pipe(t, size)
		content := make([]byte, 200_000)
		for i := range content {
			content[i] = byte(i * 7 >> 3)
		}
		go func() {
			r := rand.New(rand.NewPCG(uint64(size), 1))
			for p := content; len(p) > 0; {
				first := min(r.IntN(size/2)+1, len(p))
				second := min(r.IntN(size/2), len(p)-first)
				if err := out.write(p[:first], p[first:first+second]); err != nil {
					t.Error(err)
				}
				p = p[first+second:]
			}
		}()
		got := make([]byte, len(content))
		r := rand.New(rand.NewPCG(uint64(size), 2))
		for n := 0; n < len(got); {
			if err := in.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := 1 + r.IntN(int(in.written.Load()-in.at))
			if err := in.take(got[n : n+c]); err != nil {
				t.Fatal(err)
			}
			n += c
		}
		if !bytes.Equal(got, content) {
			t.Errorf("a ring of %d bytes: the stream came changed", size)
		}
		hangUp()
		if err := in.wait(t.Context()); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
	}
}

func TestARingThatIsClosedWakesWhoSleeps(t *testing.T) {
	t.Parallel()
	out, _, hangUp := pipe(t, 64)
	if !out.offer(make([]byte, 60)) || out.offer(make([]byte, 5)) || !out.offer(make([]byte, 4)) {
		t.Error("60 and then 4 of 64 bytes find room, 5 do not")
	}
	done := make(chan error)
	go func() { done <- out.write([]byte("no room")) }()
	for out.writerSleeps.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	hangUp()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("a writer without room: %v", err)
	}
}

// TestARingBelievesNoPosition plays a peer that writes what it likes into the memory.
func TestARingBelievesNoPosition(t *testing.T) {
	t.Parallel()
	for _, wrong := range []uint64{65, 1 << 63, ^uint64(0)} {
		_, in, _ := pipe(t, 64)
		in.written.Store(wrong)
		if err := in.take(make([]byte, 1)); !errors.Is(err, errRing) {
			t.Errorf("reading with %d bytes written: %v", wrong, err)
		}
	}
	for _, wrong := range []uint64{1, 64, 1 << 63} {
		out, _, _ := pipe(t, 64)
		out.read.Store(wrong)
		if err := out.write([]byte("x")); !errors.Is(err, errRing) || out.offer([]byte("x")) {
			t.Errorf("writing with %d bytes read: %v", wrong, err)
		}
	}
	// A bell that the sleeper has filled up does not hold up who rings.
	out, in, _ := pipe(t, 64)
	full := [8]byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if _, err := unix.Write(out.come.fd, full[:]); err != nil {
		t.Fatal(err)
	}
	in.readerSleeps.Store(1)
	if err := out.write([]byte("x")); err != nil {
		t.Error(err)
	}
}

// connected returns both sides of a connection whose content goes through memory.
func connected(t *testing.T) (client, server *memory) {
	t.Helper()
	a, b := socketPair(t)
	made := make(chan error, 1)
	go func() {
		var head [frameHead]byte
		_, err := io.ReadFull(b, head[:])
		if err == nil {
			server, err = serveMemory(b)
		}
		made <- err
	}()
	client, err := askMemory(t.Context(), a)
	if err := errors.Join(err, <-made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func socketPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.UnixConn), d.(*net.UnixConn)
}

func TestMemoryEndsWithItsSocket(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	if err := client.send(kindGathered, 7, []byte("payload")); err != nil {
		t.Fatal(err)
	}
	kind, number, n, err := server.next(t.Context())
	if kind != kindGathered || number != 7 || n != len("payload") || err != nil {
		t.Errorf("%q %d %d, %v", kind, number, n, err)
	}
	if !server.offer(kindResult, 7, []byte("reply")) {
		t.Error("no room for a reply")
	}
	if _, number, n, err := client.next(t.Context()); number != 7 || n != 5 || err != nil {
		t.Errorf("%d %d, %v", number, n, err)
	}
	if err := client.in.take(make([]byte, 6)); !errors.Is(err, errRing) {
		t.Errorf("more than was written: %v", err)
	}
	if err := client.in.take(make([]byte, 5)); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer context.AfterFunc(ctx, client.in.rouse)()
	go cancel()
	if _, _, _, err := client.next(ctx); err != context.Canceled {
		t.Errorf("who will wait no more: %v", err)
	}
	go client.watch()
	go server.socket.Close() // as when its process dies
	if _, _, _, err := client.next(t.Context()); err != io.EOF {
		t.Errorf("after the other side has gone: %v", err)
	}
}

func TestMemoryThatMayShrinkIsNotUsed(t *testing.T) {
	t.Parallel()
	fds, err := makeMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(fds)
	if err := lasts(fds[0]); err != nil {
		t.Errorf("memory of our own: %v", err)
	}
	if err := unix.Ftruncate(fds[0], 4096); err == nil {
		t.Error("it was made smaller")
	}
	loose, err := unix.MemfdCreate("loose", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(loose)
	unix.Ftruncate(loose, memorySize)
	if lasts(loose) == nil || lasts(fds[1]) == nil {
		t.Error("memory without a seal was taken, or no memory at all")
	}
}

// plain is a connection that can bring no memory.
type plain struct{ net.Conn }

type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return plain{c}, err
}

func TestGatheredCallsGoBySocketWhereNoMemoryIsShared(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var told atomic.Int64
	s := &Server{Handlers: map[string]Handler{"sum": sum}, Log: func(error) { told.Add(1) }}
	go func() { s.Serve(ctx, plainListener{l}); close(done) }()
	defer func() { cancel(); <-done }()
	unix := NewClient(l.Addr().String())
	other := &Client{Dial: func(ctx context.Context) (net.Conn, error) {
		c, err := unix.Dial(ctx)
		return plain{c}, err
	}}
	for name, cl := range map[string]*Client{"the server's side": unix, "the client's side": other} {
		defer cl.Close()
		for range 3 {
			if _, err := gather(t.Context(), cl, "sum", nil, make([]byte, 200)); err != nil {
				t.Errorf("no memory on %s: %v", name, err)
			}
		}
	}
	if told.Load() != 1 {
		t.Errorf("the server was asked %d times", told.Load())
	}
}

func TestWhoLeavesWhileMemoryIsAskedForHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	a, b := socketPair(t)
	cl := &Client{Dial: func(context.Context) (net.Conn, error) { return a, nil }}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := cl.Gather(ctx, "sum", nil); !errors.Is(err, context.Canceled) {
				t.Errorf("the server hangs: %v", err)
			}
		})
	}
	io.ReadFull(b, make([]byte, frameHead)) // one has asked
	cancel()
	wg.Wait()
	cl.Close()
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// holding serves a call whose answers wait for the test.
func holding(t *testing.T) (cl *Client, held <-chan func()) {
	t.Helper()
	waiting := make(chan func(), 10)
	return serve(t, &Server{Prompts: map[string]Prompt{"keep": func(_ context.Context, _ *Conn, request []byte, answer func([]byte, error)) {
		reply := bytes.Clone(request)
		waiting <- func() { answer(reply, nil) }
	}}}), waiting
}

func TestWhoReadsItsOwnReplyLeavesOthersTheirs(t *testing.T) {
	t.Parallel()
	cl, held := holding(t)
	leaving, leave := context.WithCancel(t.Context())
	// call returns what answers the call, once the server has it, and then waits until it has ended.
	call := func(ctx context.Context, name string, want error) (answer, wait func()) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			got, err := gather(ctx, cl, "keep", []byte(name), nil)
			if !errors.Is(err, want) || err == nil && string(got) != name {
				t.Errorf("call %s: %q, %v, want %v", name, got, err, want)
			}
		}()
		return <-held, func() { <-ended }
	}
	first, left := call(leaving, "first", context.Canceled) // reads
	second, secondEnds := call(t.Context(), "second", nil)
	leave()
	left()
	third, thirdEnds := call(t.Context(), "third", nil)
	third()
	thirdEnds()
	second()
	secondEnds()
	first() // nobody waits for it
	for _, name := range []string{"alone", "alone again"} {
		answer, ends := call(t.Context(), name, nil)
		answer()
		ends()
	}
	// One comes while another reads, which has its reply first.
	fourth, fourthEnds := call(t.Context(), "fourth", nil)
	fifth, fifthEnds := call(t.Context(), "fifth", nil)
	fourth()
	fourthEnds()
	fifth()
	fifthEnds()
}

func TestPromptCallsAreAnsweredWheneverTheyAreDone(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	const calls = 2*mostAtOnce + 10
	waiting := make(chan func(), calls)
	s := &Server{Prompts: map[string]Prompt{"keep": func(_ context.Context, c *Conn, request []byte, answer func([]byte, error)) {
		content, err := c.Recv()
		if err != nil {
			answer(nil, err)
			return
		}
		reply := append(append([]byte(nil), request...), content...)
		waiting <- func() {
			if len(content) > 0 && reply[0]%2 == 0 {
				answer(reply, nil)
			} else {
				answer(nil, errSentinel)
			}
		}
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Serve(ctx, l); close(done) }()
	defer func() { cancel(); <-done }()
	cl := NewClient(l.Addr().String())
	defer cl.Close()
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			content := bytes.Repeat([]byte{byte(i)}, 1+i%5000)
			got, err := gather(t.Context(), cl, "keep", []byte{byte(i)}, content)
			if i%2 == 0 && (err != nil || !bytes.Equal(got[1:], content)) || i%2 == 1 && (err == nil || err.Error() != errSentinel.Error()) {
				t.Errorf("call %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	// The last that have come are answered first, a thousand at a time.
	var held []func()
	for range calls {
		held = append(held, <-waiting)
		if len(held) == mostAtOnce-100 || len(waiting) == 0 {
			for len(held) > 0 {
				held[len(held)-1]()
				held = held[:len(held)-1]
			}
		}
	}
	for _, answer := range held {
		answer()
	}
	wg.Wait()
}
