package serve

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// sockets returns both ends of a connection, the first as a socket.
func sockets(t *testing.T) (*socket, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close(); near.Close() })
	return newSocket(near).(*socket), far.(*net.TCPConn)
}

func TestASocketCarriesBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	s, far := sockets(t)
	content := bytes.Repeat([]byte("as long as no buffer of the system takes it whole. "), 200_000)
	go io.Copy(far, onlyReader{far}) // echoes
	go func() {
		if n, err := s.Write(content); n != len(content) || err != nil {
			t.Errorf("%d of %d bytes, %v", n, len(content), err)
		}
		s.CloseWrite()
	}()
	got := make([]byte, len(content))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the content came changed, or %v", err)
	}
	far.CloseWrite()
	if n, err := s.Read(got); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("into nothing: %d, %v", n, err)
	}
}

func TestASocketFailsAsAConnectionDoes(t *testing.T) {
	t.Parallel()
	s, _ := sockets(t)
	s.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := s.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("after the deadline: %v", err)
	}
	s.SetReadDeadline(time.Time{})
	go s.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed meanwhile: %v", err)
	}
}

func TestASocketTellsOfAReset(t *testing.T) {
	t.Parallel()
	s, far := sockets(t)
	far.SetLinger(0)
	far.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading: %v", err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("writing: %v", err)
	}
}
