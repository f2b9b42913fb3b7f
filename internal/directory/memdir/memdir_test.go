package memdir_test

import (
	"errors"
	"testing"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory/directorytest"
	"github.com/postilion/postilion/internal/directory/memdir"
)

func TestContract(t *testing.T) {
	t.Parallel()
	directorytest.Run(t, func(t *testing.T, c clock.Clock) directorytest.Store { return &memdir.DB{Clock: c} })
}

func TestNewMakesWhatTestsNeed(t *testing.T) {
	t.Parallel()
	db, err := memdir.New("joe@a.test", "ann@a.test", "info@b.test=joe@a.test,ann@a.test")
	if err != nil {
		t.Fatal(err)
	}
	f, err := db.Find(t.Context(), "b.test", []string{"info"})
	if err != nil || f.Alias == nil || len(f.Alias.Targets) != 2 {
		t.Errorf("got %+v, %v", f, err)
	}
	broken := errors.New("broken")
	db.Fail(broken)
	if _, err := db.Find(t.Context(), "b.test", []string{"info"}); !errors.Is(err, broken) {
		t.Errorf("a failing directory says %v", err)
	}
}
