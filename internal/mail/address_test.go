package mail

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestQuotingAsTheReferenceSays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a    Address
		want string
	}{
		{Address{}, ""},
		{Address{"joe", "example.test"}, "joe@example.test"},
		{Address{"postmaster", ""}, "postmaster"},
		{Address{"joe.b+c=d", "example.test"}, "joe.b+c=d@example.test"},
		{Address{"", "example.test"}, `""@example.test`},
		{Address{".joe", "example.test"}, `".joe"@example.test`},
		{Address{"joe.", "example.test"}, `"joe."@example.test`},
		{Address{"a..b", "example.test"}, `"a..b"@example.test`},
		{Address{"a b", "example.test"}, `"a b"@example.test`},
		{Address{`a"b\c`, "example.test"}, `"a\"b\\c"@example.test`},
		{Address{"a@b", "example.test"}, `"a@b"@example.test`},
		{Address{"#", "[]"}, "#@[]"},
		{Address{"한국", "example.test"}, "한국@example.test"},
	} {
		if got := tt.a.Quoted(); got != tt.want {
			t.Errorf("%+v is %s, want %s", tt.a, got, tt.want)
		}
	}
}

func TestAnUnquotedAddressReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Address{rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "local"), rapid.StringMatching(`[a-z0-9.-]{1,20}`).Draw(t, "domain")}
		if got := ParseAddress(want.String()); got != want {
			t.Fatalf("%+v reads back as %+v", want, got)
		}
	})
}

func TestWhatNeedsSMTPUTF8(t *testing.T) {
	t.Parallel()
	for a, ascii := range map[Address]bool{{"joe", "example.test"}: true, {"jöe", "example.test"}: false, {"joe", "exämple.test"}: false, {}: true} {
		if a.IsASCII() != ascii {
			t.Errorf("%v: ASCII %v, want %v", a, !ascii, ascii)
		}
	}
}

func TestWhatMayStandInAnAtom(t *testing.T) {
	t.Parallel()
	const atext = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~" // RFC 5322 3.2.3
	for c := range 256 {
		if want := strings.IndexByte(atext, byte(c)) >= 0; IsAtext(byte(c)) != want {
			t.Errorf("%q: %v, want %v", byte(c), !want, want)
		}
	}
}
