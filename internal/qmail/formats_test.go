package qmail_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

func TestDates(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 7, 21, 33, 2, 5, time.FixedZone("", 2*3600))
	if got := string(qmail.AppendDate(nil, at)); got != "7 Nov 2026 19:33:02 -0000" {
		t.Errorf("date %q", got)
	}
	if got := string(qmail.AppendFromDate(nil, at)); got != "Sat Nov 07 19:33:02 2026" {
		t.Errorf("From_ date %q", got)
	}
}

func TestReceivedSafe(t *testing.T) {
	t.Parallel()
	const in = "id [x]@a%b+c/d=e:f-g_h\n(\xe4)"
	if got := string(qmail.AppendReceivedSafe(nil, in)); got != "id?[x]@a%b+c/d=e:f-g?h????" {
		t.Errorf("%q", got)
	}
}

func TestLowerLeavesOtherBytes(t *testing.T) {
	t.Parallel()
	if got := qmail.Lower("aÄZ-\xffQ"); got != "aÄz-\xffq" {
		t.Errorf("%q", got)
	}
}

func TestLinesAreNumberedFromOne(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for n, line := range qmail.Lines([]byte("a\n\n b")) {
		got.WriteString(qmail.Place{File: "f", Line: n}.String() + "=" + line + ";")
	}
	if got.String() != "f:1=a;f:2=;f:3= b;" {
		t.Errorf("%q", got.String())
	}
}

func TestNetstrings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, want string
		err      error
	}{
		{"0:,", "", nil},
		{"5:hello,", "hello", nil},
		{"005:hello,", "hello", nil},
		{"", "", io.EOF},
		{"5", "", io.ErrUnexpectedEOF},
		{"5:hell", "", io.ErrUnexpectedEOF},
		{"5:hello", "", io.ErrUnexpectedEOF},
		{"5:hello;", "", qmail.ErrNetstring},
		{":,", "", qmail.ErrNetstring},
		{"-1:,", "", qmail.ErrNetstring},
		{"11:hello worldx,", "", qmail.ErrNetstringLong},
		{"99999999999999999999:", "", qmail.ErrNetstringLong},
		{strings.Repeat("0", 40) + ":,", "", qmail.ErrNetstring},
	} {
		got, err := qmail.ReadNetstring(bufio.NewReader(strings.NewReader(tc.in)), 10)
		if !errors.Is(err, tc.err) || err == nil && string(got) != tc.want {
			t.Errorf("%q: %q, %v; want %q, %v", tc.in, got, err, tc.want, tc.err)
		}
	}
}

func FuzzNetstring(f *testing.F) {
	for _, s := range []string{"0:,", "5:hello,", "12345678:", "x", "3:a\x00b,"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := qmail.ReadNetstring(bufio.NewReader(bytes.NewReader(in)), 1000)
		if err != nil {
			return
		}
		again, err := qmail.ReadNetstring(bufio.NewReader(bytes.NewReader(qmail.AppendNetstring(nil, got))), 1000)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q: wrote and read %q, %v", got, again, err)
		}
	})
}

// Every text stands in a program of the family, which is linked with its whole table.
func TestErrorsHaveTheFamilysWords(t *testing.T) {
	t.Parallel()
	for e, want := range map[syscall.Errno]string{syscall.EACCES: "access denied", syscall.EPERM: "permission denied", syscall.EDQUOT: "disk quota exceeded"} {
		if got, ok := qmail.ErrorText(e); !ok || got != want {
			t.Errorf("%v: %q, want %q", e, got, want)
		}
	}
	path, err := exec.LookPath("svstat")
	if err != nil {
		t.Skip("daemontools is not installed")
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(program, []byte("\x7fELF")) {
		t.Skip("svstat is not the original")
	}
	for e := range syscall.Errno(200) {
		if text, ok := qmail.ErrorText(e); ok && !bytes.Contains(program, append(append([]byte{0}, text...), 0)) {
			t.Errorf("%q (%v) is not the family's", text, e)
		}
	}
}
