package smtpd

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/intake/intaketest"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

// discardQueue forgets what it commits.
type discardQueue struct{}

func (discardQueue) Begin(context.Context, *mail.Envelope) (queue.Draft, error) {
	return discardQueue{}, nil
}
func (discardQueue) Write(p []byte) (int, error)  { return len(p), nil }
func (discardQueue) Commit(context.Context) error { return nil }
func (discardQueue) Abort()                       {}

func benchServer(b testing.TB) *Server {
	p, err := policy.New(policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Options{Host: "mx.example.test"}, Deps{
		Submit: submit.New(submit.Options{Host: "mx.example.test"}, submit.Deps{Queue: discardQueue{}, Router: fakeRouter{}, Policy: p, Events: trace.Discard}),
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkMessages takes messages over one loopback connection into a queue that forgets them. The
// client's side is a part of the time.
func BenchmarkMessages(b *testing.B) {
	for name, size := range map[string]int{"10KiB": 10 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			s := benchServer(b)
			client, server := intaketest.Loopback(b)
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.Serve(context.Background(), &serve.Conn{Conn: server, ID: id.Source{}.New(), Client: netip.MustParseAddrPort("192.0.2.7:25"), Started: time.Now()})
				server.Close()
			}()
			in := bufio.NewReader(client)
			read := func(lines int) {
				for range lines {
					if _, err := in.ReadSlice('\n'); err != nil {
						b.Fatal(err)
					}
				}
			}
			read(1)
			io.WriteString(client, "EHLO client.test\r\n")
			read(9)
			commands := []byte("MAIL FROM:<ann@client.test>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\n")
			body := []byte("Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 74)+"\r\n", size/76) + ".\r\n")
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				client.Write(commands)
				read(3)
				client.Write(body)
				read(1)
			}
			client.Close()
			<-done
		})
	}
}
