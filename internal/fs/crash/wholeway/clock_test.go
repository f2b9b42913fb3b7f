package wholeway

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/reason"
)

// jumps are by how much a clock is wrong, or was.
var jumps = []time.Duration{-1000 * time.Hour, -3 * time.Hour, 3 * time.Hour, 1000 * time.Hour}

// The clock of a machine that lost power is often wrong when it starts again. Nothing is lost, repeated or given up by that.
func TestAPowerCutWithAClockThatJumpsBreaksNoPromise(t *testing.T) {
	t.Parallel()
	for _, jump := range jumps {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			for round := range *rounds {
				s := scenario(120)
				s.Seed = uint64(round)
				s.Check = func(files fs.FS, known []fact) error {
					return checkBy(files, known, clock.Offset{Clock: clock.System{}, By: jump})
				}
				crashfs.Explore(t, s)
			}
		})
	}
}

// mad is a clock that tells another time whenever it is asked.
type mad struct{}

func (mad) Now() time.Time { return time.Now().Add(rand.N(2000*time.Hour) - 1000*time.Hour) }

// While messages are on their way, in sessions, deliveries and bounces, the clock may say what it likes.
func TestAClockThatJumpsAllTheTimeBreaksNoPromise(t *testing.T) {
	t.Parallel()
	for round := range 20 * *rounds {
		files := crashfs.New(uint64(round))
		seen := &facts{}
		s := scenarioBy(0, mad{})
		if err := errors.Join(s.Prepare(files), s.Run(files, seen.add), finish(files, seen, mad{}), judge(files, seen.list)); err != nil {
			t.Fatal(err)
		}
	}
}

// What waits for another host when the server stops waits no longer than the schedule has it, whatever the clock says when
// it starts again; it is tried once more before it is given up, and its sender is told.
func TestWhatWaitsOverAJumpOfTheClockIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, jump := range jumps {
		for _, back := range []bool{true, false} { // the other host is back, or not
			files := crashfs.New(1)
			if err := prepare(files); err != nil {
				t.Fatal(err)
			}
			seen := &facts{}
			now := clock.NewFake(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
			var attempts atomic.Int32
			var away atomic.Bool
			away.Store(true)
			slow := func(*deliver.Job, deliver.Recipient) *reason.Error {
				attempts.Add(1)
				if away.Load() {
					return reason.ConnectFailed.With("far.test")
				}
				return nil
			}
			p := parcel{"bounce-w", "ann@here.test", []string{"slow@far.test"}, 5}
			h := &house{files: files, tell: seen.add, clock: now, remote: slow}
			if err := h.open(); err != nil {
				t.Fatal(err)
			}
			if h.session([]parcel{p}) != 1 {
				t.Fatal("the message was not taken")
			}
			until(t, "the first attempt", func() bool { return h.dispatch.Stats(0).Since.Deferred == 1 })
			if err := h.close(); err != nil {
				t.Fatal(err)
			}
			now.Advance(jump)
			away.Store(!back)
			h = &house{files: files, tell: seen.add, clock: now, remote: slow}
			if err := h.open(); err != nil {
				t.Fatal(err)
			}
			var list []dispatch.Info
			until(t, "the queue is read", func() (ok bool) {
				var err error
				list, _, err = h.dispatch.List(context.Background(), dispatch.Filter{}, 0, "")
				return h.dispatch.Stats(0).Loaded && err == nil
			})
			for _, m := range list {
				if wait := m.Recipients[0].Next.Sub(now.Now()); wait > 24*time.Hour {
					t.Errorf("jump %v: the next attempt is in %v", jump, wait)
				}
			}
			h.dispatch.Flush()
			until(t, "the second attempt", func() bool { return attempts.Load() >= 2 })
			expired := !back && jump > 7*24*time.Hour
			if back || expired {
				if err := h.drain(); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.close(); err != nil {
				t.Fatal(err)
			}
			if expired { // the bounce may not have been seen before the end
				if err := finish(files, seen, now); err != nil {
					t.Fatal(err)
				}
			}
			_, bounces, text := annsBounces(t, files)
			n, err := left(files)
			arrived := 0
			for _, f := range seen.list {
				if f.what == "far" {
					arrived++
				}
			}
			if err != nil || (arrived == 1) != back || (bounces == 1) != expired || (n == 1) != (!back && !expired) || attempts.Load() > 3 {
				t.Errorf("jump %v, the host is back: %v: %d arrived, %d bounces, %d wait, %d attempts, %v %s", jump, back, arrived, bounces, n, attempts.Load(), err, text)
			}
		}
	}
}

// annsBounces returns the messages in ann's Maildir that are bounces.
func annsBounces(t *testing.T, files fs.FS) (others, bounces int, text string) {
	entries, err := files.ReadDir("mail/ann/new")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err = content(files, "mail/ann/new/"+e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(text, "Return-Path: <>\n") && strings.Contains(text, "slow@far.test") {
			bounces++
		} else {
			others++
		}
	}
	return others, bounces, text
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
