package certs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxPEM bounds a certificate with its chain, or a key, in bytes.
const maxPEM = 1 << 20

// ReadPEM reads a regular file of at most maxPEM bytes, opened with further flags: nothing else that stands in its place holds root up,
// or fills its memory. The error is a *fs.PathError that says what it is instead.
func ReadPEM(name string, flag int) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|flag, 0)
	if flag&syscall.O_NOFOLLOW != 0 && errors.Is(err, syscall.ELOOP) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is a link in a role's folder: name the file that it leads to")}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	var p []byte
	if err == nil {
		p, err = io.ReadAll(io.LimitReader(f, maxPEM+1))
	}
	if err == nil && len(p) > maxPEM {
		err = fmt.Errorf("it is larger than %d bytes", maxPEM)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return p, nil
}
