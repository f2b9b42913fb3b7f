package certs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/postilion/postilion/internal/config"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// With roles apart, a certificate that lies outside of the data folder is often for root's
// eyes alone (certbot's is). The supervisor copies it to where smtpd and access may read it,
// again whenever it changes.
const (
	mirrorCert = "tls/copy-of-cert.pem"
	mirrorKey  = "tls/copy-of-key.pem"
)

// outside reports whether the certificate needs to be copied.
func outside(c *config.Config) bool {
	return !inTLS(c, c.TLS.Cert) || !inTLS(c, c.TLS.Key)
}

// inTLS reports whether a file lies in tls/, in which a role may put others.
func inTLS(c *config.Config, name string) bool {
	return strings.HasPrefix(c.InData(name), filepath.Join(c.Data, "tls")+"/")
}

// ForRoles names the pair that roles apart are to use.
func ForRoles(c *config.Config) (cert, key string) {
	if outside(c) {
		return mirrorCert, mirrorKey
	}
	return c.TLS.Cert, c.TLS.Key
}

// Share copies the pair and gives it to the group of the roles that show it; where it lies inside, it is
// given in place.
func Share(c *config.Config, group int) error {
	if !outside(c) {
		return errors.Join(shareInPlace(c.InData(c.TLS.Key), group, 0o640), shareInPlace(c.InData(c.TLS.Cert), group, 0o644))
	}
	var errs []error
	for _, f := range []struct {
		from, to string
		mode     os.FileMode
	}{{c.TLS.Key, mirrorKey, 0o640}, {c.TLS.Cert, mirrorCert, 0o644}} {
		links := 0
		if inTLS(c, f.from) {
			links = syscall.O_NOFOLLOW // a role's would show it what root alone may read
		}
		p, err := ReadPEM(c.InData(f.from), links)
		if err == nil {
			to := c.InData(f.to)
			if err = osfs.Replace(to, p, f.mode); err == nil {
				err = os.Lchown(to, 0, group)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// shareInPlace lets the group read a file that an operator has put there. The folder is a
// role's: links are not followed, and nothing is changed that is right already.
func shareInPlace(name string, group int, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil // a link leads to what the operator sees to himself
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Nlink != 1 {
		return fmt.Errorf("%s is no file of its own", name)
	}
	if int(st.Gid) == group && info.Mode().Perm() == mode {
		return nil
	}
	return errors.Join(f.Chown(-1, group), f.Chmod(mode))
}
