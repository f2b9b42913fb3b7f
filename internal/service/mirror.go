package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/config"
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
	in := func(name string) bool { return strings.HasPrefix(c.InData(name), filepath.Join(c.Data, "tls")+"/") }
	return !in(c.TLS.Cert) || !in(c.TLS.Key)
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

// mirrorCertificate copies the pair and gives it to the group.
func mirrorCertificate(c *config.Config, ids *identities) error {
	if !outside(c) {
		return nil
	}
	var errs []error
	for _, f := range []struct {
		from, to string
		mode     os.FileMode
	}{{c.TLS.Key, mirrorKey, 0o640}, {c.TLS.Cert, mirrorCert, 0o644}} {
		p, err := os.ReadFile(c.InData(f.from))
		if err == nil {
			to := c.InData(f.to)
			if err = replaceFile(to, p, f.mode); err == nil {
				err = os.Chown(to, 0, ids.tls)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// watchCertificate copies the pair again when it has changed, until ctx ends.
func (n *Node) watchCertificate(ctx context.Context) {
	if n.ids == nil || !outside(n.cfg) {
		return
	}
	cert, key := n.cfg.InData(n.cfg.TLS.Cert), n.cfg.InData(n.cfg.TLS.Key)
	seen := [2]fileStamp{stamp(cert), stamp(key)}
	t := time.NewTicker(max(n.cfg.TLS.Check, time.Second))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := [2]fileStamp{stamp(cert), stamp(key)}
		if now == seen {
			continue
		}
		seen = now
		if err := mirrorCertificate(n.cfg, n.ids); err != nil {
			n.log.Error("the changed certificate could not be handed to the roles", "error", err)
		}
	}
}
