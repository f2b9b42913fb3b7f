package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRepliesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want Reply
	}{
		{"250 ok\r\n", Reply{250, "", []string{"ok"}}},
		{"250\r\n", Reply{250, "", []string{""}}},
		{"250 \r\n", Reply{250, "", []string{""}}},
		{"250 ok\n", Reply{250, "", []string{"ok"}}},
		{"250-a\r\n250-b c\r\n250 d\r\n", Reply{250, "", []string{"a", "b c", "d"}}},
		{"550-5.1.1 no\r\n550 5.1.1 such user\r\n", Reply{550, "5.1.1", []string{"no", "such user"}}},
		{"550 4.1.1 lies\r\n", Reply{550, "", []string{"4.1.1 lies"}}},
		{"250 1.2.3.4 hello\r\n", Reply{250, "", []string{"1.2.3.4 hello"}}},
	} {
		got, err := ReadReply(bufio.NewReader(strings.NewReader(c.in)))
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
		} else if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
}

func TestWhatIsNoReplyIsNamed(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"hello\r\n", "25\r\n", "\r\n", "250x\r\n", "150 x\r\n", "650 x\r\n", "250-a\r\n251 b\r\n", "2 50 x\r\n",
		strings.Repeat("250-x\r\n", MaxReply/7+1), strings.Repeat("250-x\r\n", MaxReplyLines+1) + "251 y\r\n", strings.Repeat("2", 5000) + "\r\n",
	} {
		_, err := ReadReply(bufio.NewReaderSize(strings.NewReader(in), MaxReplyLine))
		if e, ok := errors.AsType[*ReplyError](err); !ok || len(e.Line) > 200 {
			t.Errorf("%.20q: %v", in, err)
		}
	}
	if _, err := ReadReply(bufio.NewReader(strings.NewReader("250-a\r\n25"))); err != io.ErrUnexpectedEOF {
		t.Errorf("cut reply: %v", err)
	}
	if _, err := ReadReply(bufio.NewReader(strings.NewReader(""))); err != io.EOF {
		t.Errorf("no reply: %v", err)
	}
}

func TestOfALongReplyTheHeadIsKept(t *testing.T) {
	t.Parallel()
	r := bufio.NewReaderSize(strings.NewReader(strings.Repeat("550-5.7.1 x\r\n", 3*MaxReplyLines)+"550 5.7.1 y\r\n221 bye\r\n"), MaxReplyLine)
	got, err := ReadReply(r)
	if err != nil || got.Code != 550 || got.Enhanced != "5.7.1" || len(got.Lines) != MaxReplyLines {
		t.Errorf("have %d %s, %d lines, %v", got.Code, got.Enhanced, len(got.Lines), err)
	}
	if got, err = ReadReply(r); err != nil || got.Code != 221 {
		t.Errorf("the next reply: %v, %v", got, err)
	}
}

func TestAWrittenReplyIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Reply{
			Code:     rapid.IntRange(200, 599).Draw(t, "code"),
			Lines:    rapid.SliceOfN(rapid.StringMatching(`[a-z ]{0,20}`), 1, 5).Draw(t, "lines"),
			Enhanced: "",
		}
		if c := want.Code / 100; c != 3 && rapid.Bool().Draw(t, "enhanced") {
			want.Enhanced = string(rune('0'+c)) + ".1.10"
		}
		got, err := ReadReply(bufio.NewReader(bytes.NewReader(AppendReply(nil, want.Code, want.Enhanced, want.Lines...))))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("250-a\r\n250 5.1.1 b\r\n"))
	f.Add([]byte("550 5.1.1\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := ReadReply(bufio.NewReaderSize(bytes.NewReader(p), MaxReplyLine))
		if err == nil && (r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Verbatim(5000)) > 5000) {
			t.Fatalf("%+v", r)
		}
	})
}

func TestXtextGoesThereAndBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[ -~]{0,40}`).Draw(t, "s")
		x := EncodeXtext(s)
		if got, err := DecodeXtext(x); err != nil || got != s {
			t.Fatalf("%q by %q: %q, %v", s, x, got, err)
		}
	})
	for _, bad := range []string{"+", "+2", "+2b", "+G0", "a b", "a=b", "\x00", "+00", "+0D", "+0A", "+7F", "\xff", "+FF"} {
		if got, err := DecodeXtext(bad); err == nil {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
}

func TestInternationalXtextGoesThereAndBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[ -~ö漢😀]{0,40}`).Draw(t, "s")
		x := EncodeUTF8Xtext(s)
		if got, err := decodeUTF8Xtext(x); err != nil || got != s || strings.ContainsFunc(x, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("%q by %q: %q, %v", s, x, got, err)
		}
	})
}

func FuzzXtext(f *testing.F) {
	f.Add("joe+2B@x")
	f.Add("+")
	f.Fuzz(func(t *testing.T, x string) {
		s, err := DecodeXtext(x)
		if err != nil {
			return
		}
		if strings.ContainsAny(s, "\r\n\x00") {
			t.Fatalf("%q gives %q", x, s)
		}
		if again, err := DecodeXtext(EncodeXtext(s)); err != nil || again != s {
			t.Fatalf("%q: %q, %v", s, again, err)
		}
	})
}

// encodeSlowly is the Encoder's rule, byte by byte.
func encodeSlowly(in []byte, dots bool) []byte {
	in = bytes.ReplaceAll(in, []byte("\r\n"), []byte("\n"))
	in = bytes.ReplaceAll(in, []byte("\r"), []byte(" "))
	if len(in) > 0 && in[len(in)-1] != '\n' {
		in = append(in, '\n')
	}
	var out []byte
	for line := range bytes.Lines(in) {
		if dots && line[0] == '.' {
			out = append(out, '.')
		}
		out = append(append(out, line[:len(line)-1]...), "\r\n"...)
	}
	if dots {
		out = append(out, ".\r\n"...)
	}
	return out
}

func checkEncoder(t interface{ Fatalf(string, ...any) }, in []byte, step int, dots bool) {
	var out bytes.Buffer
	e := newEncoder(&out, dots)
	for rest := in; len(rest) > 0; {
		n := min(step, len(rest))
		if _, err := e.Write(rest[:n]); err != nil {
			t.Fatalf("%v", err)
		}
		rest = rest[n:]
	}
	if err := e.Close(); err != nil {
		t.Fatalf("%v", err)
	}
	if want := encodeSlowly(bytes.Clone(in), dots); !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("%.200q in steps of %d: %.200q, want %.200q", in, step, out.Bytes(), want)
	}
}

func TestContentIsEncodedForTheWire(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.SampledFrom([]byte("a.\r\n\n\x00")), 0, 60).Draw(t, "in")
		checkEncoder(t, in, rapid.IntRange(1, 8).Draw(t, "step"), rapid.Bool().Draw(t, "dots"))
	})
	big := bytes.Repeat([]byte("0123456789\n.x\n"), 10000)
	checkEncoder(t, big, len(big), true)
	checkEncoder(t, bytes.Repeat([]byte("x"), 200000), 70000, true)
	checkEncoder(t, bytes.Repeat([]byte("\r"), 100000), 70000, true)
}

func FuzzEncoder(f *testing.F) {
	f.Add([]byte(".\n..\r\r\n.\r"), 1, true)
	f.Fuzz(func(t *testing.T, in []byte, step int, dots bool) {
		checkEncoder(t, in, max(step, 1), dots)
	})
}
