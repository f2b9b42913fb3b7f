package datafolder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/fs"
)

// This file is who holds a data folder: a server that runs on it, or a verb where none does.

// Running reports whether a server serves the data folder. The error is of a data folder that is not there, or of one
// that this user may not look into.
func Running(ctx context.Context, data string) (bool, error) {
	if _, err := os.Stat(data); err != nil {
		return false, fmt.Errorf("the data folder cannot be used: %w", err)
	}
	c, err := control.Dial(ctx, data, control.Supervisor)
	if err == nil {
		c.Close()
		return true, nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return false, err
	}
	return false, nil
}

// folderWait is how long a start waits for a data folder that is in use, though no server answers there.
const folderWait = 10 * time.Second

// Take takes the data folder's lock. A verb may have it that found no server, as while one starts anew: that keeps
// the server waiting, not down.
func Take(data string) (io.Closer, error) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		lock, err := control.Lock(data)
		if !errors.Is(err, fs.ErrLocked) || time.Since(began) > folderWait {
			return lock, err
		}
		if running, _ := Running(context.Background(), data); running {
			return nil, err
		}
	}
}

// TakeAsOwner takes the lock for a verb that opens the folder's stores itself, which it then does as the folder's owner.
func TakeAsOwner(data string) (io.Closer, error) {
	if err := becomeOwner(data); err != nil {
		return nil, err
	}
	lock, err := Take(data)
	if errors.Is(err, fs.ErrLocked) {
		return nil, fmt.Errorf("%w; it does not answer on its control socket: if it hangs, end that process", err)
	}
	return lock, err
}
