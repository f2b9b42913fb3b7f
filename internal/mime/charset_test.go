package mime

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"pgregory.net/rapid"
)

// Korean mail of the years of ISO-2022-KR (RFC 1557), in encoded words and in text.
func TestKoreanWithEscapesIsRead(t *testing.T) {
	t.Parallel()
	const hello = "안녕하세요 큐메일"
	for _, c := range []struct{ what, got, want string }{
		{"a text", toUTF8("ISO-2022-KR", "\x1b$)C\x0e>H3gGO<<?d\x0f \x0eE%8^@O\x0f\r\n"), hello + "\r\n"},
		{"its other name", toUTF8("csISO2022KR", "\x1b$)C\x0e>H3gGO<<?d\x0f"), "안녕하세요"},
		{"an encoded word", DecodeWords("=?iso-2022-kr?B?GyQpQw4+SDNnR088PD9kDyAORSU4XkBPDw==?="), hello},
		{"each line begins in ASCII", toUTF8("iso-2022-kr", "\x0e>H3g\nabc\x0e>H\x0f."), "안녕\nabc안."},
		{"a half character", toUTF8("iso-2022-kr", "\x0e>H3\x0f"), "안\uFFFD"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
}

// Header fields without encoded words: by their escapes, or by the message's own character set.
func TestFieldsWithoutEncodedWordsAreRead(t *testing.T) {
	t.Parallel()
	euckr, _ := korean.EUCKR.NewEncoder().String("큐메일과 삶")
	sjis, _ := japanese.ShiftJIS.NewEncoder().String("メールの対応")
	eucjp, _ := japanese.EUCJP.NewEncoder().String("メールの対応")
	jis, _ := japanese.ISO2022JP.NewEncoder().String("メールの対応")
	for _, c := range []struct{ what, value, charset, want string }{
		{"EUC-KR", euckr, "EUC-KR", "큐메일과 삶"},
		{"EUC-KR by the name of Windows", euckr, "ks_c_5601-1987", "큐메일과 삶"},
		{"Shift_JIS", sjis, "Shift_JIS", "メールの対応"},
		{"EUC-JP", eucjp, "euc-jp", "メールの対応"},
		{"ISO-2022-JP, whatever the text is in", jis, "utf-8", "メールの対応"},
		{"ISO-2022-KR", "Re: \x1b$)C\x0e>H3gGO<<?d\x0f", "", "Re: 안녕하세요"},
		{"UTF-8 stays", "큐메일", "euc-kr", "큐메일"},
		{"nothing says in what", euckr, "", euckr},
		{"not of that character set", "a\xff\xffb", "euc-kr", "a\xff\xffb"},
		{"a character set that nobody knows", euckr, "x-none", euckr},
		{"escapes of something else", "\x1b$Z\x01", "euc-kr", "\x1b$Z\x01"},
		{"encoded words are left", "=?euc-kr?B?x9GxuQ==?=", "euc-kr", "=?euc-kr?B?x9GxuQ==?="},
	} {
		if got := Legible(c.value, c.charset); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	message := "From: \"" + sjis + "\" <a@x.test>\r\nSubject: " + sjis + "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=shift_jis\r\n\r\n" + sjis + "\r\n--b\r\nContent-Type: application/pdf; name=\"" + sjis + ".pdf\"\r\n\r\n\r\n--b--\r\n"
	d := Describe([]byte(message))
	if d.Subject != "メールの対応" || d.Addresses["from"][0].Name != "メールの対応" || d.Header[1].Decoded != "メールの対応" || d.Parts[2].Filename != "メールの対応.pdf" {
		t.Errorf("%+v", d)
	}
}

// Whatever bytes come, what is shown is UTF-8.
func TestTextsOfAnyCharacterSetBecomeUTF8(t *testing.T) {
	t.Parallel()
	names := []string{"", "iso-2022-kr", "iso-2022-jp", "euc-kr", "shift_jis", "utf-8", "replacement", "x-none"}
	rapid.Check(t, func(t *rapid.T) {
		charset := rapid.SampledFrom(names).Draw(t, "charset")
		text := string(rapid.SliceOf(rapid.SampledFrom([]byte{0x1b, '$', ')', 'C', 'B', '(', 0x0e, 0x0f, '\n', 'a', 0x21, 0x7e, 0xb0, 0xff})).Draw(t, "text"))
		if got := toUTF8(charset, text); !utf8.ValidString(got) {
			t.Errorf("%s %q: %q", charset, text, got)
		}
		if got := DecodeWords(Legible(text, charset)); !utf8.ValidString(got) || strings.ContainsRune(Legible(text, charset), utf8.RuneError) && utf8.ValidString(text) {
			t.Errorf("%s %q: %q", charset, text, got)
		}
	})
}
