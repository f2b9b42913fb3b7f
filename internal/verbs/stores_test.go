package verbs

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/fs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheLockNamesItsHolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	lock, err := control.Lock(data)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	synctest.Test(t, func(t *testing.T) { // it waits for the lock for a while
		_, err := OpenStores(context.Background(), data)
		if !errors.Is(err, fs.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
			t.Errorf("have %v", err)
		}
	})
	if _, err := control.Dial(context.Background(), data, control.Supervisor); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("have %v", err)
	}
}
