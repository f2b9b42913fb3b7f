package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// memory is a connection whose content goes through memory instead of its socket, a ring for either way. The socket
// brought the memory and its bells, and tells when the other side is gone.
type memory struct {
	socket net.Conn

	in   ring                         // read by one goroutine at a time
	head [frameHead + numberSize]byte // that it reads

	mu  sync.Mutex
	out ring
	err error // of the first write that failed
}

// What the server sends with its answer to kindMemory: a memfd_create(2) of memorySize bytes that cannot shrink, with the ring to
// the server first; and for each of the two rings a bell for who reads and one for who writes.
const (
	memorySize = 2 * ringRoom
	handed     = 1 + 2*bells
	bells      = 2
	seals      = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
)

// serveMemory makes the memory of a connection whose client asked for it, and sends it. The error is of the system.
func serveMemory(u *net.UnixConn) (*memory, error) {
	fds, err := makeMemory()
	if err == nil {
		_, _, err = u.WriteMsgUnix(appendFrame(nil, kindMemory), unix.UnixRights(fds...), nil)
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return newMemory(u, fds, false)
}

func makeMemory() (fds []int, err error) {
	fd, err := unix.MemfdCreate("postilion", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	fds = append(fds, fd)
	if err := unix.Ftruncate(fd, memorySize); err != nil {
		return fds, fmt.Errorf("ftruncate: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fds, fmt.Errorf("F_ADD_SEALS: %w", err)
	}
	for len(fds) < handed {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return fds, fmt.Errorf("eventfd: %w", err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// askMemory asks the server of a new connection for memory. It returns nil without an error when the server has none to
// share.
func askMemory(ctx context.Context, u *net.UnixConn) (*memory, error) {
	defer context.AfterFunc(ctx, func() { u.SetDeadline(time.Unix(1, 0)) })()
	if _, err := u.Write(appendFrame(nil, kindMemory)); err != nil {
		return nil, err
	}
	var answer [frameHead]byte
	oob := make([]byte, unix.CmsgSpace(4*handed))
	n, oobn, _, _, err := u.ReadMsgUnix(answer[:], oob)
	if err != nil {
		return nil, err
	}
	fds := descriptors(oob[:oobn])
	if n > 0 && answer[0] == kindError {
		closeAll(fds)
		return nil, nil
	}
	if n < len(answer) || answer[0] != kindMemory || len(fds) != handed {
		err = noEOF(io.EOF)
	} else {
		err = lasts(fds[0])
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return newMemory(u, fds, true)
}

// lasts checks that memory has its size and keeps it: else the one who makes it smaller would end who uses it.
func lasts(fd int) error {
	var st unix.Stat_t
	have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && (have&unix.F_SEAL_SHRINK == 0 || st.Size != memorySize) {
		err = errors.New("rpc: the server's memory is not sealed, or of another size")
	}
	return err
}

// descriptors returns those that came with a message.
func descriptors(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if list, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, list...)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// newMemory returns the connection to which the descriptors belong. It takes them over, also when it fails.
func newMemory(socket net.Conn, fds []int, client bool) (*memory, error) {
	mem, err := unix.Mmap(fds[0], 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	unix.Close(fds[0])
	if err != nil {
		closeAll(fds[1:])
		return nil, fmt.Errorf("mmap: %w", err)
	}
	in, out := mem[:ringRoom], mem[ringRoom:]
	inBells, outBells := fds[1:1+bells], fds[1+bells:]
	if client {
		in, out, inBells, outBells = out, in, outBells, inBells
	}
	m := &memory{socket: socket, in: newRing(in), out: newRing(out)}
	// Who uses the memory and rings the bells may do so until nobody knows the connection any more.
	m.in.room.fd, m.out.come.fd = inBells[1], outBells[0]
	rung := []int{inBells[1], outBells[0]}
	runtime.AddCleanup(m, func(mem []byte) {
		unix.Munmap(mem)
		closeAll(rung)
	}, mem)
	if err = errors.Join(m.in.come.sleepsOn(inBells[0]), m.out.room.sleepsOn(outBells[1])); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// watch returns when the other side is gone, and closes the connection: nothing comes over the socket any more but its end.
func (m *memory) watch() {
	m.socket.Read(make([]byte, 1))
	m.Close()
}

// Close ends the connection: who sleeps on it wakes.
func (m *memory) Close() error {
	return errors.Join(m.socket.Close(), m.in.come.file.Close(), m.out.room.file.Close())
}

// send writes a frame of a numbered call.
func (m *memory) send(kind byte, number uint32, payload []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		var head [frameHead + numberSize]byte
		m.err = m.out.write(appendNumbered(head[:0], kind, number, len(payload)), payload)
	}
	return m.err
}

// offer is send that does not wait: it reports false when it would have to.
func (m *memory) offer(kind byte, number uint32, payload []byte) bool {
	if !m.mu.TryLock() {
		return false
	}
	defer m.mu.Unlock()
	var head [frameHead + numberSize]byte
	return m.err == nil && m.out.offer(appendNumbered(head[:0], kind, number, len(payload)), payload)
}

// next waits for a frame and reads its head and a call's number; its n bytes of payload can be taken at once. It returns io.EOF when
// the connection has been closed, and ctx's error when that is over; then rouse must be called.
func (m *memory) next(ctx context.Context) (kind byte, number uint32, n int, err error) {
	if err := m.in.wait(ctx); err != nil {
		return 0, 0, 0, err
	}
	if m.in.empty() {
		return 0, 0, 0, ctx.Err()
	}
	head := m.head[:]
	if err := m.in.take(head); err != nil {
		return 0, 0, 0, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < numberSize || length > MaxFrame {
		return 0, 0, 0, fmt.Errorf("rpc: peer sent a frame of %d bytes, from %d to %d are allowed", length, numberSize, MaxFrame)
	}
	return head[0], binary.BigEndian.Uint32(head[frameHead:]), int(length - numberSize), nil
}

// appendNumbered appends the head of a frame of a numbered call, whose n bytes of payload are to follow.
func appendNumbered(b []byte, kind byte, number uint32, n int) []byte {
	b = binary.BigEndian.AppendUint32(append(b, kind), uint32(numberSize+n))
	return binary.BigEndian.AppendUint32(b, number)
}
