package id

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/clock"
)

func TestIDsSortByTimeAsBytesAndAsText(t *testing.T) {
	t.Parallel()
	c := clock.NewFake(time.Date(2026, 11, 21, 19, 31, 43, 0, time.UTC))
	s := Source{Clock: c, Node: 7}
	var texts []string
	for range 100 {
		v := s.New()
		if !v.Time().Equal(c.Now()) {
			t.Fatalf("%v tells %v, was made at %v", v, v.Time(), c.Now())
		}
		texts = append(texts, v.String())
		c.Advance(time.Millisecond)
	}
	if !slices.IsSorted(texts) || len(slices.Compact(texts)) != 100 {
		t.Errorf("not sorted or not unique: %v", texts)
	}
}

func TestTextReadsBackInAnyCase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var want ID
		copy(want[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		for _, s := range []string{want.String(), string(want.Append(nil))} {
			if got, err := Parse(s); err != nil || got != want || len(s) != TextLen {
				t.Fatalf("%q: %v, %v", s, got, err)
			}
		}
	})
}

func TestBadTextIsNamed(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "x", "0123456789abcdefghjkmnpqr", "0123456789abcdefghjkmnpqrst", "i123456789abcdefghjkmnpqrs"} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
