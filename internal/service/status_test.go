package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/role"
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

func TestStatusTellsThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	got := diskNotes(policy.FloorOptions{FreeBytes: 1 << 60}, data)
	if len(got) != 1 || !strings.HasPrefix(got[0], "rejecting messages: insufficient system storage: ") || !strings.HasSuffix(got[0], " bytes are free, free_bytes 1152921504606846976") {
		t.Errorf("%q", got)
	}
	if got := diskNotes(policy.FloorOptions{FreeBytes: -1, FreeInodes: -1}, data); got != nil {
		t.Errorf("without floors: %q", got)
	}
}

func TestStatusTellsThatTheQueueItselfTakesNothing(t *testing.T) {
	t.Parallel()
	refuses := reason.DiskFull.Because(errors.New("the queue's own cause"))
	roles := []control.Role{
		{Name: string(role.Local), Facts: map[string]any{"messages": 1}},
		{Name: string(role.Queue), Facts: queueFacts(dispatch.Stats{Messages: 7}, refuses)},
	}
	if got := queueNotes(roles); len(got) != 1 || got[0] != "rejecting messages: insufficient system storage: the queue's own cause" {
		t.Errorf("%q", got)
	}
	if f := roles[1].Facts; f[factRejecting] != nil || f["messages"] != 7 {
		t.Errorf("the facts that are left: %v", f)
	}
	roles[1].Facts = queueFacts(dispatch.Stats{}, nil)
	if got := queueNotes(roles); got != nil {
		t.Errorf("a queue that takes mail: %q", got)
	}
}
