package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/service/certs"
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

// forRole returns the configuration as a role in a process of its own sees it: the
// certificate is the copy, and smtpd, which only asks what an address is, gets no relay's
// password.
func forRole(c *config.Config, r Role) *config.Config {
	seen := *c
	if outside(c) {
		seen.TLS.Cert, seen.TLS.Key = mirrorCert, mirrorKey
	}
	if r == SMTPD {
		seen.Route.NextHop = withoutLogin(c.Route.NextHop)
		seen.Route.Routes = nil
		for _, line := range c.Route.Routes {
			seen.Route.Routes = append(seen.Route.Routes, withoutLogin(line))
		}
	}
	return &seen
}

// withoutLogin takes user and password out of a route.
func withoutLogin(line string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(line), func(w string) bool {
		return strings.HasPrefix(w, "user=") || strings.HasPrefix(w, "password=")
	}), " ")
}

// mirrorCertificate copies the pair and gives it to the group; where it lies inside, it is
// given in place.
func mirrorCertificate(c *config.Config, ids *identities) error {
	if !outside(c) {
		return errors.Join(shareInPlace(c.InData(c.TLS.Key), ids.tls, 0o640), shareInPlace(c.InData(c.TLS.Cert), ids.tls, 0o644))
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
		p, err := certs.ReadPEM(c.InData(f.from), links)
		if err == nil {
			to := c.InData(f.to)
			if err = osfs.Replace(to, p, f.mode); err == nil {
				err = os.Lchown(to, 0, ids.tls)
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

// watchCertificate hands the pair over again when it has changed, until ctx ends.
func (n *Node) watchCertificate(ctx context.Context) {
	if n.ids == nil {
		return
	}
	cert, key := n.cfg.InData(n.cfg.TLS.Cert), n.cfg.InData(n.cfg.TLS.Key)
	seen := certs.StampsOf(cert, key)
	for clock.Sleep(ctx, max(n.cfg.TLS.Check, time.Second)) == nil {
		now := certs.StampsOf(cert, key)
		if now == seen {
			continue
		}
		seen = now
		if err := mirrorCertificate(n.cfg, n.ids); err != nil {
			n.log.Error("the changed certificate could not be handed to the roles", "error", err)
		}
	}
}
