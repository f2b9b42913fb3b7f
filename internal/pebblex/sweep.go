package pebblex

import (
	"bytes"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// moveRoom is how many bytes of bodies are moved at once: commits wait for it.
	moveRoom = 256 << 10
	// freeAtOnce is how many segments are freed together, at least: each time the database is flushed.
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
// Where there is no room, what has anything alive stays.
func (g *generation) sweepOld() error {
	var free []*segment
	kept := 0
	tight := g.e.opts.Tight != nil && g.e.opts.Tight()
	for _, s := range slices.Backward(g.log.old()) {
		live := s.live.Load()
		switch {
		case s.unreadable || tight && live > 0:
		case live >= g.log.size/2 && kept < keepMost:
			kept++
		default:
			free = append(free, s)
		}
	}
	slices.Reverse(free)
	for len(free) >= freeAtOnce {
		n := g.step(free)
		if err := g.free(free[:n]); err != nil {
			return err
		}
		free = free[n:]
	}
	return nil
}

// step returns how many of the segments to free, oldest first, are freed next: what is moved is on the disk twice
// until they are, however far the sweeping lies behind.
func (g *generation) step(free []*segment) int {
	room := max(freeAtOnce*g.log.size, moveRoom)
	for i, s := range free {
		if room -= s.live.Load(); room < 0 && i >= freeAtOnce {
			return i
		}
	}
	return len(free)
}

// free moves what is left in segments into the database, and takes them out of use when the
// database has in its files all that they say. A segment with a body that cannot be read stays.
func (g *generation) free(old []*segment) error {
	last := uint64(0)
	for _, s := range old {
		last = max(last, s.number)
	}
	if err := g.after(&request{sweep: last, work: func(end) error { return nil }}); err != nil {
		return err
	}
	if err := g.move(old); err != nil {
		return err
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
	return g.log.recycle(slices.DeleteFunc(old, func(s *segment) bool { return s.unreadable }))
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

// lying is a body in the log, by the row that says where.
type lying struct {
	key   []byte // of that row
	place place
	body  []byte // once it has been read
}

// eachPlace visits the rows that say where bodies are in the log; key is valid until visit returns.
func eachPlace(db *pebble.DB, visit func(key []byte, p place)) error {
	first := positionKey[0]
	rows, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{first, 0}, UpperBound: []byte{first + 1}})
	if err != nil {
		return err
	}
	for rows.First(); rows.Valid(); rows.Next() {
		value, err := rows.ValueAndErr()
		if err != nil {
			return errors.Join(err, rows.Close())
		}
		if p, err := parsePlace(value); err == nil {
			visit(rows.Key(), p)
		}
	}
	return rows.Close()
}

// count counts what is alive in the segments that an earlier run left.
func (l *log) count(db *pebble.DB) error {
	return eachPlace(db, func(_ []byte, p place) {
		if s := l.segment(p.segment); s != nil {
			s.live.Add(int64(p.size))
		}
	})
}

// move moves the bodies in segments that rows still name. It goes by the rows and not by the segments' records: a
// damaged record hides no body behind it.
func (g *generation) move(old []*segment) error {
	byNumber := map[uint64]*segment{}
	for _, s := range old {
		byNumber[s.number] = s
	}
	var list []lying
	err := eachPlace(g.db, func(key []byte, p place) {
		if byNumber[p.segment] != nil {
			list = append(list, lying{key: bytes.Clone(key), place: p})
		}
	})
	if err != nil {
		return err
	}
	for len(list) > 0 {
		n, room := 0, 0
		for ; n < len(list) && room < moveRoom; n++ {
			m := &list[n]
			m.body = make([]byte, m.place.size)
			if _, err := g.log.read(m.place, m.body); err != nil {
				m.body = nil
				byNumber[m.place.segment].unreadable = true
				g.e.opts.Log.Error("a body in the log cannot be read", "err", err)
			}
			room += len(m.body)
		}
		if err := g.moveAll(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// says reports whether the row still says that the body is there.
func (g *generation) says(key []byte, there place) (bool, error) {
	now, found, err := placeOf(g.db, key)
	return found && now == there, err
}

// moveAll writes bodies into the database. It does so without the log: until the database has them in
// its files, the segment stays.
func (g *generation) moveAll(list []lying) error {
	return g.after(&request{work: func(end) error {
		b := g.db.NewBatch()
		for _, m := range list {
			if m.body == nil {
				continue
			}
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
	return placeOf(g.db, placeKey(key))
}

func placeOf(db *pebble.DB, row []byte) (p place, found bool, err error) {
	value, closer, err := db.Get(row)
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
