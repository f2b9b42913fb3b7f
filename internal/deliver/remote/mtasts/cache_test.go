package mtasts

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/netx"
)

// world is DNS, the web and the clock around a Cache.
type world struct {
	clock  *clock.Fake
	roots  *x509.CertPool
	shown  tls.Certificate
	folder fs.FS
	hold   chan struct{} // unless nil, the web server answers when it is closed

	mu      sync.Mutex
	record  string // the TXT record; "" for none
	silent  bool   // DNS does not answer
	policy  string // "" for no web server
	fetches atomic.Int32
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: clock.NewFake(time.Now()), roots: x509.NewCertPool(), folder: crashfs.New(1)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mta-sts.dest.test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(2, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	w.roots.AddCert(root)
	w.shown = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return w
}

func (w *world) TXT(_ context.Context, name string) (r netx.Result[string], err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.silent:
		return r, netx.ErrTemporary
	case w.record == "" || !strings.HasPrefix(name, "_mta-sts."):
		return r, netx.ErrNoName
	}
	r.Records = []string{w.record}
	return r, nil
}

func (w *world) Addrs(_ context.Context, name string) (r netx.Result[netip.Addr], err error) {
	if name != "mta-sts.dest.test" {
		return r, netx.ErrNoName
	}
	r.Records = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	return r, nil
}

func (w *world) dial(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	w.fetches.Add(1)
	w.mu.Lock()
	policy := w.policy
	w.mu.Unlock()
	if policy == "" || to.String() != "192.0.2.1:443" {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		c := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{w.shown}})
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		if w.hold != nil {
			<-w.hold
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s", policy)
	}()
	return client, nil
}

func (w *world) set(record, policy string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record, w.policy = record, policy
}

func (w *world) cache(t *testing.T) *Cache {
	t.Helper()
	c, err := New(Deps{Resolver: w, Dial: w.dial, Clock: w.clock, Roots: w.roots, Folder: w.folder})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// says is the mode of the domain's policy, "" for none, and what is told of it.
func says(t *testing.T, c *Cache) (mode Mode, why error) {
	t.Helper()
	p, why := c.Lookup(t.Context(), "dest.test")
	if p != nil {
		mode = p.Mode
	}
	return mode, why
}

func policyText(mode Mode) string {
	return fmt.Sprintf("version: STSv1\nmode: %s\nmx: mx.dest.test\nmax_age: 864000\n", mode)
}

// Nobody who stands between can talk a policy away: neither by DNS nor by the web, nor in a restart.
func TestAPolicyCountsUntilItExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cache(t)
	if mode, why := says(t, c); mode != "" || why != nil || w.fetches.Load() != 0 {
		t.Fatalf("without a record: %q, %v, %d fetches", mode, why, w.fetches.Load())
	}
	w.set("v=STSv1; id=1", policyText(Enforce))
	for range 2 {
		if mode, why := says(t, c); mode != Enforce || why != nil || w.fetches.Load() != 1 {
			t.Fatalf("%q, %v, %d fetches", mode, why, w.fetches.Load())
		}
	}
	for what, change := range map[string]func(){
		"without a record":  func() { w.set("", "") },
		"with an odd one":   func() { w.set("v=STSv1; id=?", "") },
		"DNS is silent":     func() { w.silent = true },
		"the web is silent": func() { w.silent = false; w.set("v=STSv1; id=2", "") },
	} {
		change()
		for _, c := range []*Cache{c, c, w.cache(t)} {
			if mode, _ := says(t, c); mode != Enforce {
				t.Errorf("%s: %q", what, mode)
			}
		}
		w.silent = false
	}
	w.set("", "")
	w.clock.Advance(864001 * time.Second)
	for range 2 {
		if mode, why := says(t, w.cache(t)); mode != "" || why != nil {
			t.Errorf("after it has expired: %q, %v", mode, why)
		}
	}
	if list, err := w.folder.ReadDir("."); err != nil || len(list) != 0 {
		t.Errorf("left over: %v, %v", list, err)
	}
}

func TestANewIDBringsTheNewPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cache(t)
	for i, mode := range []Mode{Enforce, Testing, None, Enforce} {
		w.set(fmt.Sprintf("v=STSv1; id=%d", i), policyText(mode))
		if got, why := says(t, c); got != mode || why != nil {
			t.Errorf("%d: %q, %v; want %q", i, got, why, mode)
		}
		if got, _ := says(t, w.cache(t)); got != mode {
			t.Errorf("%d, after a restart: %q; want %q", i, got, mode)
		}
	}
}

func TestWhatCannotBeFetchedIsToldAndNotAskedForAtOnceAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cache(t)
	w.set("v=STSv1; id=1", "")
	for range 3 {
		if mode, why := says(t, c); mode != "" || why == nil || !strings.Contains(why.Error(), "the MTA-STS policy cannot be had: ") {
			t.Errorf("%q, %v", mode, why)
		}
	}
	if n := w.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	w.clock.Advance(retryAfter)
	w.set("v=STSv1; id=1", policyText(Enforce)+strings.Repeat("x", maxPolicy))
	if mode, why := says(t, c); mode != "" || why == nil || !strings.Contains(why.Error(), "a policy of more than 65536 bytes") {
		t.Errorf("too long: %q, %v", mode, why)
	}
	w.set("v=STSv1; id=1", policyText(Enforce))
	w.clock.Advance(retryAfter)
	if mode, why := says(t, c); mode != Enforce || why != nil {
		t.Errorf("later: %q, %v", mode, why)
	}
}

func TestAPolicyIsFetchedAgainEachDayBesideTheMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cache(t)
	w.set("v=STSv1; id=1", policyText(Enforce))
	says(t, c)
	for day := range 12 { // longer than it counts
		w.clock.Advance(freshTime + time.Minute)
		for end := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
			if mode, why := says(t, c); mode != Enforce || why != nil {
				t.Fatalf("day %d: %q, %v", day, mode, why)
			}
			c.mu.Lock()
			age := w.clock.Now().Sub(c.known["dest.test"].held.fetched)
			c.mu.Unlock()
			if age == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("day %d: it is %v old", day, age)
			}
		}
	}
}

func TestManyWhoAskAtOnceShareAFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hold = make(chan struct{})
	c := w.cache(t)
	w.set("v=STSv1; id=1", policyText(Enforce))
	// One who gives up leaves it to the others, though he began it.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if p, why := c.Lookup(ctx, "dest.test"); p != nil || !errors.Is(why, context.Canceled) {
			t.Errorf("given up: %v, %v", p, why)
		}
	})
	for w.fetches.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	cancel()
	wg.Wait()
	for range 20 {
		wg.Go(func() {
			if mode, why := says(t, c); mode != Enforce || why != nil {
				t.Errorf("%q, %v", mode, why)
			}
		})
	}
	close(w.hold)
	wg.Wait()
	if n := w.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestADamagedFileIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "id: 1\n", "id: 1\nfetched: yesterday\n" + policyText(Enforce), "id: ?\nfetched: 2026-01-02T15:04:05Z\n" + policyText(Enforce),
		"id: 1\nfetched: 2026-01-02T15:04:05Z\nmode: enforce\n"} {
		w := newWorld(t)
		f, err := w.folder.OpenFile("dest.test", os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			_, err = io.WriteString(f, text)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		c := w.cache(t)
		if mode, why := says(t, c); mode != "" || why != nil {
			t.Errorf("%q: %q, %v", text, mode, why)
		}
		w.set("v=STSv1; id=1", policyText(Testing))
		if mode, why := says(t, c); mode != Testing || why != nil {
			t.Errorf("%q, replaced: %q, %v", text, mode, why)
		}
	}
}

func TestTheNumberOfDomainsIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cache(t)
	for i := range maxDomains {
		c.known[fmt.Sprintf("d%d.test", i)] = &entry{}
	}
	w.set("v=STSv1; id=1", policyText(Enforce))
	if mode, why := says(t, c); mode != Enforce || why != nil || len(c.known) != maxDomains {
		t.Errorf("%q, %v, %d domains", mode, why, len(c.known))
	}
}

// Failures of one who has many domains do not have the policies of others forgotten.
func TestFailuresDriveNoPolicyOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cache(t)
	w.set("v=STSv1; id=1", policyText(Enforce))
	says(t, c)
	for i := range maxDomains - 1 {
		c.known[fmt.Sprintf("p%d.test", i)] = &entry{held: &held{policy: Policy{Mode: Enforce}}}
	}
	for i := range 3 * maxDomains / 100 {
		c.note(fmt.Sprintf("f%d.test", i), entry{failedID: "1", failed: w.clock.Now(), why: errors.New("refused")})
	}
	policies := 0
	for _, e := range c.known {
		if e.held != nil {
			policies++
		}
	}
	if mode, why := says(t, c); mode != Enforce || why != nil || policies != maxDomains || len(c.known) != maxDomains {
		t.Errorf("%q, %v, %d policies of %d", mode, why, policies, len(c.known))
	}
	delete(c.known, "p0.test")
	for i := range 10 { // beside policies there is room for failures
		c.note(fmt.Sprintf("f%d.test", i), entry{failedID: "1", failed: w.clock.Now(), why: errors.New("refused")})
	}
	c.note("new.test", entry{held: &held{policy: Policy{Mode: Enforce}}})
	if c.known["new.test"] == nil || len(c.known) != maxDomains {
		t.Errorf("%v, %d domains", c.known["new.test"], len(c.known))
	}
}

func TestAFullDiskIsToldAndThePolicyCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	disk := crashfs.New(1)
	w.folder = disk
	c := w.cache(t)
	disk.SetCapacity(1)
	w.set("v=STSv1; id=1", policyText(Enforce))
	if mode, why := says(t, c); mode != Enforce || why == nil || !strings.Contains(why.Error(), "the MTA-STS policy cannot be kept: ") {
		t.Errorf("%q, %v", mode, why)
	}
	if list, err := disk.ReadDir("."); err != nil || len(list) != 0 {
		t.Errorf("left over: %v, %v", list, err)
	}
}

// A power cut leaves the policy that was there, or the new one; what was told as kept is kept.
func TestPoliciesOutliveAPowerCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	crashfs.Explore(t, crashfs.Scenario[Mode]{
		Twice: true,
		Run: func(fsys fs.FS, ack func(Mode)) error {
			w.folder = fsys
			c, err := New(Deps{Resolver: w, Dial: w.dial, Clock: w.clock, Roots: w.roots, Folder: fsys})
			if err != nil {
				return err
			}
			for i, mode := range []Mode{Enforce, Testing, Enforce, None} {
				w.set(fmt.Sprintf("v=STSv1; id=%d", i), policyText(mode))
				if _, why := c.Lookup(context.Background(), "dest.test"); why != nil {
					return why
				}
				ack(mode)
			}
			w.set("", "")
			return nil
		},
		Check: func(fsys fs.FS, acked []Mode) error {
			c, err := New(Deps{Resolver: w, Dial: w.dial, Clock: w.clock, Roots: w.roots, Folder: fsys})
			if err != nil {
				return err
			}
			p, why := c.Lookup(context.Background(), "dest.test")
			if why != nil {
				return why
			}
			order := []Mode{Enforce, Testing, Enforce, None}
			n := len(acked)
			switch {
			case p == nil && n > 0:
				return fmt.Errorf("no policy, of %d that were kept", n)
			case p != nil && !(n > 0 && p.Mode == order[n-1]) && !(n < len(order) && p.Mode == order[n]):
				return fmt.Errorf("%q after %d", p.Mode, n)
			}
			list, err := fsys.ReadDir(".")
			if err == nil && len(list) > 1 {
				err = fmt.Errorf("%d files", len(list))
			}
			return err
		},
	})
}
