package mime

import (
	"encoding/base64"
	"strings"
)

// DecodeWords replaces the encoded words of RFC 2047 in a field's value and returns
// UTF-8. Adjacent words of one character set are joined before they are decoded, since writers split
// characters. What cannot be decoded stays as it is; bytes that are not UTF-8 are read as the
// writer's likely character set could not be known: each becomes U+FFFD.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	var b strings.Builder
	charset, run := "", []byte(nil) // the words not yet written
	flush := func() {
		if charset != "" {
			b.WriteString(toUTF8(charset, string(run)))
		}
		charset, run = "", run[:0]
	}
	tail := len(s) - strings.LastIndex(s, "?=") // behind the last end of a word there is none
	for wasted := 0; wasted <= maxWasted; {
		start := strings.Index(s, "=?")
		if start < 0 || len(s)-start < tail {
			break
		}
		w, n, ok := readWord(s[start:])
		if !ok {
			wasted += n
		}
		if between := s[:start]; charset == "" || !ok || strings.Trim(between, " \t\r\n") != "" {
			flush()
			b.WriteString(between) // blanks between two encoded words are no text: RFC 2047 6.2
		}
		if !ok {
			b.WriteString(s[start : start+2])
			s = s[start+2:]
			continue
		}
		if charset != w.charset {
			flush()
		}
		charset, run = w.charset, append(run, w.text...)
		s = s[start+n:]
	}
	flush()
	b.WriteString(s)
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// maxWasted bounds, in bytes, the text of encoded words that cannot be decoded: each of many could
// reach to the end of a long field.
const maxWasted = 4 << 20

// word is an encoded word with its bytes decoded and its character set in lower case.
type word struct{ charset, text string }

// readWord reads the encoded word that s begins with; n is its length, also where it cannot be decoded.
func readWord(s string) (w word, n int, ok bool) {
	parts := strings.SplitN(s[2:], "?", 3)
	if len(parts) < 3 || len(parts[1]) != 1 || parts[0] == "" || strings.ContainsAny(parts[0], " \t\r\n") {
		return w, 0, false
	}
	end := strings.Index(parts[2], "?=")
	if end < 0 {
		return w, 0, false
	}
	text := parts[2][:end]
	switch parts[1] {
	case "b", "B":
		w.text, ok = decodeBase64(text)
	case "q", "Q":
		w.text, ok = decodeQ(text), true
	}
	charset, _, _ := strings.Cut(strings.ToLower(parts[0]), "*") // RFC 2231 5: a language
	w.charset = charset
	return w, 2 + len(parts[0]) + 3 + end + 2, ok
}

func decodeBase64(s string) (string, bool) {
	s = strings.TrimRight(strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "").Replace(s), "=")
	p, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil && len(s)%4 == 1 { // one character too many: take what is whole
		p, err = base64.RawStdEncoding.DecodeString(s[:len(s)-1])
	}
	return string(p), err == nil
}

// decodeQ reads the Q encoding: "_" is a blank, "=" begins two hexadecimal digits.
func decodeQ(s string) string {
	return unescape(strings.ReplaceAll(s, "_", " "), '=')
}
