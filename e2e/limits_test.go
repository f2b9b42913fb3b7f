package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Mailboxes of users that take no more: a quota of the kernel's, a full file system, a limit of the size of files.
// What does not go in whole is not there at all, waits, and is told plainly to who looks.

// quotaHome gives a user of the tree a home that holds two megabytes and no more: a subvolume of btrfs with
// a quota, whose error is EDQUOT. It returns a function that lifts the quota.
func (h *qmailHost) quotaHome(t *testing.T, user string) (lift func()) {
	t.Helper()
	needProgram(t, "mkfs.btrfs", "btrfs", "mount")
	image, mount := filepath.Join(newFolder(t), "image"), filepath.Join(h.root, "home", user)
	check(t, os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20))
	output(t, "mkfs.btrfs", "-q", image)
	aside := mount + ".files"
	check(t, os.Rename(mount, aside), os.Mkdir(mount, 0o755))
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("skipped: btrfs, whose quotas are used, cannot be mounted here: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", mount).Run() })
	output(t, "btrfs", "quota", "enable", mount)
	output(t, "cp", "-a", aside+"/.", mount)
	check(t, os.RemoveAll(aside), os.Chown(mount, qmailUsers[user], qmailUsers[user]), os.Chmod(mount, 0o755))
	output(t, "sync", "-f", mount)
	output(t, "btrfs", "qgroup", "limit", "2M", mount)
	return func() { output(t, "btrfs", "qgroup", "limit", "none", mount) }
}

// smallHome gives a user a home on a file system of its own that is nearly full, whose error is ENOSPC.
func (h *qmailHost) smallHome(t *testing.T, user string) (lift func()) {
	t.Helper()
	mount := filepath.Join(h.root, "home", user)
	aside := mount + ".files"
	check(t, os.Rename(mount, aside), os.Mkdir(mount, 0o755))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=755,size=2m", "tmpfs", mount).CombinedOutput(); err != nil {
		t.Skipf("skipped: nothing can be mounted here: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", mount).Run() })
	output(t, "cp", "-a", aside+"/.", mount)
	check(t, os.RemoveAll(aside), os.Chown(mount, qmailUsers[user], qmailUsers[user]))
	return func() { output(t, "mount", "-o", "remount,size=64m", mount) }
}

func TestAMailboxThatIsFullHoldsWholeMessagesOnly(t *testing.T) {
	t.Parallel()
	for name, full := range map[string]struct {
		home func(*qmailHost, *testing.T, string) func()
		says string
	}{
		"quota":      {(*qmailHost).quotaHome, "disk quota exceeded"},
		"small disk": {(*qmailHost).smallHome, "no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newQmailHost(t, false, map[string]string{"var/qmail/control/queuelifetime": "600\n"}, map[string]string{"policy.databytes": "0"})
			lift := full.home(h, t, "joe")
			check(t, os.Remove(filepath.Join(h.root, "var/qmail/control/databytes")))
			h.serve()
			small := func(to, subject string) {
				check(t, h.Send("you@far.example", to, letter(subject)))
				h.eventually(t, func() string {
					if len(h.found(t, subject)) == 1 {
						return ""
					}
					return fmt.Sprint(subject, " is in ", h.found(t, subject), "; waiting: ", h.waiting(t))
				})
			}
			box := filepath.Join(h.root, "home/joe/Mailbox")
			small("joe@example.test", "before-in-the-maildir.")
			small("joe-mbox@example.test", "before-in-the-mbox.")
			before, err := os.ReadFile(box)
			check(t, err)

			// Three megabytes fit neither into the Maildir nor into the mbox, nor through a program.
			line := strings.Repeat("x", 70) + "\r\n"
			for _, to := range []string{"joe@example.test", "joe-mbox@example.test", "joe-pipe@example.test"} {
				check(t, h.Send("you@far.example", to, append(letter("too-large-for-"+to+"."), strings.Repeat(line, 3<<20/len(line))...)))
				h.eventually(t, func() string {
					said := strings.ToLower(h.waiting(t))
					if _, about, found := strings.Cut(said, to); !found || to != "joe-pipe@example.test" && !strings.Contains(about, full.says) {
						return fmt.Sprintf("%s is not told of %q: %s", to, full.says, said)
					}
					return ""
				})
			}
			if after, err := os.ReadFile(box); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the mbox has %d bytes, before %d (%v)", len(after), len(before), err)
			}
			if found, _ := filepath.Glob(filepath.Join(h.root, "home/joe/Maildir/*/*")); len(found) != 1 {
				t.Errorf("the Maildir has more than the message before: %q", found)
			}
			// Others' mail goes on, and the operator sees what waits and why.
			check(t, h.Send("you@far.example", "jane@example.test", letter("others.")))
			h.eventually(t, func() string {
				if len(h.found(t, "others.")) == 2 {
					return ""
				}
				return "jane's mail waits"
			})
			h.deferred(3)
			lift()
			h.Must("flush")
			h.eventually(t, func() string {
				if q := h.waiting(t); strings.Contains(q, "example.test") {
					return "still waiting: " + q
				}
				return ""
			})
			small("webmaster@example.test", "after-that.")
			for _, to := range []string{"joe@example.test", "joe-mbox@example.test"} {
				if n := len(h.found(t, "too-large-for-"+to+".")); n != 1 {
					t.Errorf("%s has its message %d times after room was made", to, n)
				}
			}
		})
	}
}

// A limit of the size of files ends a program of a user, not the role that delivers, and an mbox that this
// writes under such a limit holds whole messages.
func TestALimitOfFilesSizesLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, false, nil, map[string]string{"runas.program_file_size": `"1MiB"`})
	check(t, os.Remove(filepath.Join(h.root, "var/qmail/control/databytes")))
	// All of the server is started under a limit, as an operator's shell may have one: 64 MiB, in 512 bytes. The
	// mbox has nearly as much.
	h.Wrap = []string{"sh", "-c", `ulimit -f 131072; exec "$@"`, "sh"}
	box := filepath.Join(h.root, "home/joe/Mailbox")
	old := bytes.Repeat([]byte("From old@far.example Thu Jan  1 00:00:00 1970\n\nold\n\n"), 60<<20/52)
	check(t, os.WriteFile(box, old, 0o600), os.Chown(box, qmailUsers["joe"], qmailUsers["joe"]))
	h.serve()
	line := strings.Repeat("x", 70) + "\r\n"
	check(t, h.Send("you@far.example", "joe-mbox@example.test", letter("small.")))
	h.eventually(t, func() string {
		if len(h.found(t, "small.")) == 1 {
			return ""
		}
		return h.waiting(t)
	})
	before, err := os.ReadFile(box)
	check(t, err)
	// The mbox grows by messages until the limit; the one that does not fit is not in it.
	large := func(to string, i int) { // 1.5 MiB each
		check(t, h.Send("you@far.example", to, append(letter("part-"+strconv.Itoa(i)+"."), strings.Repeat(line, 3<<19/len(line))...)))
	}
	for i := range 3 {
		large("joe-mbox@example.test", i)
	}
	large("joe-pipe@example.test", 3) // its program may write 1 MiB
	h.eventually(t, func() string {
		said := strings.ToLower(h.waiting(t))
		if strings.Count(said, "joe-mbox@example.test") == 0 || !strings.Contains(said, "joe-pipe@example.test") || !strings.Contains(said, "file too large") {
			return "not told of: " + said
		}
		return ""
	})
	after, err := os.ReadFile(box)
	check(t, err)
	whole := 0
	for part := range bytes.SplitSeq(after, []byte("\nFrom ")) {
		if n := bytes.Count(part, []byte("xxxxxxxxx\n")); n != 0 && n != 3<<19/len(line) {
			t.Errorf("the mbox has a message of %d lines", n)
		} else if n != 0 {
			whole++
		}
	}
	if !bytes.HasPrefix(after, before) || whole != 2 || len(after) > 64<<20 {
		t.Errorf("the mbox has %d whole messages in %d bytes", whole, len(after))
	}
	check(t, h.Send("you@far.example", "jane@example.test", letter("others.")))
	h.eventually(t, func() string {
		if len(h.found(t, "others.")) == 2 {
			return ""
		}
		return "jane's mail waits"
	})
}
