package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/service/certs"
)

// After a move to another host, or once the system has users for the roles, everything
// that a role writes is its own again.
func TestFoldersAreGivenToRolesWithOtherUIDs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	data := t.TempDir()
	files := map[string]Role{
		"log/postilion.log.queue":       Queue,
		"log/postilion.log.smtpd.3":     SMTPD,
		"queue/db/000002.log":           Queue,
		"auth/secrets.db":               Auth,
		"events/remote/2026-11-21.part": Remote,
	}
	for _, base := range []int{70_000, 80_000} {
		ids := newIdentities(base)
		if err := makeFolders(data, &ids); err != nil {
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
		if err := makeFolders(data, &ids); err != nil {
			t.Fatal(err)
		}
		for name, role := range files {
			st, err := os.Stat(filepath.Join(data, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := int(st.Sys().(*syscall.Stat_t).Uid); got != ids.roles[role].UID {
				t.Errorf("%s belongs to uid %d, want %d of role %s", name, got, ids.roles[role].UID, role)
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
	ids := newIdentities(70_000)
	if err := makeFolders(data, &ids); err != nil {
		t.Fatal(err)
	}
	local := ids.roles[Local].UID
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
		if err := makeFolders(data, &ids); err != nil {
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

// An operator's pair with root's rights is readable to both roles that need it.
func TestACertificateInItsFolderIsSharedWithTheGroup(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	key, link := filepath.Join(dir, "key.pem"), filepath.Join(dir, "link.pem")
	if err := errors.Join(os.WriteFile(key, []byte("secret"), 0o600), os.Symlink("/etc/hostname", link)); err != nil {
		t.Fatal(err)
	}
	if err := shareInPlace(key, 70_021, 0o640); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if gid := st.Sys().(*syscall.Stat_t).Gid; gid != 70_021 || st.Mode().Perm() != 0o640 {
		t.Errorf("the key has group %d and mode %v", gid, st.Mode())
	}
	before := certs.StampsOf("/etc/hostname", "")
	if err := shareInPlace(link, 70_021, 0o640); err != nil {
		t.Error(err)
	}
	if certs.StampsOf("/etc/hostname", "") != before {
		t.Error("a link was followed")
	}
}

// A role may not have root show it what root alone may read, nor hold root up.
func TestWhatARoleLaysIntoTLSIsNotCopiedByRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	c := &config.Config{Data: t.TempDir()}
	secret := filepath.Join(t.TempDir(), "shadow")
	c.TLS.Cert, c.TLS.Key = "tls/cert.pem", secret // one of the pair lies elsewhere: both are copied
	cert := c.InData(c.TLS.Cert)
	if err := errors.Join(os.WriteFile(secret, []byte("secret"), 0o600), os.Mkdir(filepath.Dir(cert), 0o700), os.Symlink(secret, cert)); err != nil {
		t.Fatal(err)
	}
	ids := newIdentities(70_000)
	want := "read " + cert + ": it is a link in a role's folder: name the file that it leads to"
	if err := mirrorCertificate(c, &ids); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if p, err := os.ReadFile(c.InData(mirrorCert)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy holds %q, %v", p, err)
	}
	if err := errors.Join(os.Remove(cert), syscall.Mkfifo(cert, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.Read(cert, secret); err == nil || !strings.Contains(err.Error(), "it is no regular file") {
		t.Errorf("a FIFO: %v", err)
	}
}
