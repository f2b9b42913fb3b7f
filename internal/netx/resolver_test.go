package netx_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/nettest"
)

func resolver(t *testing.T, zone nettest.Zone) (*netx.Resolver, *nettest.DNS) {
	t.Helper()
	d := nettest.NewDNS(t, zone)
	r, err := netx.NewResolver(netx.Options{Server: d.Addr, Timeout: timeout(zone)})
	if err != nil {
		t.Fatal(err)
	}
	return r, d
}

// timeout is how long a test waits for an answer: no longer than it must where one never comes, and far beyond what a
// machine with much else to do takes where all come.
func timeout(zone nettest.Zone) time.Duration {
	for _, records := range zone {
		for _, r := range records {
			if strings.HasSuffix(r, "!DROP") {
				return time.Second
			}
		}
	}
	return time.Minute
}

func many(line string, n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf(line, i))
	}
	return lines
}

func TestMailExchangersOfEveryKindOfZone(t *testing.T) {
	t.Parallel()
	r, _ := resolver(t, nettest.Zone{
		"one.test":      {"MX 10 mx.one.test."},
		"null.test":     {"MX 0 ."},
		"case.test":     {"MX 5 MX.Case.TEST."},
		"alias.test":    {"CNAME middle.test."},
		"middle.test":   {"CNAME one.test."},
		"loop.test":     {"CNAME pool.test."},
		"pool.test":     {"CNAME loop.test."},
		"dead.test":     {"CNAME nowhere.test."},
		"nomx.test":     {"A 192.0.2.1"},
		"fail.test":     {"MX !SERVFAIL"},
		"ref.test":      {"MX !REFUSED"},
		"drop.test":     {"MX !DROP"},
		"junk.test":     {"MX !GARBAGE", "MX 10 mx.one.test."},
		"trunc.test":    {"MX !TRUNCATE", "MX 10 mx.one.test."},
		"bad.test":      {`MX 10 a\032b.test.`},
		"half.test":     {`MX 10 a\032b.test.`, "MX 20 mx.one.test."},
		"number.test":   {"MX 5 192.0.2.7."},
		"brackets.test": {"MX 5 [192.0.2.7]."},
		"odd.test":      {"MX 5 192.0.2.777."},
		"big.test":      many("MX 10 a-rather-long-name-of-a-mail-exchanger-%d.big.test.", 100),
		"huge.test":     many("MX 10 m%d.test.", 1000),
	})
	for name, want := range map[string]string{
		"one.test": "10 mx.one.test", "ONE.test.": "10 mx.one.test", "null.test": "0 ", "case.test": "5 mx.case.test",
		"alias.test": "10 mx.one.test", "trunc.test": "10 mx.one.test", "half.test": "20 mx.one.test",
		"number.test": "5 [192.0.2.7]", "brackets.test": "5 [192.0.2.7]", "odd.test": "5 192.0.2.777",
		"big.test": "100 records", "huge.test": "256 records",
		"loop.test": netx.ErrNoData.Error(), "dead.test": netx.ErrNoName.Error(), "nomx.test": netx.ErrNoData.Error(),
		"missing.test": netx.ErrNoName.Error(), "bad.test": netx.ErrNoData.Error(), "a..b": netx.ErrNoName.Error(), "a b": netx.ErrNoName.Error(),
		"fail.test": netx.ErrTemporary.Error(), "ref.test": netx.ErrTemporary.Error(), "drop.test": netx.ErrTemporary.Error(), "junk.test": netx.ErrTemporary.Error(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := r.MX(context.Background(), name)
			var s string
			var e *netx.DNSError
			switch {
			case errors.As(err, &e):
				s = e.Outcome.Error()
			case err != nil:
				s = err.Error()
			case len(got.Records) > 1:
				s = fmt.Sprintf("%d records", len(got.Records))
			default:
				s = fmt.Sprintf("%d %s", got.Records[0].Pref, got.Records[0].Host)
			}
			if s != want {
				t.Errorf("%q, %v; want %q", s, err, want)
			}
		})
	}
}

func TestOneFamilyInTroubleDoesNotHideTheOther(t *testing.T) {
	t.Parallel()
	r, _ := resolver(t, nettest.Zone{
		"both.test":     {"A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1"},
		"four.test":     {"A 192.0.2.1"},
		"six.test":      {"AAAA 2001:db8::1"},
		"servfail.test": {"A 192.0.2.1", "AAAA !SERVFAIL"},
		"dropped.test":  {"A 192.0.2.1", "AAAA !DROP"},
		"sixonly.test":  {"AAAA 2001:db8::1", "A !SERVFAIL"},
		"unsure.test":   {"TXT x", "AAAA !SERVFAIL"},
		"unsure4.test":  {"TXT x", "A !REFUSED"},
		"none.test":     {"TXT x"},
		"mapped.test":   {"AAAA ::ffff:192.0.2.1"},
	})
	for name, want := range map[string]string{
		"both.test": "2001:db8::1 192.0.2.1 192.0.2.2", "four.test": "192.0.2.1", "six.test": "2001:db8::1",
		"servfail.test": "192.0.2.1", "dropped.test": "192.0.2.1", "sixonly.test": "2001:db8::1",
		"unsure.test": netx.ErrTemporary.Error(), "unsure4.test": netx.ErrTemporary.Error(),
		"none.test": netx.ErrNoData.Error(), "mapped.test": netx.ErrNoData.Error(), "missing.test": netx.ErrNoName.Error(),
		"localhost": "::1 127.0.0.1", "[192.0.2.7]": "192.0.2.7", "[IPv6:2001:db8::1]": "2001:db8::1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := r.Addrs(context.Background(), name)
			var s []string
			for _, a := range got.Records {
				s = append(s, a.String())
			}
			var e *netx.DNSError
			if errors.As(err, &e) {
				s = []string{e.Outcome.Error()}
			}
			if diff := cmp.Diff(want, strings.Join(s, " ")); diff != "" {
				t.Errorf("%s (%v)", diff, err)
			}
		})
	}
}

func TestOtherRecords(t *testing.T) {
	t.Parallel()
	r, _ := resolver(t, nettest.Zone{
		"txt.test":               {`TXT "v=spf1 " "-all \"quoted\"" `, `TXT "b\255\\"`, "TXT !AD"},
		"_25._tcp.mx.test":       {"TLSA 3 1 1 00ff", "TLSA 2 0 0 01", "TLSA !AD"},
		"1.2.0.192.in-addr.arpa": {"PTR MX.example.test.", `PTR a\032b.`},
	})
	ctx := context.Background()
	txt, err := r.TXT(ctx, "txt.test")
	if diff := cmp.Diff([]string{`v=spf1 -all "quoted"`, "b\xff\\"}, txt.Records); err != nil || diff != "" || !txt.Secure {
		t.Errorf("TXT: %v %s secure %v", err, diff, txt.Secure)
	}
	tlsa, err := r.TLSA(ctx, "mx.test", 25)
	if diff := cmp.Diff([]netx.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: []byte{0, 0xff}}, {Usage: 2, Data: []byte{1}}}, tlsa.Records); err != nil || diff != "" || !tlsa.Secure {
		t.Errorf("TLSA: %v %s secure %v", err, diff, tlsa.Secure)
	}
	ptr, err := r.PTR(ctx, netip.MustParseAddr("::ffff:192.0.2.1"))
	if diff := cmp.Diff([]string{"mx.example.test"}, ptr.Records); err != nil || diff != "" || ptr.Secure {
		t.Errorf("PTR: %v %s secure %v", err, diff, ptr.Secure)
	}
}

// Whose word that an answer is proven by DNSSEC is believed: the way to the server has to be safe.
func TestTheADBitIsBelievedOfThisMachine(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]bool{"127.0.0.53:53": true, "[::1]:53": true, "192.0.2.1:53": false, "127.0.0.1.test:53": false} {
		if netx.IsLoopback(server) != want {
			t.Errorf("%s: %t, want %t", server, !want, want)
		}
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]bool{
		"nameserver 192.0.2.1\noptions edns0 trust-ad\n": true, "options trust-ad": true,
		"nameserver 192.0.2.1\n": false, "# options trust-ad\n": false, "options no-trust-ad\n": false, "search trust-ad\n": false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := netx.NewResolver(netx.Options{ResolvConf: path})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Trusted(); got != want || err != nil {
			t.Errorf("%q: %t, %v; want %t", text, got, err, want)
		}
	}
	// The configuration names one elsewhere.
	for _, trust := range []bool{false, true} {
		r, err := netx.NewResolver(netx.Options{Server: "192.0.2.1:53", TrustAD: trust})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Trusted(); got != trust || err != nil {
			t.Errorf("trust_ad = %t: %t, %v", trust, got, err)
		}
	}
}

func TestAnswersAreKeptForTheirTime(t *testing.T) {
	t.Parallel()
	r, d := resolver(t, nettest.Zone{
		"kept.test": {"A 192.0.2.1"}, "zero.test": {"A 192.0.2.1", "A !TTL 0"}, "fail.test": {"A !SERVFAIL"},
	})
	for range 3 {
		for _, name := range []string{"kept.test", "missing.test", "zero.test", "fail.test"} {
			_, _ = r.A(context.Background(), name)
		}
	}
	count := map[string]int{}
	for _, q := range d.Queries() {
		count[q]++
	}
	want := map[string]int{"udp A kept.test": 1, "udp A missing.test": 1, "udp A zero.test": 3, "udp A fail.test": 2}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Error(diff)
	}
}

func TestTheCacheHasABound(t *testing.T) {
	t.Parallel()
	d := nettest.NewDNS(t, nettest.Zone{})
	r, err := netx.NewResolver(netx.Options{Server: d.Addr, CacheSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		_, _ = r.A(context.Background(), fmt.Sprintf("n%d.test", i))
	}
	if n := r.CacheLen(); n > 10 {
		t.Errorf("%d answers are kept", n)
	}
}

// Whoever answers for a name says how long the answer is: 64 KiB of each of some 20000 names were a gigabyte and more.
func TestLargeAnswersDoNotFillMemory(t *testing.T) {
	t.Parallel()
	zone := nettest.Zone{}
	for i := range 20 {
		var list []string
		for n := range 1000 {
			list = append(list, fmt.Sprintf("A 10.0.%d.%d", n>>8, n&255))
		}
		zone[fmt.Sprintf("n%d.test", i)] = list
	}
	zone["small.test"] = []string{"A 192.0.2.1"}
	const most = 50
	d := nettest.NewDNS(t, zone)
	r, err := netx.NewResolver(netx.Options{Server: d.Addr, CacheSize: most})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		found, err := r.A(t.Context(), fmt.Sprintf("n%d.test", i))
		if err != nil || len(found.Records) != 256 {
			t.Fatalf("%d records, %v", len(found.Records), err)
		}
	}
	if n, size := r.CacheLen(), r.CacheBytes(); n == 0 || size <= 0 || size > most*2<<10 {
		t.Errorf("%d answers of %d bytes are kept", n, size)
	}
	for range 2 {
		if _, err := r.A(t.Context(), "small.test"); err != nil {
			t.Error(err)
		}
	}
	r.SetNow(func() time.Time { return time.Now().Add(24 * time.Hour) })
	if _, err := r.A(t.Context(), "small.test"); err != nil {
		t.Error(err)
	}
	if n, size := r.CacheLen(), r.CacheBytes(); size > int64(n)*256*200 {
		t.Errorf("%d answers of %d bytes are kept", n, size)
	}
}

func TestTheSameQuestionIsAskedOnce(t *testing.T) {
	t.Parallel()
	r, d := resolver(t, nettest.Zone{"slow.test": {"A !DELAY 50ms", "A 192.0.2.1"}})
	gaveUp, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			ctx := context.Background()
			if i%2 == 0 {
				ctx = gaveUp
			}
			_, err := r.A(ctx, "slow.test")
			if i%2 == 1 && err != nil {
				t.Error(err)
			}
		})
	}
	cancel() // those who stay get their answer all the same
	wg.Wait()
	if n := len(d.Queries()); n > 2 {
		t.Errorf("%d questions: %q", n, d.Queries())
	}
}

func TestACallerDoesNotWaitLongerThanItWants(t *testing.T) {
	t.Parallel()
	r, _ := resolver(t, nettest.Zone{"drop.test": {"A !DROP"}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.A(ctx, "drop.test"); !errors.Is(err, netx.ErrTemporary) {
		t.Errorf("%v", err)
	}
}

func TestServersComeFromResolvConf(t *testing.T) {
	t.Parallel()
	if _, err := netx.NewResolver(netx.Options{Server: "localhost"}); err == nil || !strings.Contains(err.Error(), "address:port") {
		t.Errorf("a server without a port: %v", err)
	}
	r, err := netx.NewResolver(netx.Options{ResolvConf: t.TempDir() + "/missing"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.A(context.Background(), "example.test"); !errors.Is(err, netx.ErrTemporary) {
		t.Errorf("no resolv.conf: %v", err)
	}
}

func TestFamiliesTakeTurns(t *testing.T) {
	t.Parallel()
	parse := func(s string) (addrs []netip.AddrPort) {
		for f := range strings.FieldsSeq(s) {
			addrs = append(addrs, netip.AddrPortFrom(netip.MustParseAddr(f), 25))
		}
		return addrs
	}
	for in, want := range map[string]string{
		"::1 ::2 ::3 10.0.0.1": "::1 10.0.0.1 ::2 ::3", "10.0.0.1 ::1 ::2": "10.0.0.1 ::1 ::2", "10.0.0.1": "10.0.0.1", "": "",
	} {
		if got := netx.Interleave(parse(in)); !slices.Equal(got, parse(want)) {
			t.Errorf("%s: %v", in, got)
		}
	}
}

func TestResolvConfIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string, age time.Duration) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	r, err := netx.NewResolver(netx.Options{ResolvConf: file})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r.SetNow(func() time.Time { return now })
	want := func(servers ...string) {
		t.Helper()
		got, err := r.Servers()
		if diff := cmp.Diff(servers, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	write("nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.test\n", time.Hour)
	want("192.0.2.1:53", "[2001:db8::1]:53")
	write("nameserver 192.0.2.2\n", time.Minute)
	want("192.0.2.1:53", "[2001:db8::1]:53") // looked at a moment ago
	now = now.Add(time.Minute)
	want("192.0.2.2:53")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	want("192.0.2.2:53") // better the old than none
	write("# empty\n", time.Second)
	now = now.Add(time.Minute)
	want("127.0.0.1:53")
}

func TestTheNextServerIsAskedWhenOneFails(t *testing.T) {
	t.Parallel()
	_, good := resolver(t, nettest.Zone{"a.test": {"A 192.0.2.1"}, "b.test": {"A !SERVFAIL"}, "c.test": {"TXT x"}})
	for name, bad := range map[string]nettest.Zone{
		"silent": {"a.test": {"A !DROP"}}, "failing": {"a.test": {"A !SERVFAIL"}, "c.test": {"A !SERVFAIL"}}, "refusing": {"a.test": {"A !REFUSED"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := netx.NewResolver(netx.Options{Timeout: timeout(bad)})
			if err != nil {
				t.Fatal(err)
			}
			r.SetServers(nettest.NewDNS(t, bad).Addr, good.Addr)
			if got, err := r.A(t.Context(), "a.test"); err != nil || len(got.Records) != 1 {
				t.Errorf("%v, %v", got, err)
			}
			if _, err := r.A(t.Context(), "c.test"); name == "failing" && !errors.Is(err, netx.ErrNoData) {
				t.Errorf("an answer that there is nothing, of the second server: %v", err)
			}
		})
	}
}
