package srs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/mail"
)

func at(day int) func() time.Time {
	return func() time.Time { return time.Unix(int64(day)*86400, 0) }
}

func TestABounceFindsItsWayBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := mail.Address{Local: rapid.StringMatching(`[a-z=+.-]{1,20}`).Draw(t, "local"), Domain: rapid.StringMatching(`[a-z0-9]{1,10}\.example`).Draw(t, "domain")}
		day := rapid.IntRange(0, 5000).Draw(t, "day")
		one := &Rewriter{Domain: "one.test", Secret: "s1", Now: at(day)}
		two := &Rewriter{Domain: "two.test", Secret: "s2", Now: at(day)}
		three := &Rewriter{Domain: "three.test", Secret: "s3", Now: at(day)}
		first := one.Forward(from)
		third := three.Forward(two.Forward(first))
		if strings.HasPrefix(from.Local, "srs") {
			return
		}
		third.Local = strings.ToLower(third.Local) // as some hosts do
		back, err := three.Reverse(third)
		if err != nil || !one.Ours(back) {
			t.Fatalf("%s goes back to %s, %v", third, back, err)
		}
		if back, err = one.Reverse(back); err != nil || back != from {
			t.Fatalf("%s comes back as %s, %v", from, back, err)
		}
		one.Now = at(day + 22)
		if _, err := one.Reverse(first); !errors.Is(err, ErrExpired) {
			t.Fatalf("%s after 22 days: %v", first, err)
		}
		if _, err := one.Reverse(mail.Address{Local: first.Local + "x", Domain: first.Domain}); !errors.Is(err, ErrForged) {
			t.Fatalf("%sx: %v", first, err)
		}
	})
}

func TestWhatNeedsNoRewritingStays(t *testing.T) {
	t.Parallel()
	r := &Rewriter{Domain: "one.test", Secret: "s"}
	for _, from := range []mail.Address{{}, {Local: "joe"}, {Local: "joe", Domain: "ONE.test"}, {Local: "#", Domain: "[]"}} {
		if got := r.Forward(from); got != from {
			t.Errorf("%s becomes %s", from, got)
		}
	}
}

func FuzzReverse(f *testing.F) {
	r := &Rewriter{Domain: "one.test", Secret: "s", Now: at(100)}
	f.Add("SRS0=abcdefgh=aa=b.test=joe")
	f.Add("srs1=abcdefgh=two.test==abcdefgh=aa=b.test=joe")
	f.Add(r.Forward(mail.Address{Local: "joe", Domain: "b.test"}).Local)
	f.Fuzz(func(t *testing.T, local string) {
		back, err := r.Reverse(mail.Address{Local: local, Domain: "one.test"})
		if err == nil && (back.Local == "" || back.Domain == "") {
			t.Fatalf("%q leads to %+v", local, back)
		}
	})
}

func TestAnAddressLeadsBackForAsLongAsItIsTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most, after int
		want        error
	}{{0, 0, nil}, {0, 21, nil}, {0, 22, ErrExpired}, {3, 3, nil}, {3, 4, ErrExpired}, {30, 22, nil}, {0, days, nil}, {0, days - 1, ErrExpired}} {
		r := &Rewriter{Domain: "one.test", Secret: "s", MaxDays: c.most, Now: at(1000)}
		to := r.Forward(mail.Address{Local: "joe", Domain: "b.test"})
		r.Now = at(1000 + c.after)
		to.Local = strings.ToUpper(to.Local) // as some hosts do
		if _, err := r.Reverse(to); !errors.Is(err, c.want) {
			t.Errorf("MaxDays %d, after %d days: %v, want %v", c.most, c.after, err, c.want)
		}
	}
}

// What our own secret signed may still not be of the form: a secret may be shared by hosts with other programs.
func TestWhatIsNoAddressLeadsNowhere(t *testing.T) {
	t.Parallel()
	r := &Rewriter{Domain: "one.test", Secret: "s", Now: at(0)}
	signed := func(tag, rest string) mail.Address {
		return mail.Address{Local: tag + "=" + r.hash(rest) + "=" + rest, Domain: "one.test"}
	}
	for _, c := range []struct {
		to   mail.Address
		want error
	}{
		{signed("SRS0", "aa=b.test=joe"), nil},
		{signed("SRS1", "b.test==x"), nil},
		{mail.Address{Local: "joe", Domain: "one.test"}, ErrForged},
		{mail.Address{Local: signed("SRS0", "aa=b.test=joe").Local, Domain: "two.test"}, ErrForged},
		{signed("SRS0", "aa=b.test"), ErrForged},
		{signed("SRS0", "aa==joe"), ErrForged},
		{signed("SRS0", "aa=b.test="), ErrForged},
		{signed("SRS1", "b.test"), ErrForged},
		{signed("SRS1", "=x"), ErrForged},
		{signed("SRS1", "b.test="), ErrForged},
		{signed("SRS0", "a=b.test=joe"), ErrExpired},
		{signed("SRS0", "a1=b.test=joe"), ErrExpired},
		{signed("SRS0", "1a=b.test=joe"), ErrExpired},
	} {
		if back, err := r.Reverse(c.to); !errors.Is(err, c.want) {
			t.Errorf("%s leads to %s, %v, want %v", c.to, back, err, c.want)
		}
	}
}
