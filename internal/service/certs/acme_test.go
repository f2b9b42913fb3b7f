package certs

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Who asks ACME's port for something is answered once and gone, and how many do so at once has a bound: others that live in
// the process need descriptors too.
func TestTheChallengesPortHoldsFewConnections(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := atMost(tcp, 2)
	server := challengeServer(http.NotFoundHandler())
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	const request = "GET /x HTTP/1.1\r\nHost: mx.example.test\r\n\r\n"
	silent := []net.Conn{dial(), dial()}
	third := dial()
	answer := make(chan string, 1)
	go func() {
		_, err := io.WriteString(third, request)
		p, rerr := io.ReadAll(third) // to the end of the connection
		if errors.Join(err, rerr) != nil {
			t.Errorf("%v, %v", err, rerr)
		}
		answer <- string(p)
	}()
	// It waits for one of those before, whose end is the client's here and ten seconds elsewhere.
	for len(l.(*limited).slots) < cap(l.(*limited).slots) {
		<-time.After(time.Millisecond)
	}
	select {
	case got := <-answer:
		t.Errorf("a third was answered beside two: %q", got)
	default:
	}
	silent[0].Close()
	if got := <-answer; !strings.HasPrefix(got, "HTTP/1.1 404 ") || !strings.Contains(got, "\r\nConnection: close\r\n") {
		t.Errorf("%q", got)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
