package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
)

var scanners = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// ScanTrace counts the Received and Delivered-To fields of a header and looks for one
// line, byte by byte. It needs no more memory than one buffer.
func ScanTrace(r io.Reader, line string) (hops int, seen bool, err error) {
	in := scanners.Get().(*bufio.Reader)
	in.Reset(r)
	defer func() { in.Reset(nil); scanners.Put(in) }()
	whole := true // the piece read next starts a line
	for {
		piece, err := in.ReadSlice('\n')
		if len(piece) > 0 && whole {
			text := bytes.TrimSuffix(piece, []byte("\n"))
			if len(text) == 0 {
				return hops, seen, nil
			}
			if hasName(text, "received:") || hasName(text, "delivered-to:") {
				hops++
			}
			seen = seen || string(text) == line
		}
		whole = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return hops, seen, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return hops, seen, err
		}
	}
}

func hasName(line []byte, name string) bool {
	return len(line) >= len(name) && strings.EqualFold(string(line[:len(name)]), name)
}
