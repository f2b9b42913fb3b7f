package smtpd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/intake/intaketest"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

// fakeRouter knows example.test with its alias domain alias.test, and small.test.
type fakeRouter struct{}

var accounts = map[string]*directory.Account{
	"joe":        {ID: 1, Address: mail.Address{Local: "joe", Domain: "example.test"}},
	"mute":       {ID: 2, Address: mail.Address{Local: "mute", Domain: "example.test"}, NoSend: true},
	"tiny":       {ID: 3, Address: mail.Address{Local: "tiny", Domain: "example.test"}, MaxSize: 200, MaxRecipients: 2},
	"full":       {ID: 4, Address: mail.Address{Local: "full", Domain: "example.test"}},
	"postmaster": {ID: 5, Address: mail.Address{Local: "postmaster", Domain: "example.test"}},
	"jörg":       {ID: 6, Address: mail.Address{Local: "jörg", Domain: "example.test"}},
}

func (fakeRouter) Route(_ context.Context, to mail.Address) (route.Route, error) {
	switch strings.ToLower(to.Domain) {
	case "example.test", "alias.test", "", "[127.0.0.1]", "localhost":
	case "broken.test":
		return route.Route{}, reason.DirectoryUnavailable
	default:
		return route.Route{Kind: route.Remote, Final: to, Next: route.NextHop{Domain: to.Domain}}, nil
	}
	r := route.Route{Local: true, Final: to, Domain: &directory.Domain{Name: "example.test"}}
	local, _, _ := strings.Cut(strings.ToLower(to.Local), "+")
	if a := accounts[local]; a != nil {
		r.Kind, r.Account = route.Mailbox, a
		return r, nil
	}
	switch local {
	case "info":
		r.Kind, r.Targets = route.Forward, []mail.Address{accounts["joe"].Address}
	case "team":
		r.Kind, r.Targets = route.Forward, []mail.Address{accounts["joe"].Address, accounts["tiny"].Address}
	case "odd":
		r.Err = reason.BadAddress.With(to.String())
	default:
		r.Err = reason.MailboxUnknown.With(to.String())
	}
	return r, nil
}

// fakeAuth knows joe, mute, tiny with the password "secret".
type fakeAuth struct{}

func fakeIdentity(user string) (auth.Identity, bool) {
	local, domain, _ := strings.Cut(user, "@")
	a := accounts[local]
	if a == nil || domain != "example.test" {
		return auth.Identity{}, false
	}
	return auth.Identity{Account: a.ID, Address: a.Address.String()}, true
}

func (fakeAuth) Password(_ context.Context, _ auth.Attempt, user, password string) (auth.Identity, error) {
	if who, ok := fakeIdentity(user); ok && password == "secret" {
		return who, nil
	}
	if user == "blocked" {
		return auth.Identity{}, auth.Blocked.With("60")
	}
	return auth.Identity{}, auth.Failed
}

func (fakeAuth) APOP(context.Context, auth.Attempt, string, string, string) (auth.Identity, error) {
	return auth.Identity{}, auth.Failed
}

// Allowed blocks 127.0.0.66.
func (fakeAuth) Allowed(_ context.Context, client netip.Addr) error {
	if client == netip.MustParseAddr("127.0.0.66") {
		return auth.Blocked.With("60")
	}
	return nil
}

func (fakeAuth) SCRAM(_ context.Context, _ auth.Attempt, bindings []auth.ChannelBinding) (auth.Conversation, error) {
	server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) {
		if _, ok := fakeIdentity(user); !ok {
			return scram.StoredCredentials{}, auth.Failed
		}
		c, _ := scram.SHA256.NewClient(user, "secret", "")
		return c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	})
	if err != nil {
		return nil, err
	}
	f := &fakeConversation{}
	if len(bindings) > 0 {
		f.c = server.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: bindings[0].Data})
	} else {
		f.c = server.NewConversation()
	}
	return f, nil
}

type fakeConversation struct{ c *scram.ServerConversation }

func (f *fakeConversation) Step(_ context.Context, response []byte) ([]byte, bool, error) {
	out, err := f.c.Step(string(response))
	if err != nil {
		return nil, false, auth.Failed.Because(err)
	}
	return []byte(out), f.c.Done(), nil
}

func (f *fakeConversation) Identity() auth.Identity {
	who, _ := fakeIdentity(f.c.Username())
	return who
}

func (f *fakeConversation) Close() error { return nil }

// world is a server with fakes around it.
type world struct {
	queue   *intaketest.Queue
	events  *tracetest.Events
	options Options
	policy  policy.Options
	submit  submit.Options
	deps    Deps
	full    error
	client  netip.Addr
	rules   client.Options
	ptr     string
	lists   []string
	closed  bool          // lists that do not answer refuse
	quota   *reason.Error // of full@example.test
	filters *submit.Filters
}

// fakeDNS has one name for each address, and lists every address in names that begin with
// "bl."; names that begin with "silent." get no answer.
type fakeDNS struct {
	ptr    string
	client netip.Addr
}

func (f fakeDNS) PTR(context.Context, netip.Addr) (r netx.Result[string], err error) {
	r.Records = []string{f.ptr}
	return r, nil
}

func (f fakeDNS) Addrs(context.Context, string) (r netx.Result[netip.Addr], err error) {
	r.Records = []netip.Addr{f.client}
	return r, nil
}

func (f fakeDNS) A(_ context.Context, name string) (r netx.Result[netip.Addr], err error) {
	if strings.Contains(name, ".silent.") {
		return r, &netx.DNSError{Outcome: netx.ErrTemporary}
	}
	if !strings.Contains(name, ".bl.") {
		return r, &netx.DNSError{Outcome: netx.ErrNoName}
	}
	r.Records = []netip.Addr{netip.MustParseAddr("127.0.0.2")}
	return r, nil
}

func (f fakeDNS) TXT(context.Context, string) (r netx.Result[string], err error) {
	r.Records = []string{"spam source"}
	return r, nil
}

func newWorld() *world {
	return &world{
		queue: new(intaketest.Queue), events: new(tracetest.Events), client: netip.MustParseAddr("192.0.2.7"),
		quota:   reason.QuotaExceeded,
		options: Options{Host: "mx.example.test"}, submit: submit.Options{Host: "mx.example.test"},
	}
}

// server makes the server.
func (w *world) server(t testing.TB) *Server {
	t.Helper()
	p, err := policy.New(w.policy)
	if err != nil {
		t.Fatal(err)
	}
	dns := fakeDNS{w.ptr, w.client}
	lists, err := dnsbl.New(dnsbl.Options{Lists: w.lists, FailClosed: w.closed}, dns, nil)
	if err == nil {
		w.deps.Clients, err = client.New("smtp", w.rules, client.Deps{Resolver: dns, Lists: lists})
	}
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewFake(intaketest.Epoch)
	w.deps.Events, w.deps.Clock = w.events, c
	w.deps.Submit = submit.New(w.submit, submit.Deps{
		Queue: w.queue, Router: fakeRouter{}, Policy: p, Events: w.events, Clock: c, IDs: id.Source{Clock: c},
		Filters: w.filters,
		Full:    func() error { return w.full },
		Quota: func(_ context.Context, a *directory.Account, _ int64) error {
			if a.ID == 4 {
				return w.quota
			}
			return nil
		},
	})
	s, err := New(w.options, w.deps)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// session starts a session of s over loopback and returns the client's end. It ends with the test.
func (w *world) session(ctx context.Context, t testing.TB, s *Server) net.Conn {
	t.Helper()
	conn, _ := intaketest.Session(ctx, t, s, w.client.String())
	return conn
}

// certificate is a self-signed one for mx.example.test.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }
