package inject

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// smtpReply is how long a program that talks SMTP waits for a reply once it was greeted: the longest that RFC 5321
// 4.5.3.2.6 asks for, since more haste there sends messages twice.
const smtpReply = 10 * time.Minute

// SMTP lets in and out talk SMTP with the server, as sendmail -bs does. It returns when the server
// has closed, or owes the greeting or a reply for too long.
func (c *Client) SMTP(ctx context.Context, program string, in io.Reader, out io.Writer) error {
	k, err := c.open(ctx, VerbSMTP, &Envelope{Program: program})
	if err != nil {
		return err
	}
	defer k.conn.Close()
	if err := k.w.Flush(); err != nil {
		return c.failed(err)
	}
	k.conn.SetDeadline(time.Time{})
	d := &dialogue{conn: k.conn}
	d.asked.Store(time.Now().UnixNano())
	go func() {
		io.Copy(d, in)
		if u, ok := k.conn.(*net.UnixConn); ok {
			u.CloseWrite()
		}
	}()
	if err := d.replies(out, c.timeout()); err != nil {
		return c.failed(err)
	}
	return nil
}

// dialogue is a connection on which the program's side is noted, so that a server that owes something is told from one that
// waits for the program.
type dialogue struct {
	conn  net.Conn
	asked atomic.Int64 // when the program last wrote, in Unix nanoseconds
}

// Write implements io.Writer.
func (d *dialogue) Write(p []byte) (int, error) {
	d.asked.Store(time.Now().UnixNano())
	return d.conn.Write(p)
}

// replies copies what the server says until it closes. It owes the first words after greeting, and others after smtpReply.
func (d *dialogue) replies(out io.Writer, greeting time.Duration) error {
	buf := make([]byte, 16<<10)
	patience := greeting
	var said int64
	for {
		asked := d.asked.Load()
		owed := asked > said
		until := time.Now().Add(patience)
		if owed {
			until = time.Unix(0, asked).Add(patience)
		}
		d.conn.SetReadDeadline(until)
		n, err := d.conn.Read(buf)
		if n > 0 {
			said, patience = time.Now().UnixNano(), max(greeting, smtpReply)
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && (!owed || d.asked.Load() != asked): // it was not owed anything for so long
		case err != nil:
			return err
		}
	}
}
