package seam

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// joe's files take the extension list and no other.
func joe(_ context.Context, u route.User) error {
	switch u.Ext {
	case "list", "List":
		return nil
	case "trouble":
		return reason.HomeSticky
	}
	return reason.NoDotQmail
}

func joesPlan(ctx context.Context, u route.User) ([]route.Step, error) {
	return []route.Step{{What: "x", Where: ".qmail-list:1", Result: "./Maildir/"}}, joe(ctx, u)
}

func TestWhatTakesAUsersMailCrossesTheSocket(t *testing.T) {
	t.Parallel()
	cl, r := dial(t, UserHandlers(joe, joesPlan))
	c := &ExistsCache{Exists: NewExists(cl)}
	for ext, refused := range map[string]bool{"list": false, "nothing": true, "trouble": false} {
		if err := c.Ask(context.Background(), route.User{Name: "joe", Dash: "-", Ext: ext}); (err != nil) != refused {
			t.Errorf("%s: %v", ext, err)
		}
	}
	if err := c.Ask(context.Background(), route.User{Name: "joe", Dash: "-", Ext: "nothing", Instructions: []route.Instruction{{Line: "&a@b"}}}); err != nil {
		t.Errorf("instructions of an alias need no files: %v", err)
	}
	plan := NewPlan(cl)
	steps, err := plan(context.Background(), route.User{Ext: "trouble"})
	if diff := cmp.Diff([]route.Step{{What: "x", Where: ".qmail-list:1", Result: "./Maildir/"}}, steps); diff != "" || reason.As(err).Reason != reason.HomeSticky.Reason {
		t.Error(diff, err)
	}
	if _, err := plan(context.Background(), route.User{Ext: "list"}); err != nil {
		t.Error(err)
	}
	r.stop()
	defer r.start(t)
	if err := c.Ask(context.Background(), route.User{Ext: "other"}); err != nil {
		t.Errorf("with the role away: %v", err)
	}
}

func TestWhetherAnAddressExistsIsAskedSeldomAndNeverForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32 // a slow question outlives the caller's patience
		c := &ExistsCache{Exists: func(ctx context.Context, u route.User) error {
			asked.Add(1)
			switch u.Name {
			case "slow":
				time.Sleep(time.Hour)
			case "broken":
				return errors.New("no answer")
			}
			return joe(ctx, u)
		}}
		ask := func(name, ext string) error { return c.Ask(context.Background(), route.User{Name: name, Ext: ext}) }
		for range 3 {
			if ask("joe", "list") != nil || ask("joe", "LIST") != nil {
				t.Error("wrong answers")
			}
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		time.Sleep(3 * time.Second)
		if ask("joe", "list") != nil || asked.Load() != 2 {
			t.Errorf("asked %d times", asked.Load())
		}
		for n := range int32(3) { // a refusal is never an old one
			if ask("joe", "none") == nil || asked.Load() != 3+n {
				t.Errorf("asked %d times", asked.Load())
			}
		}
		began := time.Now()
		if err := ask("slow", "none"); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := ask("broken", "none"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour) // until the slow one has said it
	})
}
