package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
)

// names answers PTR and addresses; slow takes ten minutes.
type names struct {
	ptr   map[string][]string
	addrs map[string]string
	slow  bool
}

func (n names) wait(ctx context.Context) error {
	if !n.slow {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Minute):
		return nil
	}
}

func (n names) PTR(ctx context.Context, a netip.Addr) (r netx.Result[string], err error) {
	if err := n.wait(ctx); err != nil {
		return r, &netx.DNSError{Outcome: netx.ErrTemporary}
	}
	r.Records = n.ptr[a.String()]
	if r.Records == nil {
		err = &netx.DNSError{Outcome: netx.ErrNoName}
	}
	return r, err
}

func (n names) Addrs(_ context.Context, name string) (r netx.Result[netip.Addr], err error) {
	a, ok := n.addrs[name]
	if !ok {
		return r, &netx.DNSError{Outcome: netx.ErrNoName}
	}
	r.Records = []netip.Addr{netip.MustParseAddr(a)}
	return r, nil
}

func (n names) A(ctx context.Context, name string) (r netx.Result[netip.Addr], err error) {
	return n.Addrs(ctx, name)
}

func (n names) TXT(context.Context, string) (r netx.Result[string], err error) {
	return r, &netx.DNSError{Outcome: netx.ErrNoData}
}

// ident answers like identd on a pipe.
func ident(t testing.TB, answer string) func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
	return func(_ context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
		if to.Port() != 113 || from != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("asked %v from %v", to, from)
		}
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			line, _ := bufio.NewReader(server).ReadString('\n')
			if line == "4711 , 25\r\n" {
				_, _ = io.WriteString(server, answer)
			}
		}()
		return client, nil
	}
}

// fakeAddr is a connection that says where it comes from.
type fakeAddr struct {
	net.Conn
	from netip.AddrPort
}

func (f fakeAddr) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(f.from) }

func conn(addr string) *serve.Conn {
	from := netip.AddrPortFrom(netip.MustParseAddr(addr), 4711)
	return &serve.Conn{Conn: fakeAddr{from: from}, ID: id.Source{}.New(), Client: from, Server: netip.MustParseAddrPort("127.0.0.1:25")}
}

func rulesFile(t testing.TB, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func TestNamesAndIdentAreKnownWhenTheyLeadBack(t *testing.T) {
	t.Parallel()
	dns := names{ptr: map[string][]string{"192.0.2.7": {"liar.test", "mx.test"}, "192.0.2.8": {"liar.test"}}, addrs: map[string]string{"mx.test": "192.0.2.7", "liar.test": "192.0.2.99"}}
	for _, c := range []struct {
		addr, answer, rules, want string
	}{
		{"192.0.2.7", "4711 , 25 : USERID : UNIX : joe\r\n", "", "mx.test joe allow"},
		{"192.0.2.8", "4711,25:USERID:OTHER: a b\x01\r\n", "", " a?b? allow"},
		{"192.0.2.9", "4711 , 25 : ERROR : NO-USER\r\n", "", "  allow"},
		{"192.0.2.9", "1 , 25 : USERID : UNIX : joe\r\n", "", "  allow"},
		{"192.0.2.9", strings.Repeat("x", 5000), "", "  allow"},
		{"192.0.2.7", "4711 , 25 : USERID : UNIX : joe\r\n", "joe@=mx.test:deny\n", "mx.test joe deny"},
		{"192.0.2.7", "4711 , 25 : USERID : UNIX : ann\r\n", "joe@=mx.test:deny\n=.test:allow,RELAYCLIENT=\"\"\n", "mx.test ann relay"},
		{"192.0.2.8", "", "=liar.test:deny\n", "  allow"},
	} {
		o := Options{ReverseNames: true, Ident: true}
		if c.rules != "" {
			o.Rules = rulesFile(t, c.rules)
		}
		k, err := New("smtp", o, Deps{Resolver: dns, Dial: ident(t, c.answer)})
		if err != nil {
			t.Fatal(err)
		}
		x := k.Begin(conn(c.addr))
		if e := x.Early(); e.Refused() {
			t.Errorf("%s: refused before its name is known", c.addr)
		}
		n := x.Await(context.Background())
		got := fmt.Sprint(n.Host, " ", n.Info, " ")
		switch {
		case n.Refused():
			got += "deny"
		case n.Grant != nil && n.Grant.Relay:
			got += "relay"
		default:
			got += "allow"
		}
		if got != c.want {
			t.Errorf("%s, ident %.40q, rules %q: %q, want %q", c.addr, c.answer, c.rules, got, c.want)
		}
		x.End()
	}
}

func TestSlowNamesAreWaitedForWithinBoundsAndNeverEarly(t *testing.T) {
	t.Parallel()
	file := rulesFile(t, "=mx.test:deny\n")
	synctest.Test(t, func(t *testing.T) {
		dial := func(ctx context.Context, _ netip.Addr, _ netip.AddrPort) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		k, err := New("smtp", Options{Rules: file, Ident: true, LookupTimeout: 7 * time.Second}, Deps{Resolver: names{slow: true}, Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		x := k.Begin(conn("192.0.2.7"))
		defer x.End()
		if e := x.Early(); e.Refused() || time.Since(began) != 0 {
			t.Errorf("early after %v: %+v", time.Since(began), e)
		}
		if n := x.Await(context.Background()); n.Host != "" || n.Info != "" || time.Since(began) != 7*time.Second {
			t.Errorf("%+v after %v", n, time.Since(began))
		}
	})
}

// Vector 44 of the qmail reference: RBLSMTPD goes before the lists; "-" makes it permanent; empty is a white list.
func TestRBLSMTPDGoesBeforeLists(t *testing.T) {
	t.Parallel()
	lists, err := dnsbl.New(dnsbl.Options{Lists: []string{"bl.example"}}, names{addrs: map[string]string{"7.2.0.192.bl.example": "127.0.0.2"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	listed := "451 4.7.1 your address 192.0.2.7 is listed by bl.example: listed"
	for _, c := range []struct {
		rules string
		src   submit.Source
		want  string
	}{
		{"", submit.Source{}, listed},
		{"", submit.Source{AccountID: 1}, ""},
		{"192.0.2.7:allow,RELAYCLIENT=\"\"\n", submit.Source{Grant: &policy.Grant{Relay: true}}, ""},
		{"192.0.2.7:allow,RBLSMTPD=\"\"\n", submit.Source{}, ""},
		{"192.0.2.7:allow,RBLSMTPD=\"Go\taway\"\n", submit.Source{}, "451 4.7.1 Go?away"},
		{"192.0.2.7:allow,RBLSMTPD=\"-Go away\"\n", submit.Source{}, "553 5.7.1 Go away"},
		{"192.0.2.8:allow,RBLSMTPD=\"\"\n", submit.Source{}, listed},
	} {
		o := Options{}
		if c.rules != "" {
			o.Rules = rulesFile(t, c.rules)
		}
		k, err := New("smtp", o, Deps{Lists: lists})
		if err != nil {
			t.Fatal(err)
		}
		x := k.Begin(conn("192.0.2.7"))
		for range 2 { // each recipient gets the same answer
			got := ""
			if e := x.Recipient(context.Background(), &c.src); e != nil {
				got = fmt.Sprintf("%d %s %s", e.Code, e.Enhanced, e.Text(0))
			}
			if got != c.want {
				t.Errorf("%q: %q, want %q", c.rules, got, c.want)
			}
		}
		x.End()
	}
	if k, err := New("smtp", Options{}, Deps{}); k != nil || err != nil {
		t.Error("nothing to check: want none")
	}
	var none *Checker
	x := none.Begin(conn("192.0.2.7"))
	if n := x.Await(context.Background()); x.Recipient(context.Background(), &submit.Source{}) != nil || n.Refused() {
		t.Error("no checker refuses nobody")
	}
}

// echo greets, then echoes a line.
type echo struct{}

func (echo) Serve(_ context.Context, c *serve.Conn) {
	fmt.Fprint(c, "hello\n")
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil {
		_, _ = io.WriteString(c, line)
	}
}
func (echo) Refuse(c *serve.Conn, why string) { fmt.Fprintf(c, "no: %s\n", why) }

func TestTheGateHoldsForProtocolsThatKnowNothingOfIt(t *testing.T) {
	t.Parallel()
	dns := names{ptr: map[string][]string{"192.0.2.7": {"mx.test"}}, addrs: map[string]string{"mx.test": "192.0.2.7"}}
	for rules, want := range map[string]string{
		"192.0.2.7:allow\n": "hello\nx\n", "192.0.2.7:deny\n": "", "=mx.test:deny\n": "hello\n", "=other.test:deny\n": "hello\nx\n",
	} {
		k, err := New("pop3", Options{Rules: rulesFile(t, rules)}, Deps{Resolver: dns})
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			c := conn("192.0.2.7")
			c.Conn = server
			(&Gate{Handler: echo{}, Checker: k}).Serve(context.Background(), c)
		}()
		go func() { _, _ = io.WriteString(client, "x\n") }()
		got, _ := io.ReadAll(client)
		if string(got) != want {
			t.Errorf("%q: %q, want %q", rules, got, want)
		}
		client.Close()
	}
}

func FuzzIdent(f *testing.F) {
	f.Add("4711 , 25 : USERID : UNIX : joe\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		if user, err := parseIdent(s, 4711, 25); err == nil && (len(user) > maxUser || strings.ContainsAny(user, " \r\n\x00")) {
			t.Errorf("%q: %q", s, user)
		}
	})
}
