package owners

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/role"
)

// After a move to another host, or once the system has users for the roles, everything
// that a role writes is its own again.
func TestFoldersAreGivenToRolesWithOtherUIDs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	data := t.TempDir()
	files := map[string]role.Role{
		"log/postilion.log.queue":       role.Queue,
		"log/postilion.log.smtpd.3":     role.SMTPD,
		"queue/db/000002.log":           role.Queue,
		"auth/secrets.db":               role.Auth,
		"events/remote/2026-11-21.part": role.Remote,
	}
	for _, base := range []int{70_000, 80_000} {
		ids := New(base)
		if err := MakeFolders(data, ids); err != nil {
			t.Fatal(err)
		}
		for name := range files {
			path := filepath.Join(data, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); err == nil {
				continue // fs.protected_regular: not even root may create over another's file in log/
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := MakeFolders(data, ids); err != nil {
			t.Fatal(err)
		}
		for name, r := range files {
			st, err := os.Stat(filepath.Join(data, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := int(st.Sys().(*syscall.Stat_t).Uid); got != ids.roles[r].UID {
				t.Errorf("%s belongs to uid %d, want %d of role %s", name, got, ids.roles[r].UID, r)
			}
		}
	}
}

// Maildirs of another server are for their owner alone, as qmail's and Dovecot's are, and whose the copy is depends on how it was made.
func TestMaildirsThatWereCopiedInAreShared(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	data, disk, others := t.TempDir(), t.TempDir(), t.TempDir()
	if err := errors.Join(os.Symlink(disk, filepath.Join(data, "mail")), os.Chmod(others, 0o755)); err != nil { // on a disk of its own
		t.Fatal(err)
	}
	ids := New(70_000)
	if err := MakeFolders(data, ids); err != nil {
		t.Fatal(err)
	}
	local := ids.roles[role.Local].UID
	put := func(name string, uid, gid int) {
		t.Helper()
		path := filepath.Join(disk, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, uid, gid), os.Chown(filepath.Dir(path), uid, gid)); err != nil {
			t.Fatal(err)
		}
	}
	files := []string{"one.test/joe/Maildir/cur/1.a:2,S", "one.test/joe/Maildir/.Sent/new/2.a", "one.test/ann/Maildir/new/3.a", "two.test/joe/Maildir/uidlist"}
	for round := range 2 { // into folders that are new, and into those that are right
		put(files[0], 0, 0)
		put(files[1], local, 12345)
		put(files[2], 12345, 12345)
		put(files[3], 12345, ids.mail)
		if round == 0 {
			if err := os.Chown(disk, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		for _, link := range []string{"one.test/joe/Maildir/.Out", "one.test/ann/Maildir/cur"} {
			if err := os.Symlink(others, filepath.Join(disk, link)); err != nil && round == 0 {
				t.Fatal(err)
			}
		}
		if err := MakeFolders(data, ids); err != nil {
			t.Fatal(err)
		}
		if err := shareFolders(t.Context(), filepath.Join(data, "mail"), &mailShare{uid: local, gid: ids.mail}, mailLevels); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(others); err != nil || info.Mode() != os.ModeDir|0o755 || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("round %d: a folder outside that a link leads to has changed: %v, %v", round, info.Mode(), err)
		}
		for _, name := range files {
			for path := name; path != "."; path = filepath.Dir(path) {
				info, err := os.Stat(filepath.Join(disk, path))
				if err != nil {
					t.Fatal(err)
				}
				want, st := os.FileMode(0o660), info.Sys().(*syscall.Stat_t)
				if info.IsDir() {
					want = os.ModeDir | os.ModeSetgid | 0o770
				}
				if info.Mode() != want || int(st.Uid) != local || int(st.Gid) != ids.mail {
					t.Errorf("round %d: %s has mode %v and is of %d:%d, want %v of %d:%d", round, path, info.Mode(), st.Uid, st.Gid, want, local, ids.mail)
				}
			}
			os.RemoveAll(filepath.Join(disk, name))
		}
	}
}

// Whoever served a folder last owns its parts: another is told so before anything fails.
func TestAFolderThatAnotherServedIsRefusedWithACure(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	data := t.TempDir()
	ids := New(71_000)
	if err := errors.Join(os.Chown(data, 65_431, 65_431), MakeFolders(data, ids)); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := datafolder.ForeignOwner(data); ok {
		t.Error("root would become the folder's owner, who cannot read its parts any more")
	}
	if err := datafolder.CheckOwner(data); err != nil {
		t.Errorf("root is refused: %v", err)
	}
	if err := os.Chown(filepath.Join(data, "queue"), 65_431, 65_431); err != nil {
		t.Fatal(err)
	}
	if uid, _, ok := datafolder.ForeignOwner(data); !ok || uid != 65_431 {
		t.Errorf("the owner of an unprivileged user's folder is %d, %v", uid, ok)
	}
}
