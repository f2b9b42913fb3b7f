package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/realmail"
)

// realMail reads about n messages of an archive, evenly spread, with CRLF line ends. Those
// with bytes that SMTP cannot carry are left out.
func realMail(t testing.TB, archive string, n, of int) (messages [][]byte) {
	t.Helper()
	i := -1
	realmail.Each(t, archive, func(name string, m []byte) bool {
		i++
		if i%max(of/n, 1) != 0 || strings.HasSuffix(name, ".json") {
			return true
		}
		m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
		if len(m) == 0 || bytes.ContainsAny(m, "\x00\r") {
			return true
		}
		if !bytes.HasSuffix(m, []byte("\n")) {
			m = append(m, '\n')
		}
		messages = append(messages, bytes.ReplaceAll(m, []byte("\n"), []byte("\r\n")))
		return len(messages) < n
	})
	return messages
}

func TestRealMailComesOutAsItWentIn(t *testing.T) {
	t.Parallel()
	var all [][]byte
	for _, a := range []struct {
		name  string
		n, of int
	}{
		{"cjk-dev.tar.zst", 94, 94},
		{"spamassassin-6046.tar.zst", 70, 6046},
		{"mime-dev.tar.zst", 60, 827},
		{"bounces-dev-half.tar.zst", 30, 293},
		{"lkml-samsung-soc-5k.tar.zst", 20, 5000},
	} {
		all = append(all, realMail(t, a.name, a.n, a.of)...)
	}
	long, eight := 0, 0
	for _, m := range all {
		for line := range bytes.Lines(m) {
			if len(line) > 1000 {
				long++
				break
			}
		}
		if bytes.ContainsFunc(m, func(r rune) bool { return r >= 0x80 }) {
			eight++
		}
	}
	t.Logf("%d messages, %d with 8-bit bytes, %d with lines over 998 bytes", len(all), eight, long)
	newServer(t, setup{}).carry(all)
}
