package sevenbit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/jhillyerd/enmime/v2"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/mail"
)

func TestWhatBecomesOfAMessage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"text": {
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nSubject: x\n\nhé=llo \n.\nlast",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nSubject: x\nContent-Transfer-Encoding: quoted-printable\n\nh=C3=A9=3Dllo=20\n.\nlast",
		},
		"no MIME at all": {
			"Subject: x\n\nhé\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\nh=C3=A9\n",
		},
		"8bit in name only": {
			"MIME-Version: 1.0\nContent-Transfer-Encoding:\n 8BIT\nSubject: x\n\nhello\n",
			"MIME-Version: 1.0\nSubject: x\n\nhello\n",
		},
		"7-bit stays": {"Subject: x\n\nhello \n", "Subject: x\n\nhello \n"},
		"binary data": {
			"Mime-Version: 1.0\nContent-Type: image/png\nContent-Transfer-Encoding: binary\n\n\xff\n",
			"Mime-Version: 1.0\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n/w0K\n",
		},
		"parts": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\nContent-Transfer-Encoding: 8bit\n\npré\n--b\n\nplain\n--b\nContent-Type: text/html\n\nhé\n--b \nContent-Type: image/png\n\n\xff\n\n--b--\népi\n--b\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\npr??\n--b\n\nplain\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\nh=C3=A9\n--b \nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n/w0K\n--b--\n??pi\n--b\n",
		},
		"a message within": {
			"MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: y\n\nhé\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: y\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\nh=C3=A9\n--b--\n",
		},
		"an outer boundary ends inner parts": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=aa\n\n--aa\n\né\n--a\n\né\n--a--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=aa\n\n--aa\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--a\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--a--\n",
		},
		"a header without an end": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nX: y\n--a\n\né\n--a--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nX: y\n--a\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--a--\n",
		},
		"quoted-printable with stray bytes": {
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\na=3Db é =\nc\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\na=3Db =C3=A9 =\nc\n",
		},
		"a header without encoded words": {
			"MIME-Version: 1.0\nSubject: \xc5\xa5\xb8\xde\xc0\xcf\nContent-Type: text/plain; charset=euc-kr\n\n\xc5\xa5\n",
			"MIME-Version: 1.0\nSubject: \xc5\xa5\xb8\xde\xc0\xcf\nContent-Type: text/plain; charset=euc-kr\nContent-Transfer-Encoding: quoted-printable\n\n=C5=A5\n",
		},
		"such a header of a part": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: é\n\né\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: é\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b--\n",
		},
		"a header only": {"Subject: x\n", "Subject: x\n"},
		"nothing":       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Scan(strings.NewReader(c.in))
			if err != nil || p.Refuse != nil {
				t.Fatal(err, p.Refuse)
			}
			var out strings.Builder
			if err := p.Convert(&out, iotest.OneByteReader(strings.NewReader(c.in))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatCannotBeConvertedIsNamed(t *testing.T) {
	t.Parallel()
	deep := ""
	for i := range maxNesting + 1 {
		b := strings.Repeat("b", i+1)
		deep += "Content-Type: multipart/mixed; boundary=" + b + "\n\n--" + b + "\n"
	}
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"base64 that is none": {"Content-Transfer-Encoding: base64\n\né\n", errCoded},
		"unknown encoding":    {"Content-Transfer-Encoding: x-uuencode\n\né\n", errCoded},
		"partial":             {"Content-Type: message/partial; id=1\n\né\n", errFixed},
		"no boundary":         {"Content-Type: multipart/mixed\n\né\n", errType},
		"garbled multipart":   {"Content-Type: multipart/mixed; boundary=\"\n\né\n", errType},
		"many parts":          {"Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", maxParts+1), errParts},
		"deep":                {deep, errNesting},
		"long type":           {"Content-Type: text/plain; x=" + strings.Repeat("\n y", maxValue), errValue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Scan(strings.NewReader(c.in))
			if err != nil || !errors.Is(p.Refuse, c.want) {
				t.Fatalf("%v, %v; want %v", err, p.Refuse, c.want)
			}
			if err := p.Convert(io.Discard, strings.NewReader(c.in)); err == nil {
				t.Error("it is converted all the same")
			}
		})
	}
	if _, err := Scan(iotest.ErrReader(io.ErrUnexpectedEOF)); err != io.ErrUnexpectedEOF {
		t.Errorf("the reader's error: %v", err)
	}
}

// leaves returns the decoded bodies of a message. ok is false where one cannot be decoded.
func leaves(t interface{ Fatal(...any) }, m []byte) (out []string, ok bool) {
	w := newWalker(bytes.NewReader(m))
	var bodies [][]byte
	for {
		pc, err := w.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for len(bodies) < len(w.parts) {
			bodies = append(bodies, nil)
		}
		switch pc.kind {
		case body:
			bodies[pc.part] = append(bodies[pc.part], pc.bytes...)
		case delimiter:
			// The line end before a boundary is the boundary's. Only the part just before ends here.
			if n := len(w.parts) - 1; n >= 0 && !bytes.HasSuffix(bodies[n], []byte("\x00ended")) {
				bodies[n] = append(bytes.TrimSuffix(bodies[n], []byte("\n")), "\x00ended"...)
			}
		}
	}
	for i, b := range bodies {
		b = bytes.TrimSuffix(b, []byte("\x00ended"))
		var err error
		switch w.parts[i].encoding {
		case quoted:
			b, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(b)))
		case base64Text:
			b, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(b)))
			b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
		}
		if err != nil {
			return nil, false
		}
		out = append(out, string(b))
	}
	return out, true
}

// check is the converter's law: what comes out is 7-bit but for header fields that were not, has the same parts, and decodes to
// the same bytes.
func check(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, m []byte) {
	p, err := Scan(bytes.NewReader(m))
	if err != nil {
		t.Fatal(err)
	}
	if p.Refuse != nil {
		return
	}
	var out bytes.Buffer
	if err := p.Convert(&out, bytes.NewReader(m)); err != nil {
		t.Fatal(err)
	}
	if mail.HasEight(out.Bytes()) && !p.EightHeader {
		t.Fatalf("not 7-bit:\n%q\nfrom\n%q", out.Bytes(), m)
	}
	before, ok := leaves(t, m)
	if !ok {
		return
	}
	after, ok := leaves(t, out.Bytes())
	if diff := cmp.Diff(before, after); diff != "" || !ok {
		t.Fatalf("%v %s\nfrom\n%q\nto\n%q", ok, diff, m, out.Bytes())
	}
}

func drawMessage(t *rapid.T, depth int) string {
	header := ""
	for f := range rapid.IntRange(0, 2).Draw(t, "fields") {
		header += rapid.SampledFrom([]string{"Subject: x\n", "X: a\n\tb\n", "Content-Transfer-Encoding: 8bit\n", "MIME-Version: 1.0\n", "Content-Transfer-Encoding: quoted-printable\n", "Content-Transfer-Encoding: binary\n"}).Draw(t, "field"+string(rune('0'+f)))
	}
	lines := rapid.SliceOfN(rapid.StringMatching(`([a-zé=\t .\r-]|=3D){0,60}`), 0, 5)
	if depth > 0 {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			b := rapid.SampledFrom([]string{"b", "bb", "x y"}).Draw(t, "boundary")
			m := header + "Content-Type: multipart/mixed; boundary=\"" + b + "\"\n\npre\n"
			for range rapid.IntRange(0, 3).Draw(t, "parts") {
				m += "--" + b + "\n" + drawMessage(t, depth-1) + "\n"
			}
			return m + "--" + b + "--\n"
		case 1:
			return header + "Content-Type: message/rfc822\n\n" + drawMessage(t, depth-1)
		}
	}
	header += rapid.SampledFrom([]string{"", "Content-Type: text/html\n", "Content-Type: image/png\n"}).Draw(t, "type")
	return header + "\n" + strings.Join(lines.Draw(t, "lines"), "\n")
}

func TestConvertedMessagesDecodeToTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { check(t, []byte(drawMessage(t, 3))) })
}

func FuzzConvert(f *testing.F) {
	for _, s := range []string{
		"Subject: x\n\nhé \n", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\né\n--b\nContent-Type: image/png\n\n\xff\n--b--\né",
		"Content-Type: message/rfc822\n\nContent-Transfer-Encoding: quoted-printable\n\né=3D=\n", "A: b\nContent-Type: multipart/digest; boundary=b\n\n--b\n\n\né",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, m []byte) {
		if bytes.Contains(m, []byte("\x00ended")) {
			return
		}
		check(t, m)
	})
}

// A foreign reader sees the same texts and attachments.
func TestForeignReaderAgrees(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("naïve = long line with trailing blanks \t", 500)
	m := "From: joe@example.test\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: text/plain; charset=utf-8\n" +
		"Content-Transfer-Encoding: 8bit\n\nGrüße\n" + long + "\n--outer\nContent-Type: application/octet-stream; name=a.bin\nContent-Disposition: attachment; filename=a.bin\n" +
		"Content-Transfer-Encoding: 8bit\n\n\x80\x81\xff\nmore\n--outer--\n"
	p, err := Scan(strings.NewReader(m))
	if err != nil || p.Refuse != nil {
		t.Fatal(err, p.Refuse)
	}
	var out bytes.Buffer
	if err := p.Convert(&out, strings.NewReader(m)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > maxLine+1 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	e, err := enmime.ReadEnvelope(&out)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("Grüße\n"+long, strings.TrimRight(strings.ReplaceAll(e.Text, "\r\n", "\n"), "\n")); diff != "" {
		t.Error(diff)
	}
	if len(e.Attachments) != 1 || string(e.Attachments[0].Content) != "\x80\x81\xff\r\nmore" {
		t.Errorf("attachments %+v", e.Attachments)
	}
}
