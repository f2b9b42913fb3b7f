package main

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestNothingFromOutsideReachesATerminalRaw(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain é": "plain é", "a\x1b[31mb": `a\x1b[31mb`, "x\r\ny": `x\r\ny`, "\xff": `\xff`, "\u202eevil": `\u202eevil`,
	} {
		if got := escape(in); got != want {
			t.Errorf("%q: have %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		got := escape(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
		if !utf8.ValidString(got) {
			t.Fatalf("%q is no UTF-8", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) {
				t.Fatalf("%q holds %U", got, r)
			}
		}
	})
}
