package runas

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

// newLanes returns lanes whose frames return when their user's gate is closed; sizes tells of their calls.
func newLanes(gates map[uint32]chan struct{}) (l *lanes, exchange func([]*asked), sizes func() []int) {
	var mu sync.Mutex
	var list []int
	l = &lanes{hang: 30 * time.Second, users: map[identity]*lane{}}
	exchange = func(calls []*asked) {
		mu.Lock()
		list = append(list, len(calls))
		mu.Unlock()
		if gate := gates[calls[0].request.user.UID]; gate != nil {
			<-gate
		}
		for _, a := range calls {
			a.reply.dev = uint64(a.request.perm) // each its own
		}
	}
	return l, exchange, func() []int { mu.Lock(); defer mu.Unlock(); return list }
}

func TestCallsThatComeTogetherTravelTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		l, exchange, sizes := newLanes(map[uint32]chan struct{}{1: gate})
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				p, err := l.do(&request{op: opStat, user: User{UID: 1}, perm: uint32(i)}, exchange)
				if err != nil || p.dev != uint64(i) {
					t.Errorf("call %d got the reply of %d, %v", i, p.dev, err)
				}
			})
		}
		synctest.Wait()
		if _, err := l.do(&request{op: opStat, user: User{UID: 2}}, exchange); err != nil {
			t.Errorf("another user's: %v", err)
		}
		close(gate)
		all.Wait()
		n, frames := 0, sizes()
		for _, size := range frames {
			if n += size; size > maxTogether {
				t.Errorf("%d in one frame", size)
			}
		}
		if n != 41 || len(frames) > 7 { // two alone, the 38 that waited in three or four, the other user's
			t.Errorf("41 calls in frames of %v", frames)
		}
		if len(l.users) != 0 {
			t.Errorf("%v is kept", l.users)
		}
	})
}

func TestWhoWaitsForAHomeThatHangsGoesByItOrIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		l, exchange, sizes := newLanes(map[uint32]chan struct{}{1: gate})
		call := func() chan error {
			done := make(chan error, 1)
			go func() {
				_, err := l.do(&request{op: opStat, user: User{Name: "joe", UID: 1}}, exchange)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		list := []chan error{call(), call(), call()}
		time.Sleep(2 * longPause)
		list = append(list, call()) // takes along the one that waits
		if frames := sizes(); len(frames) != 3 || frames[2] != 2 {
			t.Errorf("frames of %v", frames)
		}
		late := call()
		time.Sleep(time.Minute)
		close(gate)
		var busy *reason.Error
		if err := <-late; !errors.As(err, &busy) || busy.Reason != reason.RunasBusy.Reason || busy.Args[0] != "joe" {
			t.Errorf("after a minute: %v", err)
		}
		for _, done := range list {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFramesHoldSomeCallsOfOneUser(t *testing.T) {
	t.Parallel()
	frame := func(n int, uids ...uint32) []byte {
		var w writer
		w.num(int64(n))
		for _, uid := range uids {
			w.request(&request{op: opStat, user: User{UID: uid}, path: "/"})
		}
		return w.b
	}
	if list, err := (&reader{b: frame(2, 7, 7)}).requests(nil); err != nil || len(list) != 2 {
		t.Errorf("two of one user: %v, %v", list, err)
	}
	for what, b := range map[string][]byte{
		"of two users": frame(2, 7, 8), "none": frame(0), "fewer than told": frame(2, 7), "too many": frame(maxTogether+1, make([]uint32, maxTogether+1)...), "below none": frame(-1),
	} {
		if _, err := (&reader{b: b}).requests(nil); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
