package local

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
