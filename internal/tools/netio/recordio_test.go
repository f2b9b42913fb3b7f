package netio

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/tools/tool"
)

func TestRecordioWritesWhatPassesAndPassesIt(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	e := &tool.Env{Args: []string{"recordio", "sh", "-c", "cat; printf part; exit 3"}, Stdin: strings.NewReader("one\r\n\x1b[2Jtwo\n"), Stdout: &out, Stderr: &errs, Environ: os.Environ()}
	if code := recordio(context.Background(), e); code != 3 {
		t.Errorf("exit %d, want the program's own", code)
	}
	if out.String() != "one\r\n\x1b[2Jtwo\npart" {
		t.Errorf("passed %q", out.String())
	}
	lines := strings.Split(strings.TrimSuffix(regexp.MustCompile(`(?m)^\d+ `).ReplaceAllString(errs.String(), ""), "\n"), "\n")
	sort.Strings(lines)
	want := []string{"< ?[2Jtwo ", "< [EOF]", "< one ", "> ?[2Jtwo ", "> [EOF]", "> one ", "> part+"}
	if got := strings.Join(lines, "|"); got != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}

func TestRecordioSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
	}{{[]string{"recordio"}, tool.Permanent}, {[]string{"recordio", "/does/not/exist"}, tool.Temporary}} {
		var errs bytes.Buffer
		if code := recordio(context.Background(), &tool.Env{Args: c.args, Stderr: &errs}); code != c.code || !strings.HasPrefix(errs.String(), "recordio: ") {
			t.Errorf("%q: exit %d, %q", c.args, code, errs.String())
		}
	}
}
