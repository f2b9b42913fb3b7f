package service

import (
	"strings"
	"testing"
)

func TestStatusTellsWhatTheLoadKeepsFrom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		refuse, queue int
		load          float64
		want          string // begins the only note; "" for none
	}{
		{0, 0, 7.9, ""},
		{0, 0, 8.1, "mail is only queued"},
		{0, 0, 12.1, "rejecting connections: the load a processor is 12.1, above floors.refuse_load = 12"},
		{2, 0, 3, "rejecting connections"},
		{-1, 3, 50, "mail is only queued"},
		{-1, -1, 50, ""},
	} {
		got := strings.Join(loadNotes(c.refuse, c.queue, c.load), "\n")
		if !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
