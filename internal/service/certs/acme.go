package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/postilion/postilion/internal/config"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// Keeper keeps the certificate's files fresh by ACME (RFC 8555). It writes them
// where every role's listeners read and watch them; before the first certificate has been
// issued they hold a self-signed one.
type Keeper struct {
	Host      string
	Options   config.TLS
	Store     string       // folder of account and certificates
	Cert, Key string       // file names
	Listener  net.Listener // for HTTP challenges
	Log       *slog.Logger
}

// Run obtains and renews until ctx ends. Failures are logged and tried again by certmagic.
func (k *Keeper) Run(ctx context.Context) error {
	var magic *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return magic, nil },
		Logger:           zap.NewNop(),
	})
	defer cache.Stop()
	magic = certmagic.New(cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: k.Store},
		Logger:  zap.NewNop(),
		OnEvent: func(_ context.Context, event string, data map[string]any) error {
			switch event {
			case "cert_obtained", "cached_managed_cert":
				k.export(ctx, magic)
			case "cert_failed":
				k.Log.Error("the certificate authority refused; it will be asked again", "host", k.Host, "error", data["error"])
			}
			return nil
		},
	})
	roots, err := k.roots()
	if err != nil {
		return err
	}
	address := k.Listener.Addr().(*net.TCPAddr)
	issuer := certmagic.NewACMEIssuer(magic, certmagic.ACMEIssuer{
		CA: k.Options.ACMECA, TrustedRoots: roots, Email: k.Options.ACMEEmail, Agreed: true, Logger: zap.NewNop(),
		// The challenge is answered by server below, on the listener that root has bound for us.
		DisableTLSALPNChallenge: true, AltHTTPPort: address.Port, ListenHost: host(address),
	})
	magic.Issuers = []certmagic.Issuer{issuer}
	server := challengeServer(issuer.HTTPChallengeHandler(http.NotFoundHandler()))
	defer server.Close()
	go func() {
		if err := server.Serve(atMost(k.Listener, maxChallengers)); !errors.Is(err, http.ErrServerClosed) {
			k.Log.Error("ACME challenges cannot be answered", "error", err)
		}
	}()
	if err := magic.ManageAsync(ctx, []string{k.Host}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// maxChallengers bounds the connections of those who ask for challenges. Their port is open to everybody, and mail's
// listeners live in the same process: they must not be left without descriptors.
const maxChallengers = 500

// challengeServer answers one small request a connection, in little time.
func challengeServer(h http.Handler) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog: log.New(io.Discard, "", 0)} // it would repeat what clients say
	s.SetKeepAlivesEnabled(false)
	return s
}

// limited is a listener whose connections are n at once; further ones wait in the system.
type limited struct {
	net.Listener
	slots chan struct{}
	once  sync.Once
	ended chan struct{}
}

func atMost(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), ended: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

// slotConn gives its place back.
type slotConn struct {
	net.Conn
	free func()
}

// Close implements net.Conn.
func (c *slotConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// roots returns what the authority's own server is verified with; nil is the system's.
func (k *Keeper) roots() (*x509.CertPool, error) {
	if k.Options.ACMERoots == "" {
		return nil, nil
	}
	p, err := os.ReadFile(k.Options.ACMERoots)
	if err != nil {
		return nil, fmt.Errorf("tls.acme_roots: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p) {
		return nil, fmt.Errorf("tls.acme_roots: %s holds no certificate in PEM", k.Options.ACMERoots)
	}
	return pool, nil
}

// host returns the address's host as a listener takes it: "" for all.
func host(a *net.TCPAddr) string {
	if a.IP.IsUnspecified() {
		return ""
	}
	return a.IP.String()
}

// export copies the managed certificate to the files that listeners watch: the key
// first, so that a pair read in between fails and is read again.
func (k *Keeper) export(ctx context.Context, magic *certmagic.Config) {
	issuer := magic.Issuers[0].IssuerKey()
	for _, f := range []struct {
		from, to string
		mode     os.FileMode
	}{
		{certmagic.StorageKeys.SitePrivateKey(issuer, k.Host), k.Key, 0o640},
		{certmagic.StorageKeys.SiteCert(issuer, k.Host), k.Cert, 0o644},
	} {
		p, err := magic.Storage.Load(ctx, f.from)
		if err == nil {
			err = osfs.Replace(f.to, p, f.mode)
		}
		if err != nil {
			k.Log.Error("the new certificate could not be put in place", "file", f.to, "error", err)
			return
		}
	}
}
