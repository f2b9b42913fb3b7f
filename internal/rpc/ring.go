package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// A ring is a one-way stream through memory that two processes have in common. The side that has to wait sleeps
// on a bell; the other rings it only then, so that while both are busy the system is not called at all.
//
// Neither side believes the other: each keeps its own position to itself, takes the other's from memory once, checks
// it, and copies what it reads out before looking at it.
type ring struct {
	*ringHead
	data []byte // a power of two
	at   uint64 // bytes that this side has written or read so far
	come bell   // rings when there is something to read
	room bell   // rings when there is room again
}

// ringHead lies in the memory. What one side writes is apart from what the other does, by more than a line of a
// processor's cache.
type ringHead struct {
	written      atomic.Uint64
	_            [120]byte
	read         atomic.Uint64
	_            [120]byte
	readerSleeps atomic.Uint32
	_            [124]byte
	writerSleeps atomic.Uint32
	_            [124]byte
}

const (
	// ringSize is the size of a ring's content in bytes: more than any frame with what is around it.
	ringSize = 512 << 10
	// ringRoom is that with its head, which has a page.
	ringRoom = headRoom + ringSize
	headRoom = 4096
)

var errRing = errors.New("rpc: the peer's position in the shared memory is impossible")

// newRing returns the ring that lies in mem. Its bells are to be set.
func newRing(mem []byte) ring {
	return ring{ringHead: (*ringHead)(unsafe.Pointer(unsafe.SliceData(mem))), data: mem[headRoom:]}
}

// write writes the parts, in all no more than the ring holds; they become readable at once. It waits for room. The error is errRing,
// or wraps os.ErrClosed once the connection has been closed.
func (r *ring) write(parts ...[]byte) error {
	for !r.offer(parts...) {
		if _, err := r.free(); err != nil {
			return err
		}
		err := r.room.sleep(func(uintptr) bool {
			r.writerSleeps.Store(1)
			free, err := r.free()
			return err != nil || free >= length(parts)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// free is how many bytes there is room for.
func (r *ring) free() (int, error) {
	held := r.at - r.read.Load()
	if held > uint64(len(r.data)) {
		return 0, errRing
	}
	return len(r.data) - int(held), nil
}

func length(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// offer is write that does not wait: it reports false, and writes nothing, when there is no room.
func (r *ring) offer(parts ...[]byte) bool {
	if free, err := r.free(); err != nil || free < length(parts) {
		return false
	}
	at := r.at
	for _, p := range parts {
		for len(p) > 0 {
			c := copy(r.data[at%uint64(len(r.data)):], p)
			p, at = p[c:], at+uint64(c)
		}
	}
	r.at = at
	ordered()
	r.written.Store(at)
	r.come.ringIf(&r.readerSleeps)
	return true
}

// wait returns when there is something to read, or when ctx is over and ring.rouse was called. It returns io.EOF once the connection
// has been closed.
func (r *ring) wait(ctx context.Context) error {
	if !r.empty() {
		return nil
	}
	err := r.come.sleep(func(uintptr) bool {
		r.readerSleeps.Store(1)
		return !r.empty() || ctx.Err() != nil
	})
	switch {
	case err != nil && !r.empty(): // what came before the end
		return nil
	case errors.Is(err, os.ErrClosed):
		return io.EOF
	}
	return err
}

// rouse wakes who waits. He falls asleep again unless he has a reason not to.
func (r *ring) rouse() {
	r.come.raw.Control(func(fd uintptr) { ringBell(int(fd)) })
}

// take fills p. What has been written together can be taken whole without waiting, and the error is errRing if it cannot.
func (r *ring) take(p []byte) error {
	held := r.written.Load() - r.at
	if held > uint64(len(r.data)) || held < uint64(len(p)) {
		return errRing
	}
	ordered()
	n := copy(p, r.data[r.at%uint64(len(r.data)):])
	copy(p[n:], r.data)
	r.at += uint64(len(p))
	r.read.Store(r.at)
	r.room.ringIf(&r.writerSleeps)
	return nil
}

// empty reports whether wait would wait.
func (r *ring) empty() bool { return r.written.Load() == r.at }

// A bell is an eventfd(2) on which one side sleeps and the other rings. Its count is never taken back: each time that it grows
// wakes the sleeper.
type bell struct {
	fd   int      // of who rings
	file *os.File // of who sleeps
	raw  syscall.RawConn
}

// sleepsOn makes fd the descriptor to sleep on. It takes it over, also when it fails.
func (b *bell) sleepsOn(fd int) (err error) {
	b.file = os.NewFile(uintptr(fd), "bell")
	b.raw, err = b.file.SyscallConn()
	return err
}

// sleep returns when awake says so, which is asked now and each time that the bell rings. What rang before is forgotten before awake
// is asked, so nothing that happens afterwards is missed. The error wraps os.ErrClosed.
func (b *bell) sleep(awake func(fd uintptr) bool) error {
	if err := b.raw.Read(awake); err != nil {
		return fmt.Errorf("%w: %w", os.ErrClosed, err) // there is no other reason, but the runtime gives it another name
	}
	return nil
}

// ringIf rings the bell if the flag says that somebody sleeps. One whose count is full cannot ring: who sleeps there has filled it
// up himself.
func (b *bell) ringIf(sleeps *atomic.Uint32) {
	if sleeps.Load() == 0 || sleeps.Swap(0) == 0 {
		return
	}
	ringBell(b.fd)
}

// ringBell does not wait, and does not tell Go's scheduler of a call that ends sooner than it could make use of knowing.
func ringBell(fd int) {
	one := [8]byte{1} // of either order of bytes: any number but 0 will do
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), uintptr(len(one)))
}
