// Package certs keeps the certificate that the server shows: it makes a self-signed one where there is none, reads the files again
// when they change, and has ACME (RFC 8555) issue and renew it.
//
// A pair that cannot be read changes nothing: the one before stays in use, and what is wrong is told.
package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// Certificate is the server's certificate, read again when its files change. New
// handshakes use the new one.
type Certificate struct {
	Cert, Key string // file names

	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]
	seen    Stamps
}

// Stamps tell whether the files of a pair have changed: they are equal as long as both are as they were.
type Stamps [2]fileStamp

// StampsOf looks at a pair's files.
func StampsOf(cert, key string) Stamps { return Stamps{stamp(cert), stamp(key)} }

type fileStamp struct {
	modified time.Time
	size     int64
	changed  syscall.Timespec // with its rights, which an operator may mend later
}

// Open reads the pair. The error says what is wrong with which file.
func Open(cert, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{Cert: cert, Key: key, log: log}
	return c, c.load()
}

func (c *Certificate) load() error {
	c.seen = StampsOf(c.Cert, c.Key)
	pair, err := Read(c.Cert, c.Key)
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	return nil
}

// Read reads a certificate with its key. The error says what is wrong with which file.
func Read(cert, key string) (tls.Certificate, error) {
	var pair tls.Certificate
	certText, err := ReadPEM(cert, 0)
	if err == nil {
		var keyText []byte
		if keyText, err = ReadPEM(key, 0); err == nil {
			pair, err = tls.X509KeyPair(certText, keyText)
		}
	}
	if err != nil {
		err = fmt.Errorf("certificate %s with key %s: %w", cert, key, err)
	}
	return pair, err
}

func stamp(name string) fileStamp {
	st, err := os.Stat(name)
	if err != nil {
		return fileStamp{}
	}
	f := fileStamp{modified: st.ModTime(), size: st.Size()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		f.changed = sys.Ctim
	}
	return f
}

// Watch looks at the files at each interval until ctx ends.
func (c *Certificate) Watch(ctx context.Context, every time.Duration) {
	for clock.Sleep(ctx, every) == nil {
		if c.seen == StampsOf(c.Cert, c.Key) {
			continue
		}
		if err := c.load(); err != nil {
			c.log.Error("the certificate changed and cannot be read; the old one stays in use", "error", err)
			continue
		}
		c.log.Info("certificate reloaded", "file", c.Cert, "expires", c.expires())
	}
}

func (c *Certificate) expires() time.Time {
	pair := c.current.Load()
	if pair == nil || pair.Leaf == nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter
}

// Config returns the TLS configuration of listeners.
func (c *Certificate) Config(o config.TLS) *tls.Config {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
	if o.MinTLS == "1.3" {
		t.MinVersion = tls.VersionTLS13
	}
	return t
}

// SelfSign makes a self-signed certificate for host unless there is a certificate. A key without
// one is what a power cut leaves between the two: the certificate is made for it. It reports whether it did.
func SelfSign(certFile, keyFile, host string, now time.Time) (made bool, err error) {
	if _, err := os.Lstat(certFile); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(certFile), 0o750); err != nil {
		return false, err
	}
	key, err := ensureKey(keyFile)
	if err != nil {
		return false, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return false, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{host, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		BasicConstraintsValid: true, IsCA: true, // clients that are told to trust it need the latter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return false, err
	}
	return true, writePEM(certFile, "CERTIFICATE", der, 0o644)
}

// Ensure makes a self-signed certificate where there is none. With ACME it also takes the place of a pair that does not
// fit, as a power cut leaves it between the files of a renewed one: ACME, which has both, puts them there again.
func Ensure(c *config.Config, now time.Time) error {
	cert, key := c.InData(c.TLS.Cert), c.InData(c.TLS.Key)
	if _, err := SelfSign(cert, key, c.Host, now); err != nil || !c.TLS.ACME {
		return err
	}
	_, err := Read(cert, key)
	if _, unread := errors.AsType[*fs.PathError](err); err == nil || unread {
		return err
	}
	if err := errors.Join(os.Remove(cert), os.Remove(key)); err != nil {
		return err
	}
	_, err = SelfSign(cert, key, c.Host, now)
	return err
}

// ensureKey reads the key in a file, or makes one there.
func ensureKey(file string) (crypto.Signer, error) {
	text, err := ReadPEM(file, 0)
	if err == nil {
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "PRIVATE KEY" {
			return nil, fmt.Errorf("%s has no certificate beside it, and is no PKCS #8 key in PEM to make one for", file)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("%s: this kind of key signs nothing", file)
		}
		return signer, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(file, "PRIVATE KEY", pkcs8, 0o640)
}

// writePEM writes a file that a power cut leaves whole or not there: without a certificate no role starts.
func writePEM(name, kind string, der []byte, mode fs.FileMode) error {
	return osfs.Replace(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// Check tells what is wrong with the pair that the server is to show. ACME's, and one that the server makes, are none of the
// operator's making.
func Check(c *config.Config) error {
	cert, key := c.InData(c.TLS.Cert), c.InData(c.TLS.Key)
	if c.TLS.ACME || missing(cert) && c.TLS.Cert == "tls/cert.pem" {
		return nil
	}
	_, err := Read(cert, key)
	return err
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return err != nil
}
