package supervise

import (
	"bytes"
	"testing"
	"time"
)

func TestAStatusIsDaemontools(t *testing.T) {
	t.Parallel()
	// The label of qmail reference 21.6 without leap seconds, pid 0x0102, paused, want down.
	want := []byte("\x40\x00\x00\x00\x37\xc2\x19\xbf\x2e\xf0\x2e\x94\x02\x01\x00\x00\x01d")
	s, err := Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if s.PID != 0x102 || !s.Paused || s.Want != 'd' || s.Since.Format(time.RFC3339Nano) != "1999-08-24T04:04:05.7874925Z" {
		t.Errorf("have %+v", s)
	}
	if have := s.Append(nil); !bytes.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
}

func TestTheTextIsSvstats(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_000_000, 0)
	now := began.Add(56*time.Second + time.Millisecond)
	for _, c := range []struct {
		s    Status
		down bool
		want string
	}{
		{Status{Since: began, PID: 1234}, false, "up (pid 1234) 56 seconds"},
		{Status{Since: began, PID: 1234, Paused: true, Want: 'd'}, true, "up (pid 1234) 56 seconds, normally down, paused, want down"},
		{Status{Since: began}, false, "down 56 seconds, normally up"},
		{Status{Since: began, Want: 'u'}, true, "down 56 seconds, want up"},
		{Status{Since: now.Add(time.Hour), PID: 1}, false, "up (pid 1) 0 seconds"},
	} {
		if have := c.s.Text(now, c.down); have != c.want {
			t.Errorf("have %q, want %q", have, c.want)
		}
	}
}

func TestBrokenStatusIsSaidToBe(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                     "status of 0 bytes: want 18",
		"short":                                "status of 5 bytes: want 18",
		string(make([]byte, 19)):               "status of 19 bytes: want 18",
		string(bytes.Repeat([]byte{0xff}, 18)): "status of 4294967295 nanoseconds: want less than a second",
	} {
		if _, err := Parse([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("%q: have %v, want %q", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Status{Since: time.Unix(1, 2), PID: 3, Paused: true, Want: 'u'}.Append(nil))
	f.Add([]byte("nothing of it"))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := Parse(p)
		if err != nil {
			return
		}
		again, err := Parse(s.Append(nil))
		if err != nil || !again.Since.Equal(s.Since) || again.PID != s.PID || again.Want != s.Want || again.Paused != s.Paused {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
		s.Text(time.Unix(0, 0), true)
	})
}
