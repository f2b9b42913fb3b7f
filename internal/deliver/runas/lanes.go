package runas

// How calls of deliveries that come together share frames. A round trip between two processes costs more
// than most operations on files, and most of it is waking threads. So a user's calls that come while
// others of the same user are on their way wait for one another and travel together. Users never share a frame:
// one whose home hangs holds up nobody else.

import (
	"runtime"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

const (
	// maxTogether bounds the calls of one frame.
	maxTogether = 16
	// freeFrames is how many frames of one user are under way before calls wait for one of them; then
	// another one goes only when none has left for longPause, as with homes on slow servers.
	freeFrames = 2
	longPause  = time.Millisecond
	// maxSearch bounds what the Searches that share frames read, in bytes: maxTogether of them fit a frame.
	maxSearch = maxInstructions / maxTogether
)

// asked is one call on its way.
type asked struct {
	request *request
	reply   reply
	err     error
	since   time.Time     // it waits from then on
	turn    chan []*asked // while it waits: the calls to make, or nil when it has its reply
}

// lanes are the calls under way, by user.
type lanes struct {
	hang time.Duration // a call that waited longer for another one's end is given up

	mu    sync.Mutex
	users map[identity]*lane
}

// identity is whose rights a frame's calls take.
type identity struct{ uid, gid uint32 }

func (u *User) identity() identity { return identity{u.UID, u.GID} }

// lane is the calls of one user.
type lane struct {
	frames  int       // under way
	last    time.Time // when the youngest of them left
	waiting []*asked
}

// do makes a call by exchange, which makes several.
func (l *lanes) do(r *request, exchange func([]*asked)) (reply, error) {
	a := &asked{request: r, since: time.Now()}
	a.reply.file = -1
	if r.op == opSearch && r.search.Limit > maxSearch {
		exchange([]*asked{a})
		return a.reply, a.err
	}
	var calls []*asked
	if l.enter(a) {
		runtime.Gosched() // those about to call, as after a sync that they shared, do so first
		calls = l.load(a)
	} else if calls = <-a.turn; calls == nil {
		return a.reply, a.err
	}
	exchange(calls)
	l.leave(r.user.identity())
	for _, other := range calls {
		if other != a {
			other.turn <- nil
		}
	}
	return a.reply, a.err
}

// enter reports whether a frame leaves with a; else a waits.
func (l *lanes) enter(a *asked) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.users[a.request.user.identity()]
	if user == nil {
		user = &lane{}
		l.users[a.request.user.identity()] = user
	}
	if user.frames >= freeFrames && a.since.Sub(user.last) < longPause {
		a.turn = make(chan []*asked, 1)
		user.waiting = append(user.waiting, a)
		return false
	}
	user.frames++
	user.last = a.since
	return true
}

// load returns the calls that leave with a: those that wait, and a.
func (l *lanes) load(a *asked) []*asked {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(l.users[a.request.user.identity()].take(maxTogether-1), a)
}

// take takes calls that wait.
func (u *lane) take(most int) []*asked {
	n := min(len(u.waiting), most)
	calls := u.waiting[:n:n]
	u.waiting = u.waiting[n:]
	return calls
}

// leave ends a frame, and gives those who wait the next one. Those who waited too long are given up.
func (l *lanes) leave(who identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.users[who]
	user.frames--
	now := time.Now()
	for len(user.waiting) > 0 && now.Sub(user.waiting[0].since) > l.hang {
		a := user.waiting[0]
		user.waiting = user.waiting[1:]
		a.err = reason.RunasBusy.With(a.request.user.title()).Because(errHang)
		a.turn <- nil
	}
	switch {
	case len(user.waiting) > 0:
		user.frames++
		user.last = now
		calls := user.take(maxTogether)
		calls[0].turn <- calls
	case user.frames == 0:
		delete(l.users, who)
	}
}
