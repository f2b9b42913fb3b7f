package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// oneLine is a protocol that says a line, over TLS when it begins that itself, and ends.
type oneLine struct{ start *tls.Config }

func (o oneLine) Serve(ctx context.Context, c *Conn) {
	if o.start != nil {
		io.WriteString(c, "start\n")
		if err := c.StartTLS(ctx, o.start, 5*time.Second); err != nil {
			return
		}
	}
	io.WriteString(c, "bye\n")
}

func (oneLine) Refuse(*Conn, string) {}

// recorded keeps what is read.
type recorded struct {
	net.Conn
	read []byte
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.read = append(r.read, p[:n]...)
	return n, err
}

// lastRecord returns the kind of the last of some TLS records: kind, version, length, content.
func lastRecord(p []byte) (kind byte) {
	for len(p) >= 5 {
		kind = p[0]
		p = p[min(len(p), 5+int(p[3])<<8+int(p[4])):]
	}
	return kind
}

// Without the notice clients cannot tell the end from an attacker's cut (RFC 8446 6.1), and
// OpenSSL 3 reports an error.
func TestTheEndIsToldOverTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	for name, s := range map[string]*Server{
		"from the first byte": {Name: "pop3s", Handler: oneLine{}, TLS: config},
		"begun later":         {Name: "pop3", Handler: oneLine{config}},
	} {
		addr, _ := start(t, s)
		c := dial(t, addr)
		if s.TLS == nil {
			c.want("start")
		}
		seen := &recorded{Conn: c.Conn}
		// In TLS 1.2 the kind of a record is not hidden.
		over := tls.Client(seen, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if text, err := io.ReadAll(over); string(text) != "bye\n" {
			t.Fatalf("%s: %q, %v", name, text, err)
		}
		const alert = 21 // RFC 5246 6.2.1
		if kind := lastRecord(seen.read); kind != alert {
			t.Errorf("%s: the last record is of kind %d, want an alert", name, kind)
		}
	}
}
