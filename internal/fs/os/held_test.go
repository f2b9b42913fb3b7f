package osfs

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/fs"
)

// What is held for one device and lies on another would make SyncAll promise what it does not keep.
func TestADeviceIsHeldByWhatLiesOnIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	open := func() (*os.File, error) { return os.Open(dir) }
	d := NewDevices()
	if err := d.Hold(st.Dev+1, open); !errors.Is(err, fs.ErrInvalid) || d.Has(st.Dev+1) {
		t.Errorf("another device: %v, held: %v", err, d.Has(st.Dev+1))
	}
	if err := d.Hold(st.Dev, open); err != nil || !d.Has(st.Dev) {
		t.Errorf("its own: %v, held: %v", err, d.Has(st.Dev))
	}
}
