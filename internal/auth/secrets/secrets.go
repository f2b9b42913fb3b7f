// Package secrets checks credentials against password material in a file of its own,
// secrets.db, which role auth alone can read.
//
// It keeps three rules. A wrong password, an unknown user and a disabled account are
// told apart by nothing: not by the answer, its time, or the work done for it.
// Logins cannot take the machine: what hashing costs is bounded. And guessing is
// slowed where it comes from and where it goes to, over all protocols together.
package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/trace"
)

// flushEvery is how often counts and times of use are written.
const flushEvery = 5 * time.Second

// Service implements auth.Service and auth.Admin.
type Service struct {
	o         Options
	directory directory.Reader
	system    SystemUsers
	clock     clock.Clock
	recorder  trace.Recorder
	log       *slog.Logger

	store  *store
	forms  *forms
	hasher *hasher
	recent *recent
	guard  *guard
	blocks *blocks

	revoked *auth.Revoked
	salts   []byte // the key of salts that are told for unknown users

	mu   sync.Mutex
	used map[appKey]use // not written yet

	stop    context.CancelFunc
	stopped chan struct{}
}

var (
	_ auth.Service = (*Service)(nil)
	_ auth.Admin   = (*Service)(nil)
)

// Open opens or makes the password material. The error is of the options, or of the database's file.
func Open(ctx context.Context, o Options, d Deps) (*Service, error) { return open(ctx, o, d, false) }

// open leaves out syncs for tests.
func open(ctx context.Context, o Options, d Deps, noSync bool) (*Service, error) {
	trusted, err := o.normalise()
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
	if d.Recorder == nil {
		d.Recorder = trace.Discard
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		revoked: auth.NewRevoked(),
		o:       o, directory: d.Directory, system: d.System, clock: d.Clock, recorder: d.Recorder, log: d.Log,
		hasher: newHasher(o), recent: newRecent(o.CacheTTL), guard: newGuard(o, trusted),
		blocks: newBlocks(d.Blocks, d.Generation, d.Log), used: map[appKey]use{}, stopped: make(chan struct{}),
	}
	if s.forms, err = newForms(); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if s.store, err = openStore(ctx, o.Path, noSync); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if s.salts, err = s.store.secret(ctx, "salts"); err == nil {
		err = s.store.loadGuard(ctx, s.guard, s.clock.Now())
	}
	if err != nil {
		s.store.db.Close()
		return nil, fmt.Errorf("auth: %w", err)
	}
	run, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go s.flushLoop(run)
	return s, nil
}

// Close writes what was not written yet, and closes.
func (s *Service) Close() error {
	s.stop()
	<-s.stopped
	return errors.Join(s.flush(context.Background()), s.store.db.Close())
}

// Revoked tells whose credentials were changed or removed while the service is open.
func (s *Service) Revoked() *auth.Revoked { return s.revoked }

// Backup writes a durable copy, as the password material is at one moment, to a new file.
func (s *Service) Backup(ctx context.Context, path string) error {
	return errors.Join(s.flush(ctx), s.store.db.Backup(ctx, path))
}

func (s *Service) flushLoop(ctx context.Context) {
	defer close(s.stopped)
	for clock.Sleep(ctx, flushEvery) == nil {
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("auth: failures and times of use could not be written", "err", err)
		}
	}
}

// flush writes what changed since the last time. What could not be written is lost to
// the next start alone: it stays in memory.
func (s *Service) flush(ctx context.Context) error {
	l := lazy{strikes: map[string]*strike{}, known: map[pair]time.Time{}}
	s.mu.Lock()
	l.used, s.used = s.used, map[appKey]use{}
	s.mu.Unlock()

	g := s.guard
	g.mu.Lock()
	for row := range g.dirtyStrikes {
		t, key := g.table(row)
		if found := t.by[key]; found != nil {
			c := *found
			l.strikes[row] = &c
		} else {
			l.strikes[row] = nil
		}
	}
	for p := range g.dirtyKnown {
		l.known[p] = g.known[p]
	}
	clear(g.dirtyStrikes)
	clear(g.dirtyKnown)
	g.mu.Unlock()

	if l.empty() {
		return nil
	}
	return s.store.writeLazy(ctx, l)
}

// Allowed implements auth.Service.
func (s *Service) Allowed(ctx context.Context, client netip.Addr) error {
	now := s.clock.Now()
	if s.blocks.client(ctx, client, now) {
		return auth.Barred
	}
	return blockedFor(s.guard.connect(client, now))
}
