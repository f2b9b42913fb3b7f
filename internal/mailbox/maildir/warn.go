package maildir

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// This file remembers beside a mailbox, by the times of small files, when its owner was last warned that it is nearly
// full, and since when it is fuller than its quota.

const (
	// warnFile is vpopmail's and maildrop's: its time is that of the last warning (qmail reference 19.2, 24.5).
	warnFile = "quotawarn"
	// overFile is there while the mailbox is fuller than its quota; its time is since when.
	overFile = "postilion-overquota"
)

// WarnDue reports whether the owner is to be warned now: the last time is longer ago than every. From then on it is
// remembered, durably, so that a power cut leads to no second warning. Of several at the same time one hears true.
// The error is of the system; true with one is of a mark that may not last.
func (s *Store) WarnDue(mailbox string, every time.Duration) (bool, error) {
	if _, busy := s.warning.LoadOrStore(mailbox, nil); busy {
		return false, nil
	}
	defer s.warning.Delete(mailbox)
	age, ok, err := s.age(mailbox, warnFile)
	if err != nil || ok && age < every {
		return false, err
	}
	if err := s.mark(mailbox, warnFile); err != nil {
		return false, err
	}
	return true, s.barrier.Dirs(mailbox)
}

// age returns how long ago a file was written; false where it is not there. A time to come is as old as one that has passed:
// a clock that was wrong once must not silence anything for years.
func (s *Store) age(mailbox, name string) (age time.Duration, ok bool, err error) {
	info, err := s.fs.Stat(mailbox + "/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	age = s.clock.Now().Sub(info.ModTime()).Abs()
	if at, ok := s.marked(mailbox, name); ok {
		age = min(age, s.clock.Now().Sub(at).Abs())
	}
	return age, true, nil
}

// marked returns the time that mark wrote into a file: it is as durable as the file, where the file's own time may be
// lost with the power. What others write says nothing.
func (s *Store) marked(mailbox, name string) (time.Time, bool) {
	f, err := s.fs.OpenFile(mailbox+"/"+name, os.O_RDONLY, 0)
	if err != nil {
		return time.Time{}, false
	}
	defer f.Close()
	var buf [64]byte
	n, err := io.ReadFull(f, buf[:])
	if err != io.ErrUnexpectedEOF {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano+"\n", string(buf[:n]))
	return at, err == nil
}

// mark writes a file whose time counts, with that time in it.
func (s *Store) mark(mailbox, name string) error {
	now := s.clock.Now()
	err := s.replace(mailbox, name, now.UTC().AppendFormat(nil, time.RFC3339Nano+"\n"), true)
	if err == nil {
		s.fs.Chtimes(mailbox+"/"+name, now, now) // for others that look; the file system's clock may be another
	}
	return err
}

// graced decides about a message for which a quota has no room: a soft one lets it in for a while.
func (s *Store) graced(mailbox string, q Quota, u Usage, size int64, over error) error {
	if q.Soft.Extra <= 0 || q.Soft.Grace <= 0 {
		return over
	}
	if over == nil {
		s.fs.Remove(mailbox + "/" + overFile) // there is room: the time counts anew from the next time on
		return nil
	}
	if q.hard().refuses(u, size) != nil {
		return over
	}
	age, ok, err := s.age(mailbox, overFile)
	switch {
	case err != nil:
		return over
	case !ok:
		if s.mark(mailbox, overFile) != nil {
			return over
		}
		return nil
	case age < q.Soft.Grace:
		return nil
	}
	return over
}

// OverSince tells since when a mailbox is fuller than its soft quota; false while it is not.
func (s *Store) OverSince(mailbox string) (time.Time, bool) {
	info, err := s.fs.Stat(mailbox + "/" + overFile)
	if err != nil {
		return time.Time{}, false
	}
	if at, ok := s.marked(mailbox, overFile); ok {
		return at, true
	}
	return info.ModTime(), true
}
