package sevenbit

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/jhillyerd/enmime/v2"

	"github.com/postilion/postilion/internal/mail"
)

// A bounce in Korean or Japanese goes as quoted-printable where the next host takes no 8-bit mail: people
// read the same, and programs still find the lines that they know.
func TestABounceInAnotherLanguageIsConvertedForOldHosts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"failure-ko", "failure-ja", "delay-ko"} {
		m, err := os.ReadFile("../../../bounce/testdata/" + name + ".eml")
		if err != nil {
			t.Fatal(err)
		}
		p, err := Scan(bytes.NewReader(m))
		if err != nil || p.Refuse != nil {
			t.Fatal(name, err, p.Refuse)
		}
		var out bytes.Buffer
		if err := p.Convert(&out, bytes.NewReader(m)); err != nil {
			t.Fatal(name, err)
		}
		converted := out.String()
		if mail.HasEight(out.Bytes()) || !strings.Contains(converted, "quoted-printable") || strings.Contains(converted, "8bit") {
			t.Errorf("%s is not 7-bit, or not quoted-printable:\n%s", name, converted)
		}
		if strings.HasPrefix(name, "failure") && !(strings.Contains(converted, "\nHi. This is the postilion program at mx.here.test.\n") && strings.Contains(converted, "\n\n<nobody@here.test>:\nSorry, no mailbox here by that name. (#5.1.1)\n")) {
			t.Errorf("%s: programs find nothing in\n%s", name, converted)
		}
		before, err := enmime.ReadEnvelope(bytes.NewReader(m))
		if err != nil {
			t.Fatal(err)
		}
		after, err := enmime.ReadEnvelope(&out)
		if err != nil || strings.ReplaceAll(after.Text, "\r\n", "\n") != strings.ReplaceAll(before.Text, "\r\n", "\n") {
			t.Errorf("%s: people read %q, before %q: %v", name, after.Text, before.Text, err)
		}
	}
}
