package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/queue"
)

// Backup implements queue.Store: a checkpoint of the database, and copies of its log and of the
// spool files its rows may name. Files are copied and not linked, since theirs are
// used again. The file "restored" in the copy counts one generation more than here,
// and every message whose row is of an earlier one is held.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := s.vfs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("queue backup: %w", err)
	}
	if names, err := s.vfs.List(dir); err != nil || len(names) > 0 {
		return errors.Join(err, fmt.Errorf("queue backup: the folder %q is not empty", dir))
	}
	s.spool.pin()
	defer s.spool.unpin()
	log := s.vfs.PathJoin(dir, logDir)
	if err := s.vfs.MkdirAll(log, 0o700); err != nil {
		return fmt.Errorf("queue backup: %w", err)
	}
	if err := s.eng.Checkpoint(s.vfs.PathJoin(dir, dbDir), log); err != nil {
		return fmt.Errorf("queue backup: %w", err)
	}
	numbers, err := s.spool.used()
	if err != nil {
		return fmt.Errorf("queue backup: %w", err)
	}
	spool := s.vfs.PathJoin(dir, spoolDir)
	if err := s.vfs.MkdirAll(spool, 0o700); err != nil {
		return fmt.Errorf("queue backup: %w", err)
	}
	for _, n := range numbers {
		err := ctx.Err()
		if err == nil {
			err = s.copyOut(n, s.vfs.PathJoin(spool, spoolName(n)))
		}
		if err != nil {
			return fmt.Errorf("queue backup: %w", err)
		}
	}
	mark := strings.NewReader(strconv.FormatUint(s.restored+1, 10) + "\n")
	err = errors.Join(s.write(s.vfs.PathJoin(dir, restoredFile), mark), s.syncDir(spool), s.syncDir(dir))
	if err != nil {
		return fmt.Errorf("queue backup: %w", err)
	}
	return nil
}

// copyOut copies a spool file.
func (s *Store) copyOut(number uint64, to string) error {
	f, err := s.spool.fs.OpenFile(spoolName(number), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a draft's that was given up
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.write(to, f)
}

func (s *Store) write(name string, from io.Reader) error {
	f, err := s.vfs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(struct{ io.Writer }{f}, from)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (s *Store) syncDir(name string) error {
	d, err := s.vfs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readRestored returns the generation of a queue that came out of a backup, else 0.
func readRestored(fsys fs.FS) (uint64, error) {
	f, err := fsys.OpenFile(restoredFile, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("file %s: %w: want a number, have %q", restoredFile, queue.ErrFormat, text)
	}
	return n, nil
}

// Heartbeat implements queue.Store: leases last as long as their Claim.
func (s *Store) Heartbeat(_ context.Context, leases []queue.Lease) (lost []queue.Lease, err error) {
	fence := s.fence.Load()
	for _, l := range leases {
		if l.Fence != fence {
			lost = append(lost, l)
		}
	}
	return lost, nil
}
