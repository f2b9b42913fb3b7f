package headers

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/unicode/norm"

	"github.com/postilion/postilion/internal/mime"
)

// This file is the forms in which a text of a header is compared with rules: as it came, and as readers
// see it. Writers of Korean and Japanese leave out the character set often enough.

// unlabelled are the character sets that a text with bytes above 127, or with escapes, is tried as.
var unlabelled = []struct {
	enc    encoding.Encoding
	escape bool // it is text of seven bits with escapes
}{
	{korean.EUCKR, false},
	{japanese.ShiftJIS, false},
	{japanese.EUCJP, false},
	{japanese.ISO2022JP, true},
}

// forms returns an unfolded text as it came, and in its further readings where they are different: encoded words
// decoded, without a character set in those of Korea and Japan, composed. name, such as "Subject: ", goes
// before each.
func forms(name, raw string) []string {
	list := make([]string, 0, 2)
	add := func(s string) {
		if s = name + s; !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	add(raw)
	decoded := raw
	if strings.Contains(raw, "=?") {
		decoded = mime.DecodeWords(raw)
		add(decoded)
	}
	escaped := strings.Contains(raw, "\x1b")
	if broken := !utf8.ValidString(raw); broken || escaped {
		for _, u := range unlabelled {
			if u.escape && !escaped || !u.escape && !broken {
				continue
			}
			// What is no text in that character set has replacement characters in it.
			if s, err := u.enc.NewDecoder().String(raw); err == nil && !strings.ContainsRune(s, utf8.RuneError) {
				add(mime.DecodeWords(s))
			}
		}
	}
	if escaped {
		add(mime.DecodeWords(mime.Legible(raw, ""))) // Korean with escapes is among it
	}
	if !norm.NFC.IsNormalString(decoded) { // file names of some systems come taken apart
		add(norm.NFC.String(decoded))
	}
	return list
}

// attachmentForms is forms for the name of a file: also without the dots and blanks at its end, which systems that run
// attachments by their names pass over.
func attachmentForms(raw string) []string {
	list := forms("", raw)
	for _, s := range list {
		if trimmed := strings.TrimRight(s, ". \t"); trimmed != s && trimmed != "" && !slices.Contains(list, trimmed) {
			list = append(list, trimmed)
		}
	}
	return list
}
