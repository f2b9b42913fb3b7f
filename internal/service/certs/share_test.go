package certs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/config"
)

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
	before := StampsOf("/etc/hostname", "")
	if err := shareInPlace(link, 70_021, 0o640); err != nil {
		t.Error(err)
	}
	if StampsOf("/etc/hostname", "") != before {
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
	want := "read " + cert + ": it is a link in a role's folder: name the file that it leads to"
	if err := Share(c, 70_021); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if p, err := os.ReadFile(c.InData(mirrorCert)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy holds %q, %v", p, err)
	}
	if err := errors.Join(os.Remove(cert), syscall.Mkfifo(cert, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(cert, secret); err == nil || !strings.Contains(err.Error(), "it is no regular file") {
		t.Errorf("a FIFO: %v", err)
	}
}
