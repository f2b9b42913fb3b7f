package tool

import (
	"bufio"
	"io"
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
