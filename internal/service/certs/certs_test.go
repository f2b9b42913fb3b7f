package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/config"
)

func TestACertificateIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if made, err := SelfSign(cert, key, "one.example", time.Now()); !made || err != nil {
		t.Fatal(made, err)
	}
	if made, err := SelfSign(cert, key, "two.example", time.Now()); made || err != nil {
		t.Fatalf("a certificate was made over another: %v, %v", made, err)
	}
	// What a power cut leaves is completed: a key whose certificate was not written yet.
	kept, _ := os.ReadFile(key)
	os.Remove(cert)
	if made, err := SelfSign(cert, key, "one.example", time.Now()); !made || err != nil {
		t.Fatal(made, err)
	}
	if again, _ := os.ReadFile(key); string(again) != string(kept) {
		t.Error("the key was replaced")
	}
	c, err := Open(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Watch(ctx, time.Millisecond) }()
	defer func() { cancel(); <-done }()
	name := func() string {
		pair, _ := c.Config(config.TLS{}).GetCertificate(&tls.ClientHelloInfo{})
		return pair.Leaf.Subject.CommonName
	}
	if name() != "one.example" {
		t.Errorf("have %s", name())
	}
	// A key that does not fit changes nothing.
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(key, []byte("broken"), 0o600)
	<-time.After(20 * time.Millisecond)
	if name() != "one.example" {
		t.Errorf("have %s", name())
	}
	os.WriteFile(key, good, 0o600)
	os.Remove(cert)
	os.Remove(key)
	if _, err := SelfSign(cert, key, "two.example", time.Now()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); name() != "two.example"; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still %s", name())
		}
	}
}

// otherKey writes a key that fits no certificate, in the form that ACME clients write.
func otherKey(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A power cut while ACME's renewed pair is put in place leaves the key of one certificate beside another. The server
// has to start with it, or nobody ever puts the right pair there.
func TestAPairOfACMEThatDoesNotFitIsMadeAnew(t *testing.T) {
	t.Parallel()
	c := &config.Config{Host: "mx.example.test", Data: t.TempDir()}
	c.TLS.Cert, c.TLS.Key = "tls/cert.pem", "tls/key.pem"
	if err := Ensure(c, time.Now()); err != nil {
		t.Fatal(err)
	}
	otherKey(t, c.InData(c.TLS.Key))
	if err := Ensure(c, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(c.InData(c.TLS.Cert), c.InData(c.TLS.Key)); err == nil {
		t.Fatal("an operator's pair was replaced")
	}
	c.TLS.ACME = true
	if err := Ensure(c, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(c.InData(c.TLS.Cert), c.InData(c.TLS.Key)); err != nil {
		t.Error(err)
	}
}
