package smtpd

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/intake/intaketest"
)

func TestWhoAnswersHasHeard(t *testing.T) {
	t.Parallel()
	client, server := intaketest.Loopback(t)
	defer client.Close()
	defer server.Close()
	one := make([]byte, 1)
	for range 1000 {
		io.WriteString(server, "?")
		io.ReadFull(client, one)
		io.WriteString(client, "!")
		io.ReadFull(server, one)
		if unheard(server) {
			t.Fatal("an answer counts as said before the question came")
		}
	}
}

func TestWhatTheOtherSideHasNotTakenInIsUnheard(t *testing.T) {
	t.Parallel()
	client, server := intaketest.Loopback(t)
	defer client.Close()
	defer server.Close()
	// Far more than the other side has room for goes into this side's at once, however late this test gets its turns: the
	// rest cannot have been received.
	if err := client.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	for written := 0; written == 0; {
		server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		written, _ = server.Write(make([]byte, 64<<20))
	}
	io.WriteString(client, "!")
	io.ReadFull(server, make([]byte, 1))
	if !unheard(server) {
		t.Error("what cannot have been received counts as heard")
	}
}
