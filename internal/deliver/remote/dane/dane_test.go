package dane

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/netx"
)

// signer is a certificate with its key.
type signer struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue makes a certificate, signed by another one or by itself.
func issue(t *testing.T, template x509.Certificate, by *signer) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject.CommonName = template.SerialNumber.String()
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if by == nil {
		by = &signer{&template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by.Certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{c, key}
}

// record is of a certificate.
func record(c *x509.Certificate, usage, selector, matching uint8) netx.TLSA {
	data := c.Raw
	if selector == selectKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return netx.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

// opinion is what OpenSSL, as a client of a server that shows the chain, finds of it.
func opinion(t *testing.T, records []netx.TLSA, chain []*x509.Certificate, key *ecdsa.PrivateKey, name string) bool {
	t.Helper()
	shown := tls.Certificate{PrivateKey: key}
	for _, c := range chain {
		shown.Certificate = append(shown.Certificate, c.Raw)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{shown}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		_ = c.(*tls.Conn).Handshake() // whether it is content, the client says
	}()
	args := []string{"s_client", "-connect", l.Addr().String(), "-verify_return_error", "-dane_ee_no_namechecks", "-dane_tlsa_domain", name}
	for _, r := range records {
		args = append(args, "-dane_tlsa_rrdata", fmt.Sprintf("%d %d %d %x", r.Usage, r.Selector, r.Matching, r.Data))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "openssl", args...).CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("Verification: OK")):
		return true
	case bytes.Contains(out, []byte("Verification error:")), bytes.Contains(out, []byte("certificate verify failed")):
		return false
	}
	t.Fatalf("OpenSSL says neither yes nor no:\n%s", out)
	return false
}

func TestCertificatesAreCheckedByRecords(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("openssl")
	hasOracle := err == nil
	authority := x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root := issue(t, authority, nil)
	between := issue(t, authority, root)
	named := x509.Certificate{DNSNames: []string{"mx.dest.test"}}
	server := issue(t, named, between)
	stranger := issue(t, authority, nil)
	old := named
	old.NotBefore, old.NotAfter = time.Now().Add(-30*time.Minute), time.Now().Add(-10*time.Minute)
	expired := issue(t, old, between)
	bare := issue(t, x509.Certificate{}, nil)
	forged := issue(t, named, stranger) // shown above an authority that did not sign it

	shownFirst := []*signer{server, expired, bare, forged}
	chain := []*x509.Certificate{server.Certificate, between.Certificate, root.Certificate}
	for _, c := range []struct {
		what    string
		records []netx.TLSA
		chain   []*x509.Certificate
		err     string
	}{
		{"the certificate's key", []netx.TLSA{record(server.Certificate, 3, 1, 1)}, chain, ""},
		{"the whole certificate", []netx.TLSA{record(server.Certificate, 3, 0, 0)}, chain[:1], ""},
		{"the certificate by SHA-512", []netx.TLSA{record(server.Certificate, 3, 0, 2)}, chain[:1], ""},
		{"one of two", []netx.TLSA{record(stranger.Certificate, 3, 1, 1), record(server.Certificate, 3, 1, 2)}, chain, ""},
		{"an expired one without a name", []netx.TLSA{record(bare.Certificate, 3, 1, 1)}, []*x509.Certificate{bare.Certificate}, ""},
		{"an expired one", []netx.TLSA{record(expired.Certificate, 3, 1, 1)}, []*x509.Certificate{expired.Certificate}, ""},
		{"the authority", []netx.TLSA{record(root.Certificate, 2, 0, 1)}, chain, ""},
		{"the authority between", []netx.TLSA{record(between.Certificate, 2, 1, 2)}, chain, ""},
		{"the authority between alone", []netx.TLSA{record(between.Certificate, 2, 1, 1)}, chain[:2], ""},
		{"a whole authority that is not shown", []netx.TLSA{record(root.Certificate, 2, 0, 0)}, chain[:2], ""},
		{"authority or certificate", []netx.TLSA{record(stranger.Certificate, 2, 0, 1), record(server.Certificate, 3, 1, 1)}, chain, ""},

		{"nothing is shown", []netx.TLSA{record(server.Certificate, 3, 1, 1)}, nil, "the server has shown no certificate"},
		{"another's key", []netx.TLSA{record(stranger.Certificate, 3, 1, 1)}, chain, "none of 1 TLSA records is of the certificates it shows"},
		{"the authority's digest for the server", []netx.TLSA{record(root.Certificate, 3, 1, 1)}, chain, "none of 1 TLSA records is of the certificates it shows"},
		{"the server's digest for the authority", []netx.TLSA{record(server.Certificate, 2, 1, 1)}, chain, "none of 1 TLSA records is of the certificates it shows"},
		{"an authority that is not shown", []netx.TLSA{record(root.Certificate, 2, 0, 1)}, chain[:2], "none of 1 TLSA records is of the certificates it shows"},
		{"an authority that did not sign it", []netx.TLSA{record(root.Certificate, 2, 0, 1)}, []*x509.Certificate{forged.Certificate, root.Certificate}, "its certificate is not right by the published authority: x509: certificate signed by unknown authority"},
		{"an expired one of the authority", []netx.TLSA{record(between.Certificate, 2, 0, 1)}, []*x509.Certificate{expired.Certificate, between.Certificate}, "its certificate is not right by the published authority: x509: certificate has expired"},
	} {
		var shown tls.ConnectionState
		shown.PeerCertificates = c.chain
		said := ""
		if err := Check(c.records, shown, []string{"alias.test", "mx.dest.test"}, time.Now()); err != nil {
			said = err.Error()
		}
		if (said == "") != (c.err == "") || !strings.HasPrefix(said, c.err) {
			t.Errorf("%s: %q, want %q", c.what, said, c.err)
		}
		if len(c.chain) == 0 || !hasOracle {
			continue
		}
		i := slices.IndexFunc(shownFirst, func(s *signer) bool { return s.Certificate == c.chain[0] })
		if got := opinion(t, c.records, c.chain, shownFirst[i].key, "mx.dest.test"); got != (c.err == "") {
			t.Errorf("%s: OpenSSL says %t", c.what, got)
		}
	}
	var shown tls.ConnectionState
	shown.PeerCertificates = chain
	err = Check([]netx.TLSA{record(root.Certificate, 2, 0, 1)}, shown, []string{"mx.other.test", "other.test"}, time.Now())
	if want := "its certificate is not right by the published authority: it is not for mx.other.test or other.test"; err == nil || err.Error() != want {
		t.Errorf("another host's certificate: %v, want %s", err, want)
	}
}

func TestUsableRecords(t *testing.T) {
	t.Parallel()
	of := func(usage, selector, matching uint8, length int) netx.TLSA {
		return netx.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: make([]byte, length)}
	}
	usable := []netx.TLSA{of(2, 0, 0, 1000), of(2, 1, 1, 32), of(3, 0, 2, 64), of(3, 1, 1, 32)}
	weak := of(3, 0, 1, 32) // beside a stronger one of the same thing
	none := []netx.TLSA{of(0, 0, 1, 32), of(1, 1, 1, 32), of(4, 1, 1, 32), of(255, 1, 1, 32), of(3, 2, 1, 32), of(3, 1, 3, 32), of(3, 1, 1, 31), of(3, 1, 1, 64), of(3, 1, 2, 32), of(3, 1, 0, 0)}
	if diff := cmp.Diff(usable, Usable(append(append(none, usable...), weak))); diff != "" {
		t.Error(diff)
	}
	if got := Usable(none); len(got) > 0 {
		t.Errorf("have %+v", got)
	}
}
