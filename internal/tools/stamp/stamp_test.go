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
	"@4000000037c219bf2ef02e94\n",
	"@4000000037c219bf2ef02e94 no line feed",
	"no stamp\n", "\n", "", "@", "@400", "a@4000000037c219bf2ef02e94 x\n",
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

func FuzzTai64nlocal(f *testing.F) {
	for _, l := range lines {
		f.Add(l)
	}
	// Capital letters end a stamp: of what is left of it the original makes no date and dies.
	f.Add("@4000000037c219bf2EF02e94 x\n")
	f.Fuzz(func(t *testing.T, in string) {
		if r := tooltest.Run(t, Programs(), "tai64nlocal", tooltest.Call{In: in}); r.Code != 0 {
			t.Errorf("exit %d: %s", r.Code, r.Err)
		}
	})
}
