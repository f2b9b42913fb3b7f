package qmail

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// Errors of ReadNetstring.
var (
	// ErrNetstring: what was read is no netstring.
	ErrNetstring = errors.New("not a netstring: want a decimal length, a colon, that many bytes, a comma")
	// ErrNetstringLong: the length is above the reader's limit.
	ErrNetstringLong = errors.New("netstring longer than allowed")
)

// AppendNetstring appends s as a netstring: its length, ":", its bytes, "," (qmail reference 3.4).
func AppendNetstring[T ~string | ~[]byte](b []byte, s T) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}

// ReadNetstringLen reads a netstring's length and its colon and returns the length in
// bytes. Leading zeros are taken; a length above max is ErrNetstringLong. An end of input
// before the first byte is io.EOF, one further on io.ErrUnexpectedEOF.
func ReadNetstringLen(r *bufio.Reader, max int64) (int64, error) {
	var n int64
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		switch {
		case err == io.EOF && digits > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case c == ':' && digits > 0:
			return n, nil
		case c < '0' || c > '9' || digits >= 32:
			return 0, ErrNetstring
		}
		if d := int64(c - '0'); max < d || n > (max-d)/10 {
			return 0, ErrNetstringLong
		} else {
			n = n*10 + d
		}
	}
}

// ReadNetstringEnd reads the comma behind a netstring's bytes. ErrNetstring is of another byte, io.ErrUnexpectedEOF
// of the input's end.
func ReadNetstringEnd(r *bufio.Reader) error {
	c, err := r.ReadByte()
	switch {
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case c != ',':
		return ErrNetstring
	}
	return nil
}

// ReadNetstring reads one netstring of at most max bytes. Memory grows with the bytes
// that come, not with the length that is said. Errors are those of ReadNetstringLen and ReadNetstringEnd.
func ReadNetstring(r *bufio.Reader, max int64) ([]byte, error) {
	n, err := ReadNetstringLen(r, max)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < n {
		return nil, io.ErrUnexpectedEOF
	}
	return b, ReadNetstringEnd(r)
}
