package remote

import (
	"slices"
	"sync"
	"time"
)

// pool keeps open connections for the next message to the same place, each for a few
// seconds: long enough for a burst, too short to be a burden on the other side.
type pool struct {
	most int
	time time.Duration

	mu     sync.Mutex
	idle   map[poolKey][]*session
	n      int
	closed bool
}

func (p *pool) init(most int, idle time.Duration) {
	p.most, p.time, p.idle = most, idle, map[poolKey][]*session{}
}

// get takes the connection to host that was used last, nil if there is none. With no host that is
// the last one whose exchanger shares its load with no equals: among those each message chooses anew.
func (p *pool) get(key poolKey, host string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range slices.Backward(p.idle[key]) {
		if s.host == host || host == "" && !s.equals {
			p.take(key, i)
			s.timer.Stop()
			return s
		}
	}
	return nil
}

// take removes one connection from the table. Called with the lock held.
func (p *pool) take(key poolKey, i int) {
	list := p.idle[key]
	copy(list[i:], list[i+1:])
	list[len(list)-1] = nil
	if p.idle[key] = list[:len(list)-1]; len(list) == 1 {
		delete(p.idle, key)
	}
	p.n--
}

// put keeps a connection, or ends it when there are too many.
func (p *pool) put(s *session) {
	p.mu.Lock()
	if p.closed || p.n >= p.most {
		p.mu.Unlock()
		s.quit()
		return
	}
	p.idle[s.key] = append(p.idle[s.key], s)
	p.n++
	if s.timer == nil {
		s.timer = time.AfterFunc(p.time, func() { p.expire(s) })
	} else {
		s.timer.Reset(p.time)
	}
	p.mu.Unlock()
}

// expire ends a connection that nobody wanted.
func (p *pool) expire(s *session) {
	p.mu.Lock()
	found := false
	for i, x := range p.idle[s.key] {
		if x == s {
			p.take(s.key, i)
			found = true
			break
		}
	}
	p.mu.Unlock()
	if found {
		s.quit()
	}
}

// close ends all connections; later ones end at put.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle, p.n = map[poolKey][]*session{}, 0
	p.mu.Unlock()
	for _, list := range idle {
		for _, s := range list {
			s.timer.Stop()
			s.quit()
		}
	}
}
