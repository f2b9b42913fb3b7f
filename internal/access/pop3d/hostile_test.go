package pop3d

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/trace"
)

func certificate(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// startTLS says STLS with injected bytes behind it in the same segment.
func (c *client) startTLS(inject string) {
	c.t.Helper()
	c.raw("STLS\r\n" + inject)
	if got := c.line(); !strings.HasPrefix(got, "+OK") {
		c.t.Fatalf("STLS: %q", got)
	}
	conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.reset(conn)
}

func TestNothingSaidBeforeTLSCountsAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, nil)
	config := certificate(t)
	w.TLS = func() *tls.Config { return config }
	c := w.local(t)
	c.line()
	c.want("USER joe@example.test", "+OK")
	c.startTLS("CAPA\r\nUSER mallory@example.test\r\n")
	// The first answer after the handshake is that to the first command in it.
	c.want("PASS open sesame", "-ERR PASS needs USER first")
	c.want("STLS", "-ERR TLS is on already")
	c.want("CAPA", "+OK")
	capa := c.rest()
	if got := strings.Join(capa, "\n"); strings.Contains(got, "STLS") || !strings.Contains(got, "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN") {
		t.Errorf("capabilities under TLS: %q", capa)
	}
	c.want("AUTH SCRAM-SHA-256-PLUS "+base64.StdEncoding.EncodeToString([]byte("n,,n=joe,r=x")), "-ERR response does not fit")
	c.want("AUTH SCRAM-SHA-256-PLUS "+base64.StdEncoding.EncodeToString([]byte("p=tls-exporter,,n=joe,r=x")), "+ ")
	c.want(base64.StdEncoding.EncodeToString(scramProof()), "+ dj1vaw==")
	c.want("", "+OK joe@example.test")
}

func TestAPlainTextClientDuringTheHandshakeEndsTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	config := certificate(t)
	w.TLS = func() *tls.Config { return config }
	c := w.local(t)
	c.line()
	c.want("STLS", "+OK")
	go io.Copy(io.Discard, c.Conn) // the alert
	c.raw("USER joe\r\n")
	<-c.done
}

func TestLimitsEndTheSessionWithAWord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		send string
		want string
	}{
		"a line without end":     {strings.Repeat("x", maxFlood+8192), "-ERR line longer than 1024 bytes"},
		"an endless TOP":         {"TOP " + strings.Repeat("9", maxFlood+8192), "-ERR line longer than 1024 bytes"},
		"errors in a row":        {strings.Repeat("x\n", 20), "-ERR too many errors, closing"},
		"commands before login":  {strings.Repeat("NOOP\r\n", 100), "-ERR too many commands, closing"},
		"overlong lines":         {strings.Repeat(strings.Repeat("y", 2000)+"\r\n", 20), "-ERR too many errors, closing"},
		"SASL response too long": {"AUTH PLAIN\r\n" + strings.Repeat("A", 1<<20), "-ERR line longer than 1024 bytes"},
		"HTTP":                   {"GET / HTTP/1.1\r\n" + strings.Repeat("Header: x\r\n", 30), "-ERR too many errors, closing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{Plaintext: true})
			cl := w.local(t)
			go func() { _, _ = io.WriteString(cl, c.send) }() // the session ends before all is sent
			cl.SetReadDeadline(time.Now().Add(20 * time.Second))
			got, err := io.ReadAll(cl.r)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(string(got), "\r\n"), "\r\n")
			if last := lines[len(lines)-1]; last != c.want {
				t.Errorf("last words %q, want %q", last, c.want)
			}
		})
	}
}

func TestAnOverlongLineIsOneErrorAndTheNextIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.local(t)
	c.line()
	c.want(strings.Repeat("z", 20000), "-ERR line longer than 1024 bytes")
	c.want("NOOP", "+OK")
	c.want("X"+strings.Repeat("z", 1023), "-ERR unknown command")
	c.want(strings.Repeat("z", 1025+2), "-ERR line longer")
	c.want("NOOP", "+OK")
}

func TestLinesUpToTheLimitAreReadWholeWhateverTheBuffer(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{10, 4093, 4094, 4095, 4096, 4097, 8191, 12288} {
		for _, end := range []string{"\r\n", "\n"} {
			for size := limit - 3; size <= limit+3; size++ {
				text := strings.Repeat("x", size)
				ours, theirs := net.Pipe()
				go func() { _, _ = io.WriteString(ours, text+end); ours.Close() }() // the reader may have enough before
				got, err := newWire(theirs, time.Second).line(limit, 20*time.Second)
				theirs.Close()
				switch {
				case size <= limit && (err != nil || string(got) != text):
					t.Errorf("limit %d, %d bytes: %d bytes read, %v", limit, size, len(got), err)
				case size > limit+1 && !errors.Is(err, errLineTooLong):
					t.Errorf("limit %d, %d bytes: %v", limit, size, err)
				}
			}
		}
	}
}

func TestSilentClientsAreLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Plaintext: true})
		w.put(t, nil)
		for name, c := range map[string]struct {
			do   func(*client)
			want string
			took time.Duration
		}{
			"before login": {func(*client) {}, "-ERR silent for too long", time.Minute},
			"after login": {func(c *client) {
				c.want("USER joe@example.test", "+OK")
				c.want("PASS open sesame", "+OK")
			}, "-ERR silent for too long", 10 * time.Minute},
			"never logging in": {func(c *client) {
				for range 9 {
					time.Sleep(31 * time.Second)
					c.want("NOOP", "+OK")
				}
			}, "-ERR no login in time", 5 * time.Minute},
		} {
			began := time.Now()
			cl := w.local(t)
			cl.line()
			c.do(cl)
			cl.SetDeadline(time.Time{})
			got, _ := cl.r.ReadString('\n')
			if !strings.HasPrefix(got, c.want) || time.Since(began) != c.took {
				t.Errorf("%s: %q after %v", name, got, time.Since(began))
			}
			<-cl.done
		}
	})
}

func TestAClientThatDoesNotReadHoldsItsSessionForAWhileOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Plaintext: true})
		w.put(t, map[string]string{"joe/new/1.a": strings.Repeat("x\n", 1<<20)})
		c := w.local(t)
		c.login()
		c.send("RETR 1")
		began := time.Now()
		<-c.done
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("held for %v", took)
		}
		if held := w.Holders.Holders(); len(held) > 0 {
			t.Errorf("still held: %v", held)
		}
	})
}

func TestAFolderAmongTheMessagesIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, nil)
	if err := os.Mkdir(w.root+"/joe/cur/1.a,S=1,W=1:2,", 0o700); err != nil {
		t.Fatal(err)
	}
	c := w.local(t)
	c.login()
	c.want("STAT", "+OK 0 0") // a folder is no message
}

// What stands among the messages and cannot be read, or is none, keeps nobody from the others.
func TestFilesThatCannotBeReadHoldUpNoOtherMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	w.put(t, nil)
	in := func(name string) string { return w.root + "/joe/new/" + name }
	if err := errors.Join(os.WriteFile(in("1.a"), []byte("Subject: a\n\n"), 0o600), os.WriteFile(in("5.e"), []byte("Subject: e\n\n"), 0o600),
		syscall.Mkfifo(in("2.fifo"), 0o600), os.Symlink("3.loop", in("3.loop")), os.Symlink(".", in("4.folder"))); err != nil {
		t.Fatal(err)
	}
	c := w.local(t)
	c.login()
	c.want("STAT", "+OK 2 28")
	c.want("UIDL 2", "+OK 2 5.e")
	c.want("DELE 2", "+OK")
	c.want("QUIT", "+OK")
	<-c.done
	if e := w.events.Of(trace.Service); len(e) != 1 || !strings.HasPrefix(e[0].Text, "2 messages are left out: they may not be read: open ") {
		t.Errorf("the operator is told %+v", e)
	}
	if list, err := os.ReadDir(w.root + "/joe/new"); err != nil || len(list) != 4 {
		t.Errorf("left: %v, %v", list, err)
	}
}

func TestContentOnTheWire(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stored string
		lines  int64
		want   string
	}{
		{"", -1, ""},
		{"a\n", -1, "a\r\n"},
		{"a", -1, "a\r\n"},
		{"a\r\n", -1, "a\r\n"},
		{"a\r", -1, "a\r\r\n"},
		{"\n", -1, "\r\n"},
		{".\n", -1, "..\r\n"},
		{"\n.\r\n.x\n", -1, "\r\n..\r\n..x\r\n"},
		{"h\n\nb\nc\n", 0, "h\r\n\r\n"},
		{"h\n\nb\nc\n", 1, "h\r\n\r\nb\r\n"},
		{"h\n\nb\nc\n", 9, "h\r\n\r\nb\r\nc\r\n"},
		{"h\r\n\r\nb\r\nc\r\n", 1, "h\r\n\r\nb\r\n"},
		{"h\nx\n", 0, "h\r\nx\r\n"},
		{"\nb\nc\n", 1, "\r\nb\r\n"},
		{"h\n\n.\nc\n", 1, "h\r\n\r\n..\r\n"},
	} {
		// In every division into two reads.
		for cut := range len(c.stored) + 1 {
			var got strings.Builder
			w := &wire{w: bufio.NewWriter(&got)}
			r := io.MultiReader(strings.NewReader(c.stored[:cut]), strings.NewReader(c.stored[cut:]))
			if err := w.content(r, c.lines); err != nil {
				t.Fatal(err)
			}
			w.w.Flush()
			if diff := cmp.Diff(c.want, got.String()); diff != "" {
				t.Errorf("%q cut at %d, %d lines: %s", c.stored, cut, c.lines, diff)
			}
		}
	}
}

// FuzzSession sends anything to a session, logged in or not: it ends when its client
// does, its replies are whole lines, and the mailbox is free again.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"", "\r\n", "CAPA\r\nQUIT\r\n", "AUTH PLAIN\r\n*\r\n", "LIST 1\r\nUIDL\r\nTOP 1 99999999999\r\nDELE 1\r\n", "STLS\r\nCAPA\r\n",
		"RETR 18446744073709551617\nDELE 1\nRSET\nQUIT\n", "NO\x00OP\r\n\x1b[31m\r\n", "LANG ja\r\nHELP\r\n", "AUTH LOGIN\r\n=\r\n!\r\n",
		"PASS\r\nUSER\r\nAPOP a b\r\n", "TOP 1 -1\r\nTOP 1\r\nTOP  1  2 \r\n",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, input string, loggedIn bool) {
		w := newWorld(t, Options{Plaintext: true, APOP: true})
		w.put(t, map[string]string{"joe/new/1.a": "Subject: x\n\n.\nbody", "joe/cur/2.b:2,S": "y\n"})
		c := w.local(t)
		if loggedIn {
			c.login()
		}
		go func() {
			_, _ = io.WriteString(c, input) // the session may end before
			_, _ = io.WriteString(c, "\r\nQUIT\r\n")

		}()
		c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		got, err := io.ReadAll(c.r)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if err == nil && len(got) > 0 && !strings.HasSuffix(string(got), "\r\n") {
			t.Errorf("half a reply: %q", got)
		}
		c.Close()
		<-c.done
		if held := w.Holders.Holders(); len(held) > 0 {
			t.Errorf("still held: %v", held)
		}
	})
}
