package stats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/clock"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/trace"
)

var since = time.Date(2026, 11, 21, 19, 26, 24, 0, time.UTC)

// counted returns counters that have met the same events so many times.
func counted(times int) *Counters {
	c := New(clock.NewFake(since))
	for range times {
		for _, e := range events {
			c.Record(e)
		}
	}
	return c
}

var events = []trace.Event{
	{Kind: trace.Accepted, Client: "192.0.2.1", Size: 1000},
	{Kind: trace.Accepted, Client: "192.0.2.1", Account: "a@x.test", Size: 5000},
	{Kind: trace.Accepted, Size: 700}, // a bounce
	{Kind: trace.Delivered, Role: "local", Size: 1000},
	{Kind: trace.Delivered, Role: "remote", Size: 5000},
	{Kind: trace.Deferred, Role: "remote", Reason: "connect-failed"},
	{Kind: trace.Failed, Role: "remote", Reason: "remote-refused"},
	{Kind: trace.Refused, Client: "192.0.2.1", Reason: "relay-denied"},
	{Kind: trace.Refused, Client: "192.0.2.1", Reason: "relay-denied"},
	{Kind: trace.Discarded, Role: "local"},
	{Kind: trace.SessionEnd, Role: "smtp"},
	{Kind: trace.SessionEnd, Role: "pop3"},
	{Kind: trace.SessionEnd, Role: "remote"},
	{Kind: trace.Login}, {Kind: trace.Login, Reason: "auth-failed"},
	{Kind: trace.Bounced},
	{Kind: trace.Matched, Rule: "header_checks:3"},
	{Kind: trace.Warned},
	{Kind: trace.Gap, Count: 7},
}

func TestMailstatsTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := counted(1).Snapshot().WriteMailstats(&b); err != nil {
		t.Fatal(err)
	}
	want := `Statistics from Sat Nov 21 19:26:24 2026
 M   msgsfr  bytes_from   msgsto    bytes_to  msgsrej msgsdis  Mailer
 0        1          1K        1          1K        0       1  local
 1        1          1K        1          5K        2       0  smtp
 2        1          5K        0          0K        0       0  submit
=============================================================
 T        3          7K        2          6K        2       1
 C        2                    1
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestCountsSurviveARestartAndAddUp(t *testing.T) {
	t.Parallel()
	f, err := osfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := counted(1)
	if err := c.Save(f, "stats.json"); err != nil {
		t.Fatal(err)
	}
	later := clock.NewFake(since.Add(time.Hour))
	back, err := Load(f, "stats.json", later)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Snapshot(), back.Snapshot()); d != "" {
		t.Error(d)
	}
	sum := Merge(New(later).Snapshot(), back.Snapshot(), back.Snapshot())
	if d := cmp.Diff(counted(2).Snapshot(), sum); d != "" {
		t.Errorf("sum of two: %s", d)
	}
	if fresh, err := Load(f, "none.json", later); err != nil || fresh.Snapshot().Since != later.Now() {
		t.Errorf("without a file: %+v, %v", fresh.Snapshot(), err)
	}
}

func TestASnapshotStaysAsItWasTaken(t *testing.T) {
	t.Parallel()
	c := counted(1)
	s := c.Snapshot()
	for _, e := range events {
		c.Record(e)
	}
	if d := cmp.Diff(counted(1).Snapshot(), s); d != "" {
		t.Error(d)
	}
}

func TestAFileThatLacksCountsOrIsBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "stats.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"since":"2026-11-21T19:26:24Z","bounces":3}`) // of a version that counted less
	c, err := Load(f, "stats.json", clock.NewFake(since.Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		c.Record(e)
	}
	want := counted(1).Snapshot()
	want.Bounces += 3
	if d := cmp.Diff(want, c.Snapshot()); d != "" {
		t.Error(d)
	}
	write(`{"since":`)
	if _, err := Load(f, "stats.json", clock.NewFake(since)); err == nil || !strings.HasPrefix(err.Error(), "stats.json: ") {
		t.Errorf("a broken file: %v", err)
	}
}
