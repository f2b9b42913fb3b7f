package verbs

import (
	"context"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/stats"
)

// Counters returns the sums of all roles' counters, from the running server or from
// what a stopped one left.
func Counters(ctx context.Context, data string) (stats.Snapshot, error) {
	running, err := datafolder.Running(ctx, data)
	if err != nil {
		return stats.Snapshot{}, err
	}
	var all []stats.Snapshot
	for _, r := range role.All() {
		var s stats.Snapshot
		if running {
			s, err = rolecall.Ask[none, stats.Snapshot](ctx, data, r, rolecall.MethodCounters, none{})
		} else {
			s, err = savedCounters(data, r)
		}
		if err != nil {
			return stats.Snapshot{}, rolecall.About(r, err)
		}
		all = append(all, s)
	}
	return stats.Merge(all...), nil
}

func savedCounters(data string, r role.Role) (stats.Snapshot, error) {
	dir, err := osfs.New(datafolder.Events(data, r))
	if err != nil {
		return stats.Snapshot{}, nil // the role has never run
	}
	c, err := stats.Load(dir, datafolder.CountersFile, clock.System{})
	if err != nil {
		return stats.Snapshot{}, err
	}
	return c.Snapshot(), nil
}
