package qmail

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTAI64NAsTheFamilyWritesIt(t *testing.T) {
	t.Parallel()
	// The label and time of tai64nlocal's manual, with the leap seconds that it ignores.
	when := time.Date(1999, 8, 24, 20, 58, 21, 474836000, time.UTC)
	got := string(AppendTAI64N(nil, when))
	if got[:9] != "@40000000" || len(got) != 25 {
		t.Errorf("label %s", got)
	}
	back, rest, err := ParseTAI64N(got + " info msg")
	if err != nil || !back.Equal(when) || rest != " info msg" {
		t.Errorf("%s reads back as %v, %q, %v", got, back, rest, err)
	}
	if s := string(AppendTAI64N(nil, time.Unix(0, 0))); s != "@400000000000000a00000000" {
		t.Errorf("the epoch is %s", s)
	}
}

func TestTAI64NReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
		got, rest, err := ParseTAI64N(string(AppendTAI64N(nil, want)))
		if err != nil || rest != "" || !got.Equal(want) {
			t.Fatalf("%v reads back as %v, %q, %v", want, got, rest, err)
		}
	})
}

func TestBadLabelsAreNamed(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "@", "400000000000000a00000000", "@40000000000000ga00000000", "@4000"} {
		if _, _, err := ParseTAI64N(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestLogSafe(t *testing.T) {
	t.Parallel()
	in := "127.0.0.3 failed after I sent the message.\nRemote host said: 554 5.7.1 100% \x1b[2Jno\xff\n"
	want := "127.0.0.3_failed_after_I_sent_the_message./Remote_host_said:_554_5.7.1_100___[2Jno_/"
	if got := string(AppendLogSafe(nil, in)); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

func FuzzParseTAI64N(f *testing.F) {
	f.Add("@400000000000000a00000000 x")
	f.Fuzz(func(t *testing.T, s string) {
		when, rest, err := ParseTAI64N(s)
		if err == nil && when.Nanosecond() >= 0 && len(rest) != len(s)-25 {
			t.Errorf("%q leaves %q", s, rest)
		}
	})
}
