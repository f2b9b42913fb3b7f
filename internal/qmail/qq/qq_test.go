package qq

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// read returns an envelope's sender and recipients.
func read(s string) (all []string, err error) {
	from, err := ReadEnvelope(strings.NewReader(s), func(to string) error { all = append(all, to); return nil })
	return append([]string{from}, all...), err
}

func TestEnvelopesAreReadToTheirLastNUL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"Fa@b\x00Tc@d\x00Te\x00\x00": {"a@b", "c@d", "e"},
		"F\x00\x00":                  {""}, // nobody is a message too
		"F\x00T\x00\x00ignored":      {"", ""},
	} {
		if got, err := read(in); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

func TestBrokenEnvelopesHaveTheirExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want error
		exit int
	}{
		{"", ErrCutShort, ReadError},
		{"Fa@b", ErrCutShort, ReadError},
		{"Fa@b\x00Tc@d\x00", ErrCutShort, ReadError}, // its writer died: nothing is queued
		{"Tc@d\x00\x00", ErrMalformed, Malformed},
		{"Fa@b\x00Xc@d\x00\x00", ErrMalformed, Malformed},
		{"F" + strings.Repeat("a", MaxAddress) + "\x00\x00", ErrLong, AddressLong},
	} {
		if _, err := read(c.in); !errors.Is(err, c.want) || Exit(err) != c.exit {
			t.Errorf("%.20q: %v, exit %d; want %v, %d", c.in, err, Exit(err), c.want, c.exit)
		}
	}
	if _, err := read("F" + strings.Repeat("a", MaxAddress-1) + "\x00\x00"); err != nil {
		t.Errorf("the longest address: %v", err)
	}
}

func TestExitCodesHaveTheFamilysTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		exit         int
		custom, want string
	}{
		{0, "", ""}, {-9, "", "Zqq crashed (#4.3.0)"}, {12, "", "Dqq permanent problem (#5.3.0)"}, {40, "", "Dqq permanent problem (#5.3.0)"},
		{41, "", "Zqq temporary problem (#4.3.0)"}, {31, "", "Dmail server permanently rejected message (#5.3.0)"}, {115, "", "Denvelope address too long for qq (#5.1.3)"},
		{82, "Dno spam here (#5.7.1)", "Dno spam here (#5.7.1)"}, {82, "no letter", "Zqq temporary problem (#4.3.0)"}, {82, "D", "Zqq temporary problem (#4.3.0)"},
		{82, "D" + strings.Repeat("x", MaxCustom), "Zqq temporary problem (#4.3.0)"},
		{82, "D" + strings.Repeat("x", MaxCustom-1), "D" + strings.Repeat("x", MaxCustom-1)},
		{82, "Dno", "Dno"}, {82, "Dn", "Zqq temporary problem (#4.3.0)"},
	} {
		if got := Text(c.exit, c.custom); got != c.want {
			t.Errorf("exit %d %.20q: %q, want %q", c.exit, c.custom, got, c.want)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add("Fa@b\x00Tc@d\x00\x00")
	f.Add("F\x00\x00")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := read(in)
		if err != nil {
			return
		}
		again := string(AppendEnvelope(nil, got[0], got[1:]...)) + "\x00"
		if !strings.HasPrefix(in, again) {
			t.Fatalf("%q was read as %q", in, got)
		}
	})
}
