package tool

import (
	"io"
	"os"
	"strings"
)

// Option is one option of a command line, with its argument where it takes one.
type Option struct {
	Name  rune
	Value string
}

// GetOpt reads options as getopt(3) does: letters, a ":" behind those that take an argument.
// Options end at the first argument that is none, and behind "--". It returns the arguments
// that follow; ok is false for an unknown option or a missing argument.
func GetOpt(args []string, letters string) (opts []Option, rest []string, ok bool) {
	for len(args) > 0 {
		a := args[0]
		if a == "--" {
			return opts, args[1:], true
		}
		if len(a) < 2 || a[0] != '-' {
			break
		}
		args = args[1:]
		for i := 1; i < len(a); i++ {
			at := strings.IndexByte(letters, a[i])
			if at < 0 || a[i] == ':' {
				return nil, nil, false
			}
			o := Option{Name: rune(a[i])}
			takes := at+1 < len(letters) && letters[at+1] == ':'
			if takes {
				o.Value = a[i+1:]
				i = len(a)
				if o.Value == "" {
					if len(args) == 0 {
						return nil, nil, false
					}
					o.Value, args = args[0], args[1:]
				}
			}
			opts = append(opts, o)
		}
	}
	return opts, args, true
}

// ScanUint reads the digits at the start of s, as the family's scan_ulong: no digit is 0. It
// returns what follows them. A number beyond 64 bits is the largest one.
func ScanUint(s string) (n uint64, rest string) {
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		d := uint64(s[i] - '0')
		if n > (1<<64-1-d)/10 {
			n = 1<<64 - 1
			continue
		}
		n = n*10 + d
	}
	return n, s[i:]
}

// ReadAtMost reads a file of which no more than limit bytes are wanted.
func ReadAtMost(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
