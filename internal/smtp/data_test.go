package smtp

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// decodeSlowly is the rule of Decoder.Data, byte by byte.
func decodeSlowly(in []byte) (out []byte, rest []byte, done, bare bool) {
	start := true
	for i := 0; i < len(in); i++ {
		if start && in[i] == '.' {
			if bytes.HasPrefix(in[i:], []byte(".\r\n")) {
				return out, in[i+3:], true, bare
			}
			start = false
			continue
		}
		switch {
		case in[i] == '\r' && i+1 < len(in) && in[i+1] == '\n':
			out = append(out, '\n')
			i++
			start = true
			continue
		case in[i] == '\r':
			bare = true
			out = append(out, ' ')
		case in[i] == '\n':
			bare = true
			out = append(out, '\n')
		default:
			out = append(out, in[i])
		}
		start = false
	}
	return out, nil, false, bare
}

// decodeSteps feeds a Decoder as a connection would, step bytes at a time.
func decodeSteps(in []byte, step int) (out, rest []byte, done, bare bool) {
	var d Decoder
	var held []byte
	for len(in) > 0 {
		n := min(step, len(in))
		p := append(bytes.Clone(held), in[:n]...)
		in = in[n:]
		o, taken, end := d.Data(p)
		out = append(out, o...)
		held = bytes.Clone(p[taken:])
		if end {
			return out, append(held, in...), true, d.Bare
		}
		if len(held) > 2 {
			panic("more than two bytes are left")
		}
	}
	return out, nil, false, d.Bare
}

type fataler interface{ Fatalf(string, ...any) }

func checkData(t fataler, in []byte, step int) {
	wout, wrest, wdone, wbare := decodeSlowly(in)
	out, rest, done, bare := decodeSteps(in, step)
	if !wdone {
		// Unfinished content: what is held back at the end is not out yet.
		if done || !bytes.HasPrefix(wout, out) {
			t.Fatalf("%q in steps of %d: %q done %v, want %q", in, step, out, done, wout)
		}
		return
	}
	if !bytes.Equal(out, wout) || !bytes.Equal(rest, wrest) || done != wdone || bare != wbare {
		t.Fatalf("%q in steps of %d:\n%q %q %v %v, want\n%q %q %v %v", in, step, out, rest, done, bare, wout, wrest, wdone, wbare)
	}
}

func TestDataIsDecodedAlikeInPiecesOfAnySize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{"a", ".", "\r", "\n", "\r\n", "\r\n.", ".\r\n", "..", "bcd", "\x00"})).Draw(t, "parts")
		in := []byte(strings.Join(parts, "") + rapid.SampledFrom([]string{"", "\r\n.\r\n", "\r\n.\r\nQUIT\r\n"}).Draw(t, "end"))
		checkData(t, in, rapid.IntRange(1, 9).Draw(t, "step"))
	})
}

// The list of the scanner that found the smuggling holes of 2023.
func TestOnlyCRLFDotCRLFEndsData(t *testing.T) {
	t.Parallel()
	for _, end := range []string{
		"\n.\n", "\n.\r", "\r.\n", "\r.\r", "\n.\r\n", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n.\n", "\r\n.\r",
	} {
		in := "body" + end + "MAIL FROM:<smuggled@x.test>\r\nDATA\r\n"
		for step := 1; step <= len(in); step++ {
			out, _, done, bare := decodeSteps([]byte(in+"\r\n.\r\nQUIT\r\n"), step)
			if !done || !strings.Contains(string(out), "smuggled") {
				t.Errorf("%q in steps of %d: ended early: %q", end, step, out)
			}
			if bare != (end != "\r\n\x00.\r\n") {
				t.Errorf("%q: bare %v", end, bare)
			}
			if strings.Contains(string(out), "\r") {
				t.Errorf("%q: a CR is left in %q", end, out)
			}
		}
	}
}

func FuzzData(f *testing.F) {
	f.Add([]byte("a\r\n..b\r\n.\r\nQUIT\r\n"), 3)
	f.Add([]byte("a\n.\r\n\r.\r\n.\r\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) { checkData(t, in, max(step, 1)) })
}

func chunkSteps(in []byte, step int) (out []byte, bare bool) {
	var d Decoder
	for len(in) > 0 {
		p := bytes.Clone(in[:min(step, len(in))])
		in = in[len(p):]
		for len(p) > 0 {
			o, n := d.Chunk(p)
			out = append(out, o...)
			p = p[n:]
		}
	}
	d.End()
	return out, d.Bare
}

func checkChunk(t fataler, in []byte, step int) {
	want := bytes.ReplaceAll(in, []byte("\r\n"), []byte("\n"))
	bare := bytes.Contains(want, []byte("\r")) || bytes.Count(want, []byte("\n")) != bytes.Count(in, []byte("\r\n"))
	want = bytes.ReplaceAll(want, []byte("\r"), []byte(" "))
	got, gotBare := chunkSteps(in, step)
	if len(in) > 0 && in[len(in)-1] == '\r' {
		want = want[:len(want)-1] // never completed, and refused anyhow
	}
	if !bytes.Equal(got, want) || gotBare != bare {
		t.Fatalf("%q in steps of %d: %q %v, want %q %v", in, step, got, gotBare, want, bare)
	}
}

func TestChunksAreDecodedAlikeInPiecesOfAnySize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(rapid.SampledFrom([]byte("a.\r\n"))).Draw(t, "in")
		checkChunk(t, in, rapid.IntRange(1, 9).Draw(t, "step"))
	})
}

func FuzzChunk(f *testing.F) {
	f.Add([]byte("a\r\n\r"), 2)
	f.Fuzz(func(t *testing.T, in []byte, step int) { checkChunk(t, in, max(step, 1)) })
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(rapid.SampledFrom([]byte("ab.\n\x00\xff"))).Draw(t, "in")
		var wire bytes.Buffer
		e := NewDotEncoder(&wire)
		e.Write(in)
		e.Close()
		if len(in) > 0 && in[len(in)-1] != '\n' {
			in = append(in, '\n')
		}
		out, rest, done, bare := decodeSteps(wire.Bytes(), 7)
		if !bytes.Equal(out, in) || len(rest) > 0 || !done || bare {
			t.Fatalf("%q came back as %q", in, out)
		}
	})
}

func BenchmarkData(b *testing.B) {
	wire := []byte(strings.Repeat(strings.Repeat("x", 74)+"\r\n", 432))
	p := make([]byte, len(wire))
	b.SetBytes(int64(len(wire)))
	var d Decoder
	for b.Loop() {
		copy(p, wire)
		d.Data(p)
	}
}

func BenchmarkEncoder(b *testing.B) {
	in := []byte(strings.Repeat(strings.Repeat("x", 74)+"\n", 432))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		e := NewDotEncoder(discard{})
		e.Write(in)
		e.Close()
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
