package tool

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
)

// Filter returns the buffers of a program that copies its input, changed, to its output. What
// is written goes out before each read that may wait, so that a reader of the output sees each
// line as it comes. The caller flushes the writer at the end.
func (e *Env) Filter() (*bufio.Reader, *bufio.Writer) {
	out := bufio.NewWriterSize(e.Out(), 16<<10)
	return bufio.NewReaderSize(flushing{e.In(), out}, 16<<10), out
}

// flushing flushes out before each read.
type flushing struct {
	io.Reader
	out *bufio.Writer
}

func (f flushing) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(p)
}

// maxPiped bounds an input that is no file and must be read twice, in bytes: it is kept in memory.
const maxPiped = 256 << 20

// Seekable returns the standard input at its start, to be read more than once: .qmail programs get the
// message as a file, of which an earlier one may have read. What is no file is read to its end.
func (e *Env) Seekable() (io.ReadSeeker, error) {
	if f, ok := e.In().(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			_, err := f.Seek(0, io.SeekStart)
			return f, err
		}
	}
	if s, ok := e.In().(io.ReadSeeker); ok {
		if _, err := s.Seek(0, io.SeekStart); err == nil {
			return s, nil
		}
	}
	content, err := io.ReadAll(io.LimitReader(e.In(), maxPiped+1))
	if err == nil && len(content) > maxPiped {
		err = errPiped
	}
	in := bytes.NewReader(content)
	e.Stdin = in
	return in, err
}

// errPiped is Seekable's error for an input over its bound.
var errPiped = errors.New("the input is no file, and too long to be kept")
