package mime

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDescription(t *testing.T) {
	t.Parallel()
	in := strings.ReplaceAll(`From: =?utf-8?q?J=C3=B6rg?= <a@x.test>
To: g: b@y.test;
Subject: =?euc-kr?B?x9GxuQ==?=
Date: Sat, 21 Nov 2026 19:31:43 +0900
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9
--b
Content-Type: application/octet-stream; name="=?utf-8?q?=C3=A4?="
Content-Disposition: attachment; filename*=utf-8''%C3%A4.bin
Content-Transfer-Encoding: base64

AAEC
Aw==
--b--
`, "\n", "\r\n")
	got, err := json.Marshal(Describe([]byte(in)))
	if err != nil {
		t.Fatal(err)
	}
	var d Description
	if err := json.Unmarshal(got, &d); err != nil {
		t.Fatal(err)
	}
	if d.Subject != "한국" || d.Addresses["from"][0].Name != "Jörg" || *d.Addresses["to"][0].Group != "g" || d.Date == nil || d.Date.UTC().Hour() != 10 {
		t.Errorf("%s", got)
	}
	var parts []string
	for _, p := range d.Parts {
		line := p.Number + " " + p.Type
		if p.DecodedSize != nil {
			line += " " + p.Text + " " + p.Filename
		}
		parts = append(parts, line)
	}
	if diff := cmp.Diff([]string{" multipart/mixed", "1 text/plain café ", "2 application/octet-stream  ä.bin"}, parts); diff != "" {
		t.Error(diff)
	}
}

func TestBase64IsReadAsItComes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"aGVsbG8=": "hello", "aGVs\r\nbG8=\r\n": "hello", "aGVsbG8": "hello", "a G*V-s bG8=": "hello", "": "", "aGVsbG8=trailing": "hello", "====": "",
	} {
		got, err := io.ReadAll(Content("base64", strings.NewReader(in)))
		if string(got) != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Byte()).Draw(t, "content")
		var wrapped strings.Builder
		for i, c := range base64.StdEncoding.EncodeToString(want) {
			if i > 0 && i%76 == 0 {
				wrapped.WriteString("\r\n")
			}
			wrapped.WriteRune(c)
		}
		if got, err := io.ReadAll(Content("base64", strings.NewReader(wrapped.String()))); string(got) != string(want) || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAA=\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if _, err := json.Marshal(Describe(message)); err != nil {
			t.Error(err)
		}
	})
}
