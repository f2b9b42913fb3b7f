// Package loopdisk gives tests a file system of the kernel's own that loses power on demand: ext4 or xfs in a
// file, shut down without flushing anything, its journal included. What had not been made durable is gone, and the
// next mount recovers as after a real cut.
//
// What the system does after the cut began is not what a machine without power does: programs go on for some
// milliseconds, and a sync that the shutdown overtakes may report success for what is lost. Who judges by what programs
// say must leave out what they said after Cut began; see docs/durability.md. Who judges by what is on the
// disk need leave out nothing: no write enters it after that.
package loopdisk

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a disk. The zero value is ext4 of 1 GiB.
type Options struct {
	Kind      string // "ext4" or "xfs"
	Megabytes int64
}

// Disk is a mounted file system. Make it with New.
type Disk struct {
	Mount string

	t     testing.TB
	image string
}

// New makes a disk and mounts it until the test ends. The test is skipped where that cannot be done: without root, the
// programs, or loop devices.
func New(t testing.TB, o Options) *Disk {
	t.Helper()
	if o.Kind == "" {
		o.Kind = "ext4"
	}
	if o.Megabytes == 0 {
		o.Megabytes = 1024
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: needs root, to mount a disk that loses power")
	}
	for _, program := range []string{"mkfs." + o.Kind, "mount", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("skipped: needs %s", program)
		}
	}
	dir, err := os.MkdirTemp("", "postilion-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &Disk{t: t, image: filepath.Join(dir, "image"), Mount: filepath.Join(dir, "mount")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Truncate(d.image, o.Megabytes<<20), os.Mkdir(d.Mount, 0o755), os.Chmod(dir, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d.must("mkfs."+o.Kind, "-q", d.image)
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.Mount).CombinedOutput(); err != nil {
		t.Skipf("skipped: loop devices cannot be mounted here: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(d.umount)
	if err := os.Chmod(d.Mount, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *Disk) must(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// Sync makes everything on the disk durable.
func (d *Disk) Sync() {
	d.t.Helper()
	d.must("sync", "-f", d.Mount)
}

// Cut turns the disk off without flushing anything, as `xfs_io -x -c shutdown` does: ioctl_xfs_goingdown(2), which ext4
// has too. It returns the time just before: what was made durable by then must survive.
func (d *Disk) Cut() (began time.Time) {
	d.t.Helper()
	const goingDown, noLogFlush = 0x8004587d, 2
	dir, err := os.Open(d.Mount)
	if err != nil {
		d.t.Fatal(err)
	}
	defer dir.Close()
	began = time.Now()
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), goingDown, noLogFlush); err != nil {
		d.t.Fatalf("the disk does not go down: %v", err)
	}
	return began
}

// Again mounts the disk after a cut, once nobody has a file open there any more.
func (d *Disk) Again() {
	d.t.Helper()
	d.umount()
	for range 600 {
		if !d.attached() {
			d.must("mount", "-o", "loop", d.image, d.Mount)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.t.Fatal("the disk cannot be mounted again: another mount namespace holds it")
}

// attached reports whether a loop device has the image still. Another test's mount namespace, made meanwhile, may have a
// copy of the mount, and a mount would find the file system that went down there.
func (d *Disk) attached() bool {
	list, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, name := range list {
		if file, err := os.ReadFile(name); err == nil && string(bytes.TrimSpace(file)) == d.image {
			return true
		}
	}
	return false
}

func (d *Disk) umount() {
	d.t.Helper()
	var out []byte
	for range 100 {
		var err error
		if out, err = exec.Command("umount", d.Mount).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	exec.Command("umount", "-l", d.Mount).Run() // leave nothing behind
	d.t.Fatalf("umount: %s", out)
}

// Free returns how many bytes users may still write.
func (d *Disk) Free() int64 {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.Mount, &st); err != nil {
		d.t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}
