package local

import (
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/runas"
)

// NewShortcutToExpire is NewShortcut with a life that no test sees the end of: see Expire.
func NewShortcutToExpire(next deliver.Target, users runas.Service) *Shortcut {
	s := NewShortcut(next, users)
	s.life = time.Hour
	return s
}

// MaxStanding is how many addresses stand at once.
const MaxStanding = maxStanding

// Settle waits until files that were asked for are held, or are not.
func (s *Shortcut) Settle() { s.holding.Wait() }

// Expire has all that stands looked for again, and what is not given up.
func (s *Shortcut) Expire() {
	s.mu.Lock()
	for _, o := range s.kept {
		o.until = o.until.Add(-2 * s.life)
	}
	s.mu.Unlock()
}

// Sweep gives up what has expired, and returns how many addresses are left.
func (s *Shortcut) Sweep() int {
	s.sweep()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept)
}
