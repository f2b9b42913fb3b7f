package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
	"github.com/postilion/postilion/internal/netx/nettest"
)

// authority is a certificate authority that speaks ACME: the test server of Let's Encrypt.
type authority struct {
	url   string
	roots string // file: what its own HTTPS is verified with
}

// newAuthority starts one that looks names up at dns and asks for challenges on httpPort.
func newAuthority(t *testing.T, dns string, httpPort int) authority {
	t.Helper()
	dir := newFolder(t)
	bin := filepath.Join(dir, "authority")
	build := exec.Command("go", "build", "-o", bin, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the test authority: %v\n%s", err, out)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key)
	addr := freeAddr(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "managementListenAddress": freeAddr(t), "certificate": cert, "privateKey": key,
		"httpPort": httpPort, "tlsPort": httpPort, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": 86400}},
	}})
	check(t, err, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600))
	cmd := exec.Command(bin, "-config", filepath.Join(dir, "config.json"), "-dnsserver", dns)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log e2etest.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the authority's log ends:\n%s", log.Tail())
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the authority does not listen: %v", err)
		}
	}
	return authority{url: "https://" + addr + "/dir", roots: cert}
}

// writeCertificate writes a certificate for 127.0.0.1 that verifies itself.
func writeCertificate(t *testing.T, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	check(t, err)
	private8, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err,
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private8}), 0o600))
}

// issuer returns who signed the certificate that a listener with implicit TLS shows.
func issuer(addr string) (string, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Issuer.CommonName, nil
}

func TestACertificateIsFetchedByACME(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		dns := nettest.NewDNS(t, nettest.Zone{"mail.example.test": {"A 127.0.0.1"}})
		challenges := freeAddr(t)
		_, port, _ := strings.Cut(challenges, ":")
		n, err := strconv.Atoi(port)
		check(t, err)
		ca := newAuthority(t, dns.Addr, n)
		o.config = map[string]string{
			"tls.acme": "true", "tls.acme_ca": strconv.Quote(ca.url), "tls.acme_roots": strconv.Quote(ca.roots),
			"tls.acme_http": strconv.Quote(challenges), "tls.check": `"100ms"`,
		}
		s := newServer(t, o)
		// Each role looks at the files for itself.
		shown := func(listener string) {
			t.Helper()
			for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				name, err := issuer(s.Addr[listener])
				if err == nil && strings.HasPrefix(name, "Pebble Intermediate CA") {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%s still shows a certificate signed by %q (%v)", listener, name, err)
				}
			}
		}
		shown("submissions")
		shown("pop3s")
		s.Stop()
		s.serve()
		if name, err := issuer(s.Addr["submissions"]); err != nil || !strings.HasPrefix(name, "Pebble Intermediate CA") {
			t.Errorf("after a restart the certificate is of %q (%v)", name, err)
		}
	})
}
