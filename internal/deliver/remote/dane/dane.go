// Package dane checks a mail server's certificate by the TLSA records that the owner of
// its name has published (RFC 6698, as RFC 7671 and RFC 7672 narrow it for SMTP).
//
// The records must have come through DNSSEC: whether they did, the caller knows. Which
// certificate authorities this host trusts plays no part.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/netx"
)

// The values that SMTP uses (RFC 7672 3.1).
const (
	usageTA = 2 // Data is of the authority that signed the server's certificate
	usageEE = 3 // Data is of the server's certificate itself

	selectCert = 0 // the whole certificate
	selectKey  = 1 // its public key

	matchExact  = 0
	matchSHA256 = 1
	matchSHA512 = 2
)

// Usable returns the records that certificates can be checked by. Those for use with public
// authorities (usages 0 and 1) are none (RFC 7672 3.1.3), and of digests of one thing the strongest kind
// counts alone (RFC 7671 9).
func Usable(records []netx.TLSA) []netx.TLSA {
	var usable []netx.TLSA
	for _, r := range records {
		if (r.Usage == usageTA || r.Usage == usageEE) && r.Selector <= selectKey && hasLength(r) {
			usable = append(usable, r)
		}
	}
	return slices.DeleteFunc(usable, func(weak netx.TLSA) bool {
		return weak.Matching == matchSHA256 && slices.ContainsFunc(usable, func(r netx.TLSA) bool {
			return r.Matching == matchSHA512 && r.Usage == weak.Usage && r.Selector == weak.Selector
		})
	})
}

// hasLength reports whether a record's data can be what its matching type says.
func hasLength(r netx.TLSA) bool {
	switch r.Matching {
	case matchExact:
		return len(r.Data) > 0
	case matchSHA256:
		return len(r.Data) == sha256.Size
	case matchSHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Check checks what a server has shown in a handshake. records are usable ones; names are those that a
// certificate signed by a published authority may be for; now is the time to check such a one at. A certificate that is published itself
// may be for any name and of any age (RFC 7672 3.1.1). The error tells what was missed.
func Check(records []netx.TLSA, shown tls.ConnectionState, names []string, now time.Time) error {
	chain := shown.PeerCertificates
	if len(chain) == 0 {
		return errors.New("the server has shown no certificate")
	}
	var why error
	for _, r := range records {
		if r.Usage == usageEE {
			if matches(r, chain[0]) {
				return nil
			}
			continue
		}
		anchors := slices.DeleteFunc(slices.Clone(chain[1:]), func(c *x509.Certificate) bool { return !matches(r, c) })
		if published, err := x509.ParseCertificate(r.Data); err == nil && r.Matching == matchExact && r.Selector == selectCert {
			anchors = append(anchors, published) // it need not be shown too (RFC 7671 5.2.2)
		}
		for _, anchor := range anchors {
			if why = signed(chain, anchor, names, now); why == nil {
				return nil
			}
		}
	}
	if why != nil {
		return fmt.Errorf("its certificate is not right by the published authority: %w", why)
	}
	return fmt.Errorf("none of %d TLSA records is of the certificates it shows", len(records))
}

// signed reports why the first certificate of the chain is not one that the anchor vouches for.
func signed(chain []*x509.Certificate, anchor *x509.Certificate, names []string, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(anchor)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now}); err != nil {
		return err
	}
	if !slices.ContainsFunc(names, func(n string) bool { return chain[0].VerifyHostname(n) == nil }) {
		return fmt.Errorf("it is not for %s", strings.Join(names, " or "))
	}
	return nil
}

// matches reports whether a record is of the certificate.
func matches(r netx.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == selectKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}
