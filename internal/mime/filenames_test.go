package mime

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFilenamesAreAllThatAReaderMayTake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header string
		want   []string
	}{
		{"Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename=\"b.exe\"\n", []string{"a.txt", "b.exe"}},
		{"Content-Disposition: attachment; filename=a.txt; filename=b.exe\n", []string{"a.txt", "b.exe"}},
		{"Content-Disposition: inline\nContent-Disposition: attachment; filename=b.exe\n", []string{"b.exe"}},
		{"Content-Disposition: attachment; filename*=euc-kr''%C7%D1.exe; filename=x.txt\n", []string{"한.exe", "x.txt"}},
		{"Content-Disposition: attachment; filename*0=vi; filename*1=rus.exe\n", []string{"virus.exe"}},
		{"Content-Disposition: attachment;\n\tfilename=\"=?iso-2022-jp?B?GyRCRnxLXBsoQi5leGU=?=\"\n", []string{"日本.exe", "=?iso-2022-jp?B?GyRCRnxLXBsoQi5leGU=?="}},
		{"Content-Type: garbage; name=x.scr\n", []string{"x.scr"}},
		{"Content-Disposition: attachment; filename=\"a\xc7\xd1\"\n", []string{"a\uFFFD", "a\xc7\xd1"}},
		{"Subject: x; name=y\n", nil},
	} {
		root, err := Parse(strings.NewReader(tt.header+"\n"), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, root.Filenames()); d != "" {
			t.Errorf("%q -want +got:\n%s", tt.header, d)
		}
	}
}

// No field takes time by the square of its length, whatever its encoded words lack.
func TestEncodedWordsCostNoMoreThanTheirLength(t *testing.T) {
	t.Parallel()
	for _, s := range []string{strings.Repeat("=?a?q?xxxx", 1<<20/10), strings.Repeat("=?a?b?!!!!", 1<<20/10) + "?=",
		strings.Repeat("=? ", 1<<20/3) + "?=", strings.Repeat("=?utf-8?q?x?=", 1<<20/13)} {
		start := time.Now()
		if got := DecodeWords(s); got != s && strings.Trim(got, "x") != "" {
			t.Errorf("%d bytes became %d", len(s), len(got))
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("took %v", took)
		}
	}
}
