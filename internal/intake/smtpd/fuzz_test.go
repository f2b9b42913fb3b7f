package smtpd

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/serve"
)

// script is a connection whose client sends a fixed text in pieces and listens to nothing.
type script struct {
	in   []byte
	step int
	out  bytes.Buffer
}

func (c *script) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, net.ErrClosed
	}
	n := copy(p[:min(len(p), c.step)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *script) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *script) Close() error                     { return nil }
func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// play runs a session on what the client sends.
func play(t *testing.T, w *world, in []byte, step int) string {
	c := &script{in: bytes.Clone(in), step: step}
	srv := w.server(t)
	srv.Serve(context.Background(), &serve.Conn{Conn: c, ID: id.ID{}, Client: netip.AddrPortFrom(w.client, 1)})
	if n := srv.buffered.Load(); n != 0 {
		t.Fatalf("%d bytes of buffers are counted after the session", n)
	}
	return c.out.String()
}

// FuzzSession sends anything. Answers are lines of the protocol's form, no more than the commands can
// have caused; nothing stays open; what is in the queue has no CR and has its sizes right.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"EHLO x\r\n", "HELO x\r\nMAIL FROM:<>\r\n", "EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
		"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<joe@example.test>\r\nBDAT 3 LAST\r\nabcQUIT\r\n", "EHLO x\r\nAUTH PLAIN =\r\nAUTH LOGIN\r\n*\r\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01",
	} {
		for mode := range uint8(3) {
			f.Add([]byte(s), uint8(7), mode)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, step, mode uint8) {
		w := newWorld()
		w.options.Mode = Mode(mode % 3)
		w.options.Auth, w.options.PlainLoopback, w.client = true, true, netip.MustParseAddr("127.0.0.1")
		w.deps.Auth = fakeAuth{}
		// One byte a read shows each command its own moment; greater steps come pipelined.
		out := play(t, w, in, int(step)+1)
		if most := 2000 + 2*len(in) + 900*bytes.Count(in, []byte("\n")); len(out) > most {
			t.Fatalf("%d bytes of answers to %d", len(out), len(in))
		}
		for line := range strings.SplitAfterSeq(out, "\r\n") {
			if line != "" && (!strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n\x00") || len(line) > 600) {
				t.Fatalf("the answer %q", line)
			}
		}
		if w.queue.Open != 0 {
			t.Fatal("a draft is left open")
		}
		for _, m := range w.queue.Take() {
			if strings.Contains(m.Body, "\r") || m.Envelope.Size != int64(len(m.Body)) || m.Envelope.CRLFSize != m.Envelope.Size+int64(strings.Count(m.Body, "\n")) {
				t.Fatalf("sizes %d, %d: %q", m.Envelope.Size, m.Envelope.CRLFSize, m.Body)
			}
		}
	})
}

// FuzzBDAT cuts a message into chunks and the chunks into reads: what arrives is always the same.
func FuzzBDAT(f *testing.F) {
	f.Add([]byte("a\r\nb\r\n.\r\n"), uint8(3), uint8(1))
	f.Add([]byte("\r\n\r\r\n"), uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, body []byte, chunk, step uint8) {
		w := newWorld()
		w.options.BareNewline = "normalise"
		var in bytes.Buffer
		in.WriteString("EHLO x\r\n")
		// The commands behind EHLO must wait for its answer: reads end there.
		size := int(chunk) + 1
		in.WriteString("MAIL FROM:<ann@client.test>\r\nRCPT TO:<joe@example.test>\r\n")
		for rest := body; ; {
			n := min(size, len(rest))
			last := ""
			if n == len(rest) {
				last = " LAST"
			}
			in.WriteString("BDAT " + strconv.Itoa(n) + last + "\r\n")
			in.Write(rest[:n])
			if rest = rest[n:]; last != "" {
				break
			}
		}
		w.options.MaxCommands = 1 << 20
		c := &helloFirst{script{in: in.Bytes(), step: int(step) + 1}}
		w.server(t).Serve(context.Background(), &serve.Conn{Conn: c, Client: netip.AddrPortFrom(w.client, 1)})
		m := w.queue.Take()
		if len(m) != 1 {
			t.Fatalf("%d messages: %q", len(m), c.out.String())
		}
		want := strings.ReplaceAll(string(body), "\r\n", "\n")
		want = strings.ReplaceAll(strings.TrimSuffix(want, "\r"), "\r", " ")
		if !strings.HasSuffix(want, "\n") && want != "" {
			want += "\n"
		}
		if got := m[0].Body; !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 3+strings.Count(want, "\n") {
			t.Fatalf("%q came as %q", body, got)
		}
	})
}

// helloFirst ends the first read behind the first line.
type helloFirst struct{ script }

func (c *helloFirst) Read(p []byte) (int, error) {
	if bytes.HasPrefix(c.in, []byte("EHLO x\r\n")) {
		n := copy(p, "EHLO x\r\n")
		c.in = c.in[n:]
		return n, nil
	}
	return c.script.Read(p)
}
