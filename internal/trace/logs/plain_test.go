package logs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestJSONHoldsNothingThatATerminalObeys(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a": "é 한국어"}`:                 `{"a": "é 한국어"}`,
		"[\n\t\"\u009b31m\x7f\"\n]\n":    "[\n\t\"\\u009b31m\\u007f\"\n]\n",
		"\"\u202egnp\u2066 \U000e0041\"": `"\u202egnp\u2066 \udb40\udc41"`,
	} {
		if got := string(PlainJSON([]byte(in))); got != want {
			t.Errorf("%q: have %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.ToValidUTF8(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")), "?") + string(rapid.SliceOf(rapid.Rune()).Draw(t, "runes"))
		p, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		plain := PlainJSON(p)
		for _, r := range string(plain) {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %U", plain, r)
			}
		}
		var was, is string
		if err := json.Unmarshal(p, &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(plain, &is); err != nil || is != was {
			t.Fatalf("%q reads as %q, %v, want %q", plain, is, err, was)
		}
	})
}

func TestAJSONLogHoldsNothingThatATerminalObeys(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l, err := Open(Options{Format: "json"}, "smtpd", "", &out)
	if err != nil {
		t.Fatal(err)
	}
	l.Info("refused", "helo", "\u009b31m\x1b[31m\u202e")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"helo":"\u009b31m\u001b[31m\u202e"`) {
		t.Errorf("the log reads %q", out.String())
	}
}
