package stamp

import (
	"testing"
	"time"

	"github.com/postilion/postilion/internal/tools/tooltest"
)

func TestVector42TAI64NIsTenSecondsAheadOfUnixTime(t *testing.T) {
	t.Parallel()
	r := tooltest.Run(t, Programs(), "tai64n", tooltest.Call{In: "a\nb", Now: time.Unix(0, 5)})
	if want := "@400000000000000a00000005 a\n@400000000000000a00000005 b"; r.Out != want || r.Code != 0 {
		t.Errorf("got %q, %d, want %q", r.Out, r.Code, want)
	}
	r = tooltest.Run(t, Programs(), "tai64nlocal", tooltest.Call{In: "@400000000000000a00000005 a\n"})
	if want := "1970-01-01 00:00:00.000000005 a\n"; r.Out != want {
		t.Errorf("got %q, want %q", r.Out, want)
	}
}

var lines = []string{
	"@4000000037c219bf2ef02e94 mark\n",
	"@4000000037c219bf2ef02e94\n", "@40000000ffffffff00000000 far\n",
	"@4000000037c219bf2ef02e94 no line feed",
	"no stamp\n", "\n", "", "a@4000000037c219bf2ef02e94 x\n",
	"x\n@4000000037c219bf2ef02e94 y\nz\n",
}

func TestTai64nlocalAsTheOriginal(t *testing.T) {
	t.Parallel()
	original := tooltest.Original(t, "tai64nlocal", "daemontools")
	for _, in := range lines {
		want := tooltest.RunOriginal(t, original, tooltest.Call{In: in})
		if got := tooltest.Run(t, Programs(), "tai64nlocal", tooltest.Call{In: in}); got != want {
			t.Errorf("%q: got %+v, want %+v", in, got, want)
		}
	}
}

// The original makes dates of these, dies of them, or loses them at the end of its input.
func TestWhatIsNoLabelPasses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"@", "@400", "@\n", "@home.test is down\n", "@4000000037c219bf2ef02e9 y\n", "@4000000037c219bf2ef02e944 z\n", "@4000000037C219BF2EF02E94 x\n", "@000000000000000000000000 x\n"} {
		if r := tooltest.Run(t, Programs(), "tai64nlocal", tooltest.Call{In: in + "z\n"}); r.Out != in+"z\n" || r.Code != 0 {
			t.Errorf("%q: %+v", in, r)
		}
	}
	if r := tooltest.Run(t, Programs(), "tai64nlocal", tooltest.Call{In: "@400000000000000a00000005"}); r.Out != "1970-01-01 00:00:00.000000005" {
		t.Errorf("%+v", r)
	}
}

func FuzzTai64nlocal(f *testing.F) {
	for _, l := range lines {
		f.Add(l)
	}
	f.Add("@4000000037c219bf2EF02e94 x\n")
	f.Fuzz(func(t *testing.T, in string) {
		if r := tooltest.Run(t, Programs(), "tai64nlocal", tooltest.Call{In: in}); r.Code != 0 {
			t.Errorf("exit %d: %s", r.Code, r.Err)
		}
	})
}
