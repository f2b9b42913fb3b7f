package service

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/service/certs"
	"github.com/postilion/postilion/internal/service/listen"
	"github.com/postilion/postilion/internal/service/owners"
)

func TestACertificateThatCannotBeUsedIsToldBeforeTheStart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	c := &config.Config{Host: "mx.example.test", Data: data}
	c.TLS.Cert, c.TLS.Key = "tls/cert.pem", "tls/key.pem"
	f := &config.File{Config: c, Origins: map[string]config.Origin{"tls.cert": {From: "file", File: "postilion.toml", Line: 3}}}
	check := func() error { return owners.CheckFiles(f, nil, slog.New(slog.DiscardHandler)) }
	if err := check(); err != nil {
		t.Errorf("one that is still to be made: %v", err)
	}
	if err := certs.Ensure(c, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	c.TLS.Key = filepath.Join(data, "other.pem")
	if _, err := certs.SelfSign(filepath.Join(data, "other-cert.pem"), c.TLS.Key, c.Host, time.Now()); err != nil {
		t.Fatal(err)
	}
	want := "postilion.toml:3: key tls.cert: certificate " + data + "/tls/cert.pem with key " + data + "/other.pem: tls: private key does not match public key"
	if err := check(); err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
	c.TLS.Cert = filepath.Join(data, "missing.pem")
	if err := check(); err == nil || !strings.Contains(err.Error(), "missing.pem: no such file") {
		t.Errorf("have %v", err)
	}
}

// A server that serves is worth more than a restart that fails.
func TestARestartWithAMistakeInTheConfigurationChangesNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "postilion.toml")
	if err := os.WriteFile(file, []byte("host = \"mx.example.test\"\nnokey = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &Node{opts: Options{Config: file, Single: true}, log: slog.New(slog.DiscardHandler), stop: func() { t.Error("the server stops") }}
	if err := n.restart(""); err == nil || err.Error() != file+":2: there is no key nokey" {
		t.Errorf("have %v", err)
	}
	if n.again.Load() {
		t.Error("it starts anew")
	}
}

// So it is with an address that another program has, and with a path that is something else's.
func TestARestartThatCouldNotListenChangesNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file, kept := filepath.Join(dir, "postilion.toml"), filepath.Join(dir, "kept")
	if err := os.WriteFile(kept, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`host = "mx.example.test"
smtp.listen = [%q]
submission.listen = []
submissions.listen = []
pop3.listen = ["127.0.0.1:0"]
pop3s.listen = []
metrics.listen = []
inject.socket = %q
admin.socket = %q
`, taken.Addr(), kept, filepath.Join(dir, "nowhere", "x.sock"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &Node{opts: Options{Config: file, Single: true}, log: slog.New(slog.DiscardHandler), stop: func() { t.Error("the server stops") }}
	err = n.restart("")
	if err == nil || n.again.Load() {
		t.Fatalf("have %v, again %v", err, n.again.Load())
	}
	for _, want := range []string{
		"smtp: " + taken.Addr().String() + " is in use by process ",
		kept + " is there already, and no socket: remove it, or change inject.socket",
		"nowhere/x.sock: there is no folder " + dir + "/nowhere for the socket: make it, or change admin.socket",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
		}
	}
	if _, err := listen.Bind(dir, []listen.Socket{{Name: injectSocket, Path: kept, Open: true}}, nil, nil); err == nil {
		t.Error("a socket has taken a file's place")
	}
	if p, err := os.ReadFile(kept); err != nil || string(p) != "kept" {
		t.Errorf("the file holds %q, %v", p, err)
	}
	// What the server has itself is free when it restarts.
	own := listen.Bound{{Socket: listen.Socket{Name: "smtp"}, Listener: taken}}
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	if err := listen.Check([]listen.Socket{{Name: "smtp", Address: taken.Addr().String()}, {Name: "pop3", Address: ":" + port}}, own, nil); err != nil {
		t.Errorf("have %v", err)
	}
}
