package journal

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

var start = time.Date(2026, 11, 21, 23, 59, 58, 0, time.UTC)

type fixture struct {
	dir string
	fs  fs.FS
	c   *clock.Fake
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	f, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{dir, f, clock.NewFake(start)}
}

func (f *fixture) journal(o Options) *Journal {
	return New(f.fs, o, f.c, slog.New(slog.DiscardHandler))
}

// record writes events through a journal of its own, one frame each.
func (f *fixture) record(t *testing.T, o Options, events ...trace.Event) {
	t.Helper()
	j := f.journal(o)
	defer j.closeSegment()
	for _, e := range events {
		j.Record(e)
		if err := j.flush(); err != nil {
			t.Fatal(err)
		}
		f.c.Advance(time.Second)
	}
}

func (f *fixture) search(t *testing.T, q Query) (found []trace.Event, err error) {
	t.Helper()
	err = Search(context.Background(), f.fs, q, func(e trace.Event) bool {
		found = append(found, e)
		return true
	})
	return found, err
}

func texts(events []trace.Event) (s []string) {
	for _, e := range events {
		s = append(s, e.Text)
	}
	return s
}

func TestEventsAreFoundByWhatIsInThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	msg, session := id.Source{Node: 1}.New(), id.Source{Node: 2}.New()
	f.record(t, Options{},
		trace.Event{Kind: trace.Accepted, Message: msg, Session: session, From: "a@one.test", Client: "192.0.2.1", Text: "1"},
		trace.Event{Kind: trace.Delivered, Message: msg, From: "a@one.test", To: "B@Two.test", Text: "2"},
		trace.Event{Kind: trace.Delivered, Message: session, To: "c@three.test", Account: "a@one.test", Text: "3"}, // after midnight
		trace.Event{Kind: trace.Login, Account: "c@three.test", Text: "4"},
	)
	if days, err := segments(f.fs); err != nil || !slices.Equal(days, []string{"2026-11-21", "2026-11-22"}) {
		t.Fatalf("segments %v, %v", days, err)
	}
	for _, tt := range []struct {
		name string
		q    Query
		want []string
	}{
		{"all", Query{}, []string{"1", "2", "3", "4"}},
		{"message", Query{Words: []string{msg.String()}}, []string{"1", "2"}},
		{"session", Query{Words: []string{session.String()}}, []string{"1", "3"}},
		{"address", Query{Words: []string{"b@two.TEST"}}, []string{"2"}},
		{"domain", Query{Words: []string{"three.test"}}, []string{"3", "4"}},
		{"client", Query{Words: []string{"192.0.2.1"}}, []string{"1"}},
		{"two words", Query{Words: []string{"a@one.test", "three.test"}}, []string{"3"}},
		{"kind", Query{Kinds: []trace.Kind{trace.Login, trace.Accepted}}, []string{"1", "4"}},
		{"from", Query{From: start.Add(2 * time.Second)}, []string{"3", "4"}},
		{"to", Query{To: start.Add(2 * time.Second)}, []string{"1", "2"}},
		{"nothing", Query{Words: []string{"nobody.test"}}, nil},
		{"part of a word", Query{Words: []string{"one"}}, nil},
	} {
		got, err := f.search(t, tt.q)
		if d := cmp.Diff(tt.want, texts(got)); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.name, err, d)
		}
	}
}

func TestATornEndIsCutOffAndTheRestStays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.record(t, Options{}, trace.Event{Text: "1"})
	name := filepath.Join(f.dir, "2026-11-21.events")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f.c.Set(start)
	f.record(t, Options{}, trace.Event{Text: "2"})
	both, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole); cut < len(both); cut++ {
		for _, tail := range [][]byte{both[len(whole):cut], append(slices.Clone(both[len(whole):cut]), make([]byte, len(both)-cut)...)} {
			if err := os.WriteFile(name, append(slices.Clone(whole), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			f.c.Set(start)
			f.record(t, Options{}, trace.Event{Text: "3"})
			got, err := f.search(t, Query{})
			if d := cmp.Diff([]string{"1", "3"}, texts(got)); d != "" || err != nil {
				t.Fatalf("cut at %d of %d: %v\n%s", cut, len(both), err, d)
			}
		}
	}
}

func TestADamagedFrameIsReportedAndTheOthersAreRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.record(t, Options{}, trace.Event{Text: "1"})
	f.c.Set(start)
	f.record(t, Options{}, trace.Event{Text: "2"})
	name := filepath.Join(f.dir, "2026-11-21.events")
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p[headerSize+10] ^= 1
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := f.search(t, Query{})
	if d := cmp.Diff([]string{"2"}, texts(got)); d != "" || err == nil {
		t.Errorf("error %v\n%s", err, d)
	}
}

func TestLostEventsLeaveAGapThatCountsThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	j := f.journal(Options{})
	defer j.closeSegment()
	long := string(make([]byte, 1<<16))
	n := 0
	for ; j.lost == 0; n++ {
		j.Record(trace.Event{Text: long})
	}
	for range 9 {
		j.Record(trace.Event{Text: long})
	}
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	j.Record(trace.Event{Text: "after"})
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	got, err := f.search(t, Query{Kinds: []trace.Kind{trace.Gap}})
	if err != nil || len(got) != 1 || got[0].Count != 10 {
		t.Errorf("gaps %+v, %v; want one of 10", got, err)
	}
	if all, _ := f.search(t, Query{}); len(all) != n-1+2 {
		t.Errorf("%d events, want %d", len(all), n-1+2)
	}
}

func TestOldDaysGo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 5 {
		f.c.Set(start.AddDate(0, 0, i))
		f.record(t, Options{Keep: 50 * time.Hour}, trace.Event{Text: fmt.Sprint(i)})
	}
	got, err := f.search(t, Query{})
	if d := cmp.Diff([]string{"2", "3", "4"}, texts(got)); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	f.c.Set(start.AddDate(0, 0, 5))
	f.record(t, Options{MaxBytes: 1}, trace.Event{Text: "5"})
	if got, _ := f.search(t, Query{}); !slices.Equal(texts(got), []string{"5"}) {
		t.Errorf("with no room but for today: %v", texts(got))
	}
}

func TestRunWritesWhatIsLeftWhenItStops(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	j := f.journal(Options{Sync: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- j.Run(ctx) }()
	j.Record(trace.Event{Text: "last"})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := f.search(t, Query{}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// BenchmarkJournal measures the CPU of one message's events, disk included.
func BenchmarkJournal(b *testing.B) {
	fsys, err := osfs.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	j := New(fsys, Options{}, clock.System{}, slog.New(slog.DiscardHandler))
	defer j.closeSegment()
	ids := id.Source{}
	for i := 0; b.Loop(); i++ {
		msg, session := ids.New(), ids.New()
		for _, k := range []trace.Kind{trace.Accepted, trace.Attempt, trace.Delivered, trace.Finished, trace.SessionEnd} {
			j.Record(trace.Event{Kind: k, Message: msg, Session: session, From: "sender@example.test", To: "rcpt@example.test", Size: 10240, Client: "192.0.2.1", Text: "mail/example.test/rcpt/Maildir"})
		}
		if i%500 == 499 {
			if err := j.flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
