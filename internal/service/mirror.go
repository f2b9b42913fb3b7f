package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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

// forRoles returns the configuration as roles of their own see it.
func forRoles(c *config.Config) *config.Config {
	if !outside(c) {
		return c
	}
	seen := *c
	seen.TLS.Cert, seen.TLS.Key = mirrorCert, mirrorKey
	return &seen
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
