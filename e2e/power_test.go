package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a file system of its own in a file, which can lose power: what it has not
// written is gone, and the next mount replays its journal as after a real cut.
type disk struct {
	t            testing.TB
	image, mount string
}

func newDisk(t testing.TB, megabytes int64) *disk {
	t.Helper()
	needRoot(t)
	needProgram(t, "mkfs.ext4", "mount", "umount")
	dir := newFolder(t)
	d := &disk{t: t, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mount")}
	file, err := os.Create(d.image)
	check(t, err, file.Truncate(megabytes<<20), file.Close(), os.Mkdir(d.mount, 0o755))
	d.must("mkfs.ext4", "-q", "-F", d.image)
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.mount).CombinedOutput(); err != nil {
		t.Skipf("skipped: loop devices cannot be mounted here: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(d.umount)
	check(t, os.Chmod(d.mount, 0o755))
	return d
}

func (d *disk) must(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// cut turns the disk off without flushing anything, its journal included.
func (d *disk) cut() {
	d.t.Helper()
	// What `xfs_io -x -c shutdown` does: ioctl_xfs_goingdown(2), which ext4 has too.
	const goingDown, noLogFlush = 0x8004587d, 2
	dir, err := os.Open(d.mount)
	check(d.t, err)
	defer dir.Close()
	check(d.t, unix.IoctlSetPointerInt(int(dir.Fd()), goingDown, noLogFlush))
}

func (d *disk) umount() {
	d.t.Helper()
	var out []byte
	for range 100 {
		var err error
		if out, err = exec.Command("umount", d.mount).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	exec.Command("umount", "-l", d.mount).Run() // leave nothing behind
	d.t.Fatalf("umount: %s", out)
}

// again mounts the disk after a cut.
func (d *disk) again() {
	d.t.Helper()
	d.umount()
	d.must("mount", "-o", "loop", d.image, d.mount)
}

func TestNothingAcknowledgedIsLostToPowerCuts(t *testing.T) {
	t.Parallel()
	l, c, took, err := powerCuts(t, "", 5*(*soak))
	l.verdict(t, "power cuts", c, err, took)
}

// A test of durability that passes without syncs would prove nothing.
func TestPowerCutsFindABuildWithoutSyncs(t *testing.T) {
	t.Parallel()
	l, c, took, err := powerCuts(t, "nosync", 1)
	t.Logf("without syncs: %d cuts in %.0f s; %d of %d acknowledged deliveries lost; %v", len(l.cuts), took.Seconds(), c.lost, c.acked, err)
	if c.lost == 0 {
		t.Error("a build without syncs lost nothing: the cuts do not reach what was not synced")
	}
}

// powerCuts cuts the power of the server's disk under load, again and again, and tells
// what became of what was acknowledged.
func powerCuts(t *testing.T, tag string, rounds int) (l *load, c tally, took time.Duration, err error) {
	d := newDisk(t, 1024)
	k := newSink(t)
	s := newServer(t, setup{tag: tag, dir: filepath.Join(d.mount, "data"), config: loadConfig(k)})
	l = newLoad(s, k)
	d.must("sync", "-f", d.mount) // what was set up is there in any case
	began := time.Now()
	stop := l.start(8)
	defer func() { stop() }()
	for round := range rounds {
		time.Sleep(time.Second + rand.N(1500*time.Millisecond))
		account := fmt.Sprintf("round%d@%s", round, domain)
		password := s.addAccount(account)
		before := l.count()
		l.power(false)
		d.cut()
		s.stopNow()
		l.power(true)
		d.again()
		if err := s.tryServe(30 * time.Second); err != nil {
			c, lookErr := l.tally()
			return l, c, time.Since(began), fmt.Errorf("after cut %d: %w", round+1, errors.Join(err, lookErr))
		}
		if tag == "" {
			within(t, 30*time.Second, "mail is taken again after the cut", func() bool { return l.count() > before+20 })
			c, err := dialPOP(s.addr["pop3"], account, password)
			check(t, err) // what a verb has done stays done, too
			c.quit()
		}
	}
	stop()
	wait := 60 * time.Second
	if tag != "" {
		wait = 5 * time.Second
	}
	c, err = l.settle(wait)
	return l, c, time.Since(began), err
}

// free returns how many bytes may still be written by users.
func (d *disk) free() int64 {
	var st syscall.Statfs_t
	check(d.t, syscall.Statfs(d.mount, &st))
	return int64(st.Bavail) * st.Bsize
}
