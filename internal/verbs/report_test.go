package verbs_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/clock"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/qmail/analog"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/trace/journal"
	"github.com/postilion/postilion/internal/verbs"
)

func TestReportsSumOurOwnMailUp(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	folder := filepath.Join(data, "events", "queue")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	fsys, err := osfs.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	j := journal.New(fsys, journal.Options{}, clock.NewFake(time.UnixMilli(1000000000000)), slog.New(slog.DiscardHandler))
	at := func(ms int) time.Time { return time.UnixMilli(1000000000000 + int64(ms)).UTC() }
	m := id.ID{15: 1}
	for _, e := range []trace.Event{
		{Time: at(0), Kind: trace.Accepted, Message: m, From: "Me@a.test", Size: 100},
		{Time: at(600), Kind: trace.Attempt, Role: "local", Message: m, N: 0, To: "joe@b.test"},
		// A result's time is when its pass began.
		{Time: at(500), Took: 600 * time.Millisecond, Kind: trace.Delivered, Role: "local", Message: m, N: 0, To: "joe@b.test", Text: "b.test/joe/Maildir/new/1.x"},
		{Time: at(700), Kind: trace.Attempt, Role: "remote", Message: m, N: 1, To: "x@far.test"},
		{Time: at(700), Took: 2 * time.Second, Kind: trace.Deferred, Role: "remote", Message: m, N: 1, To: "x@far.test", Text: "try later"},
		{Time: at(9000), Kind: trace.Failed, Role: "remote", Message: m, N: 1, To: "x@far.test", Text: "given up"},
		{Time: at(9100), Kind: trace.Finished, Message: m},
	} {
		j.Record(e)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := j.Run(ended); err != nil { // writes what is left
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := verbs.QmailLog(t.Context(), data, journal.Query{}, &log); err != nil {
		t.Fatal(err)
	}
	var records strings.Builder
	if err := analog.Matchup(analog.NewLines(&log), &records, nil); err != nil {
		t.Fatal(err)
	}
	const want = `d k 1000000000.000000 1000000000.600000 1000000001.100000 100 <me@a.test> local.joe@b.test 1 0 did_1+0+0/
d z 1000000000.000000 1000000000.700000 1000000002.700000 100 <me@a.test> remote.x@far.test 1 0 try_later
d d 1000000000.000000 1000000009.000000 1000000009.000000 100 <me@a.test> remote.x@far.test 1 0 given_up
m 1000000000.000000 1000000009.100000 100 1 1 1 <me@a.test> 1 0
`
	if d := cmp.Diff(want, records.String()); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	if err := verbs.QmailLog(t.Context(), t.TempDir(), journal.Query{}, &log); err == nil {
		t.Error("a folder without events was no error")
	}
}
