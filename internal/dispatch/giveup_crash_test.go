package dispatch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail/archive"
)

// The scenario: messages wait for a host that is down, and an operator gives half of them up. Power goes at any moment; when
// the server starts again the host is up.
//
// What the operator was told is given up goes to nobody and is bounced by one message; of the rest nothing is lost, and what
// nobody was told of is either delivered or bounced.

// farHost answers for another host: it is down, or takes what comes and tells of it. Bounces are taken either way.
func farHost(down bool, tell func(crashFact)) deliver.Target {
	return target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
		switch {
		case r.To.Local == "joe":
			tell(crashFact{"bounced", j.Envelope.Parent, j.Envelope.ID})
		case down:
			return deliver.Verdict{Err: noConnect}
		default:
			tell(crashFact{what: "delivered", m: j.Envelope.ID})
		}
		return deliver.Verdict{}
	})
}

func giveUpScenario(cuts, messages int) crashfs.Scenario[crashFact] {
	return crashfs.Scenario[crashFact]{
		Cuts: cuts,
		Prepare: func(files fs.FS) error {
			return errors.Join(files.MkdirAll("queue", 0o700), files.SyncAll())
		},
		Run: func(files fs.FS, ack func(crashFact)) error {
			h, err := runCrashHouse(files, Deps{Remote: farHost(true, ack)})
			if err != nil {
				return err
			}
			all := make([]id.ID, messages)
			for i := range messages {
				if all[i], err = h.accept(i, fmt.Sprintf("to%d@far.test", i%2), archive.Rules{}); err != nil {
					return errors.Join(err, h.stop())
				}
				ack(crashFact{what: "accepted", m: all[i]})
			}
			for end := time.Now().Add(time.Minute); h.Stats(0).Since.Deferred < int64(messages); time.Sleep(100 * time.Microsecond) {
				if time.Now().After(end) {
					return errors.Join(errors.New("the messages are not deferred"), h.stop())
				}
			}
			n, err := h.Act(context.Background(), Filter{To: "to1@far.test"}, Action{Verb: Bounce})
			if err == nil && n != messages/2 {
				err = fmt.Errorf("%d messages are given up, want %d", n, messages/2)
			}
			if err == nil {
				for i := 1; i < messages; i += 2 {
					ack(crashFact{what: "given up", m: all[i]})
				}
			}
			return errors.Join(err, h.stop())
		},
		Check: checkGivenUp,
	}
}

// checkGivenUp lets the server finish, with the host up, and counts.
func checkGivenUp(files fs.FS, acked []crashFact) error {
	facts, err := afterwards(files, acked, func(tell func(crashFact)) (*crashHouse, error) {
		return runCrashHouse(files, Deps{Remote: farHost(false, tell)})
	})
	if err != nil {
		return err
	}
	type fate struct {
		accepted, givenUp, delivered bool
		bounces                      map[id.ID]bool
	}
	fates := map[id.ID]*fate{}
	for _, f := range facts {
		v := fates[f.m]
		if v == nil {
			v = &fate{bounces: map[id.ID]bool{}}
			fates[f.m] = v
		}
		switch f.what {
		case "accepted":
			v.accepted = true
		case "given up":
			v.givenUp = true
		case "delivered":
			v.delivered = true
		case "bounced":
			v.bounces[f.copy] = true
		}
	}
	for m, v := range fates {
		ends := len(v.bounces)
		if v.delivered {
			ends++
		}
		if v.accepted && ends != 1 || ends > 1 || v.givenUp && v.delivered {
			return fmt.Errorf("message %s: given up %v, delivered %v, bounced by %d messages", m, v.givenUp, v.delivered, len(v.bounces))
		}
	}
	return nil
}

func TestACrashBringsNothingBackThatWasGivenUp(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, giveUpScenario(400, 6))
}

func TestTheCrashTestOfGivingUpFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	s := giveUpScenario(150, 6)
	s.Wrap = func(files fs.FS) fs.FS { return plant.Wrap(files, plant.NoSync) }
	crashfs.MustFail(t, s)
}
