package serial

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/postilion/postilion/internal/tools/tool"
)

// link is the connection to the other host.
type link struct {
	in  *bufio.Reader
	out *bufio.Writer
	ip  string // the other host's, "" when not known
}

// timed sets a deadline before each read and write.
type timed struct {
	net.Conn
	read, write time.Duration
}

func (t timed) Read(p []byte) (int, error) {
	if err := t.SetReadDeadline(time.Now().Add(t.read)); err != nil {
		return 0, err
	}
	return t.Conn.Read(p)
}

func (t timed) Write(p []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(t.write)); err != nil {
		return 0, err
	}
	return t.Conn.Write(p)
}

func newLink(r io.Reader, w io.Writer, ip string) *link {
	return &link{bufio.NewReaderSize(r, 4096), bufio.NewWriterSize(w, 16<<10), ip}
}

// descriptors returns the link on descriptors 6 and 7, which a UCSPI client such as tcpclient has
// made.
func descriptors(e *tool.Env, read, write time.Duration) (*link, int) {
	r, w := e.File(6), e.File(7)
	if r == nil || w == nil {
		return nil, e.Fatal(tool.Temporary, "descriptors 6 and 7 are not open: run by tcpclient")
	}
	return newLink(endpoint(r, read, write), endpoint(w, read, write), e.Getenv("TCPREMOTEIP")), tool.OK
}

// endpoint gives a socket its time limits; a pipe has none.
func endpoint(f *os.File, read, write time.Duration) io.ReadWriter {
	if c, err := net.FileConn(f); err == nil {
		return timed{c, read, write}
	}
	return f
}

// Time limits: of tcpclient's connecting over all addresses, and of the clients' reads and
// writes.
const (
	connectTime   = 60 * time.Second
	smtpReadTime  = 81 * time.Second
	smtpWriteTime = 73 * time.Second
	qmtpTime      = time.Hour
)

// dialled is a client within this process: it connects to host and speaks.
func dialled(host, port, name string, speak func(e *tool.Env, l *link, in io.Reader, out io.Writer) int) client {
	return func(ctx context.Context, e *tool.Env, in io.Reader, out io.Writer) (int, bool) {
		c := *e
		c.Args = []string{name}
		target := host
		if _, _, err := net.SplitHostPort(host); err != nil {
			target = net.JoinHostPort(host, port)
		}
		conn, err := (&net.Dialer{Timeout: connectTime}).DialContext(ctx, "tcp", target)
		if err != nil {
			return c.Fatal(tool.Temporary, "unable to connect to ", host, ": ", err), false
		}
		defer conn.Close()
		read, write := smtpReadTime, smtpWriteTime
		if name == "serialqmtp" {
			read, write = qmtpTime, qmtpTime
		}
		ip, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			ip = ""
		}
		t := timed{conn, read, write}
		return speak(&c, newLink(t, t, ip), in, out), false
	}
}

// netError ends a client whose connection broke.
func netError(e *tool.Env, what string, err error) int {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return e.Fatal(tool.Temporary, "network ", what, " error: end of file")
	}
	return e.Fatal(tool.Temporary, "network ", what, " error: ", err)
}
