package pebblex

import (
	"bytes"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
)

const (
	// moveRoom is how many bytes of bodies are moved at once: commits wait for it.
	moveRoom = 256 << 10
	// freeAtOnce is how many segments are freed together, if as many can be: each time the database is flushed.
	freeAtOnce = 3
	// keepMost is how many old segments are kept for what lives in them.
	keepMost = 64
)

// sweep is the goroutine that frees segments.
func (g *generation) sweep() {
	for {
		select {
		case <-g.full:
		case <-g.quit:
			return
		case <-g.dead:
			return
		}
		err := g.sweepOld()
		if err != nil {
			if !errors.Is(err, errOver) {
				g.fail(err)
			}
			return
		}
	}
}

// sweepOld frees old segments in which less than half is alive. The others cost less where they are, up to keepMost.
func (g *generation) sweepOld() error {
	var free []*segment
	kept := 0
	old := g.log.old()
	for _, s := range slices.Backward(old) {
		if s.live.Load() < 0 {
			if err := g.after(&request{work: func(end) error { return g.count(s) }}); err != nil {
				return err
			}
		}
		if s.live.Load() >= g.log.size/2 && kept < keepMost {
			kept++
		} else {
			free = append(free, s)
		}
	}
	if len(free) < freeAtOnce {
		return nil
	}
	return g.free(free)
}

// count counts what is alive in a segment that an earlier run wrote. No commit is applied meanwhile.
func (g *generation) count(s *segment) error {
	live := int64(0)
	err := g.each(s, func(p place, key, value []byte) error {
		live += int64(p.size)
		return nil
	})
	if err == nil {
		s.live.Store(live)
	}
	return err
}

// free moves what is left in segments into the database, and takes them out of use when the
// database has in its files all that they say.
func (g *generation) free(old []*segment) error {
	last := uint64(0)
	for _, s := range old {
		last = max(last, s.number)
	}
	if err := g.after(&request{sweep: last, work: func(end) error { return nil }}); err != nil {
		return err
	}
	for _, s := range old {
		if s.live.Load() == 0 {
			continue
		}
		if err := g.move(s); err != nil {
			return err
		}
	}
	flushed, err := g.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
	case <-g.dead:
		return errOver
	}
	return g.log.recycle(old)
}

// after lets work run when the commits before it have been applied, and waits for it.
func (g *generation) after(r *request) error {
	r.done = make(chan struct{}, 1)
	select {
	case g.queue <- r:
	case <-g.quit:
		return errOver
	case <-g.dead:
		return errOver
	}
	select {
	case <-r.done:
		return r.err
	case <-g.quit:
		return errOver
	case <-g.dead:
		return errOver
	}
}

// moved is a body on its way from the log into the database.
type moved struct {
	key   []byte // of the row that tells its place
	place []byte // that row's value
	body  []byte
}

// move moves a segment's bodies that rows still name.
func (g *generation) move(s *segment) error {
	var list []moved
	room := 0
	err := g.each(s, func(p place, key, value []byte) error {
		m := moved{bytes.Clone(key), bytes.Clone(value), make([]byte, p.size)}
		if _, err := g.log.read(p, m.body); err != nil {
			// Its message stays in the queue and its reader is told; the others must not wait for it.
			g.e.opts.Log.Error("a body in the log cannot be read", "err", err)
			return nil
		}
		list = append(list, m)
		if room += len(m.body); room < moveRoom {
			return nil
		}
		err := g.moveAll(list)
		list, room = nil, 0
		return err
	})
	if err != nil {
		return err
	}
	return g.moveAll(list)
}

// each visits the segment's bodies that rows still name, with the row's key and value.
func (g *generation) each(s *segment, visit func(p place, key, value []byte) error) error {
	r, err := s.reader()
	if err != nil {
		return err
	}
	if _, err := r.opening(); err != nil {
		return err
	}
	for {
		err := r.next()
		if errors.Is(err, errNoRecord) {
			return nil
		}
		if err == nil && len(r.places) > 0 {
			err = g.eachOf(r, visit)
		}
		if err != nil {
			return err
		}
	}
}

// eachOf is each for one record.
func (g *generation) eachOf(r *reader, visit func(p place, key, value []byte) error) error {
	for rows := batchrepr.Read(r.rows); ; {
		kind, key, value, more, err := rows.Next()
		if !more || err != nil {
			return err
		}
		if kind != pebble.InternalKeyKindSet || key[0] != positionKey[0] || len(key) == len(positionKey) {
			continue
		}
		same, err := g.says(key, value)
		if err != nil {
			return err
		}
		if !same {
			continue
		}
		p, err := parsePlace(value)
		if err != nil {
			return err
		}
		if err := visit(p, key, value); err != nil {
			return err
		}
	}
}

// says reports whether a row has the value.
func (g *generation) says(key, value []byte) (bool, error) {
	now, closer, err := g.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer closer.Close()
	return bytes.Equal(now, value), nil
}

// moveAll writes bodies into the database. It does so without the log: until the database has them in
// its files, the segment stays.
func (g *generation) moveAll(list []moved) error {
	if len(list) == 0 {
		return nil
	}
	return g.after(&request{work: func(end) error {
		b := g.db.NewBatch()
		for _, m := range list {
			same, err := g.says(m.key, m.place)
			if err != nil {
				return err
			}
			if !same { // deleted meanwhile
				continue
			}
			if err := errors.Join(b.Set(m.key[1:], m.body, nil), b.SingleDelete(m.key, nil)); err != nil {
				return err
			}
		}
		return g.db.Apply(b, pebble.NoSync)
	}})
}

// detach adds to b what deletes the body attached under key, wherever it is, and tells what the log holds of it.
func (g *generation) detach(b *pebble.Batch, key []byte) (Held, error) {
	p, _, err := g.place(key)
	return Held{p.segment, p.size}, errors.Join(err, b.Delete(placeKey(key), nil), b.Delete(key, nil))
}

// place returns where in the log the body lies that is attached under key.
func (g *generation) place(key []byte) (p place, found bool, err error) {
	value, closer, err := g.db.Get(placeKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	defer closer.Close()
	p, err = parsePlace(value)
	return p, true, err
}

// copyRow reads the body attached under key that was moved into the database.
func (g *generation) copyRow(key []byte, room func(size int) []byte) error {
	value, closer, err := g.db.Get(key)
	if err != nil {
		return err
	}
	defer closer.Close()
	copy(room(len(value)), value)
	return nil
}
