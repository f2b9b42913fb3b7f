package local

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/postilion/postilion/internal/deliver"
)

// content is the message of one delivery as its instructions need it: a reader from the start for
// each file, a descriptor from the start for each program. What comes over a socket and is large is
// fetched once.
type content struct {
	job   *deliver.Job
	spool string // folder of large copies; "" is the system's for temporary files

	mu   sync.Mutex
	copy *os.File // the whole message; nil until somebody needs it
}

// memoryCopy is the size up to which a copy is kept in memory, in bytes.
const memoryCopy = 1 << 20

// open returns the message from its start.
func (c *content) open() (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy != nil {
		return io.NopCloser(io.NewSectionReader(c.copy, 0, 1<<62)), nil
	}
	body, err := c.job.Body()
	if err != nil {
		return nil, readError{err}
	}
	if _, near := body.(io.Seeker); near {
		return bodyReader{body}, nil
	}
	err = c.fill(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(c.copy, 0, 1<<62)), nil
}

// fill makes the copy. It is called with mu held.
func (c *content) fill(body io.Reader) error {
	f, err := c.temp(c.job.Envelope.Size)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, bodyReader{io.NopCloser(body)}); err != nil {
		return errors.Join(err, f.Close())
	}
	c.copy = f
	return nil
}

// temp returns a file without a name.
func (c *content) temp(size int64) (*os.File, error) {
	if size <= memoryCopy {
		if f, err := memoryFile(); err == nil {
			return f, nil
		}
	}
	f, err := os.CreateTemp(c.spool, "message-")
	if err != nil {
		return nil, err
	}
	// Programs may open it again by /dev/stdin, and read it only.
	return f, errors.Join(os.Remove(f.Name()), f.Chmod(0o444))
}

// stdin returns the message, after the lines of head, as a program's descriptor 0: open for
// reading, at its start. The caller closes it.
func (c *content) stdin(head string) (*os.File, error) {
	if head == "" {
		if err := c.whole(); err != nil {
			return nil, err
		}
		return reopen(c.copy)
	}
	f, err := c.temp(c.job.Envelope.Size + int64(len(head)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body, err := c.open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if _, err := io.WriteString(f, head); err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, body); err != nil {
		return nil, err
	}
	return reopen(f)
}

// whole sees that there is a copy.
func (c *content) whole() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy != nil {
		return nil
	}
	body, err := c.job.Body()
	if err != nil {
		return readError{err}
	}
	return errors.Join(c.fill(body), body.Close())
}

// reopen opens a file anew, with a position of its own, for reading alone.
func reopen(f *os.File) (*os.File, error) {
	seal(f)
	return os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), os.O_RDONLY, 0)
}

// scan looks for the Delivered-To line in the header and counts the hosts that the message came
// through.
func (c *content) scan(ctx context.Context, line string) (loops bool, hops int, err error) {
	if err := ctx.Err(); err != nil {
		return false, 0, err
	}
	body, err := c.open()
	if err != nil {
		return false, 0, err
	}
	defer body.Close()
	hops, loops, err = deliver.ScanTrace(body, line)
	return loops, hops, err
}

// close gives up the copy.
func (c *content) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy != nil {
		c.copy.Close()
	}
}

// readError is trouble with reading the message, as against writing it somewhere.
type readError struct{ error }

// Unwrap returns the cause.
func (e readError) Unwrap() error { return e.error }

// bodyReader is a body whose trouble says that it is the body's.
type bodyReader struct{ io.ReadCloser }

// Read implements io.Reader.
func (t bodyReader) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = readError{err}
	}
	return n, err
}
