package pop3d

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/serve"
)

// tcp serves sessions on a loopback port and returns its address.
func (w *world) tcp(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	server := &serve.Server{Name: "pop3", Handler: w.Handler}
	go func() { defer close(done); _ = server.Serve(t.Context(), l) }() // ends with the listener
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// dialTCP connects to tcp's address.
func dialTCP(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", netip.MustParseAddrPort(addr).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{t: t, Conn: conn}
	c.reset(conn)
	return c
}

// BenchmarkLogin is a login into a large mailbox, names telling the sizes, and STAT.
func BenchmarkLogin(b *testing.B) {
	for _, uidlist := range []bool{false, true} {
		b.Run(fmt.Sprintf("messages=100000,dovecot-uidlist=%v", uidlist), func(b *testing.B) {
			w := newWorld(b, Options{Plaintext: true})
			w.put(b, nil)
			var list strings.Builder
			list.WriteString("3 V1700000000 N100001 G00\n")
			for i := range 100_000 {
				name := fmt.Sprintf("%d.M%dP1.mx.example.test,S=4000,W=4100", 1700000000+i, i)
				if err := os.WriteFile(w.root+"/joe/cur/"+name+":2,S", nil, 0o600); err != nil {
					b.Fatal(err)
				}
				fmt.Fprintf(&list, "%d :%s\n", i+1, name)
			}
			if uidlist {
				w.put(b, map[string]string{"joe/dovecot-uidlist": list.String()})
			}
			addr := w.tcp(b)
			for b.Loop() {
				c := dialTCP(b, addr)
				c.login()
				c.want("STAT", "+OK 100000 410000000")
				c.want("QUIT", "+OK")
				c.Close()
			}
		})
	}
}

// BenchmarkRetr reads 10,000 messages of 10 KiB, pipelined.
func BenchmarkRetr(b *testing.B) {
	const messages = 10_000
	w := newWorld(b, Options{Plaintext: true})
	w.put(b, nil)
	body := "Subject: x\n\n" + strings.Repeat(strings.Repeat("y", 70)+"\n", 144)
	for i := range messages {
		name := fmt.Sprintf("%d.a.h,S=%d,W=%d", i, len(body), len(body)+146)
		if err := os.WriteFile(w.root+"/joe/cur/"+name+":2,S", []byte(body), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var all strings.Builder
	for i := range messages {
		fmt.Fprintf(&all, "RETR %d\r\n", i+1)
	}
	all.WriteString("QUIT\r\n")
	addr := w.tcp(b)
	began := time.Now()
	for b.Loop() {
		c := dialTCP(b, addr)
		c.login()
		go func() { _, _ = io.WriteString(c, all.String()) }() // the reader below sees the end
		n, err := io.Copy(io.Discard, c.r)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
	b.ReportMetric(float64(messages*b.N)/time.Since(began).Seconds(), "msg/s")
}
