package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// fixtures is where real mail lies, beside the repository.
const fixtures = "../../shared/fixtures"

// realMail reads about n messages of an archive, evenly spread, with CRLF line ends. Those
// with bytes that SMTP cannot carry are left out.
func realMail(t testing.TB, archive string, n, of int) (messages [][]byte) {
	t.Helper()
	file, err := os.Open(filepath.Join(fixtures, archive))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("skipped: no real mail in %s", fixtures)
	}
	check(t, err)
	defer file.Close()
	plain, err := zstd.NewReader(file)
	check(t, err)
	defer plain.Close()
	r := tar.NewReader(plain)
	for i := 0; len(messages) < n; i++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		if h.Typeflag != tar.TypeReg || i%max(of/n, 1) != 0 || strings.HasSuffix(h.Name, ".json") {
			continue
		}
		m, err := io.ReadAll(r)
		check(t, err)
		m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
		if len(m) == 0 || bytes.ContainsAny(m, "\x00\r") {
			continue
		}
		if !bytes.HasSuffix(m, []byte("\n")) {
			m = append(m, '\n')
		}
		messages = append(messages, bytes.ReplaceAll(m, []byte("\n"), []byte("\r\n")))
	}
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
