package remote

// What is remembered of hosts from one message to the next: addresses that did not answer, connections that are kept, and whose turn it is of equal ones.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// Vector 21 of the qmail reference: connections that are refused make no address dead.
func TestVector21OnlyTimeOutsMakeAnAddressDead(t *testing.T) {
	t.Parallel()
	dials := 0
	target := newTarget(t, Options{}, Deps{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		dials++
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}})
	now := time.Unix(1_000_000, 0)
	target.dead.now = func() time.Time { return now }
	job := letterTo(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}, "x\n", "a@dest.test")
	for n := range 5 {
		if v := target.Deliver(t.Context(), job)[0]; v.Err == nil || v.Err.Reason != reason.ConnectFailed.Reason || dials != n+1 {
			t.Errorf("attempt %d: %v after %d dials", n+1, v.Err, dials)
		}
		now = now.Add(3 * time.Minute)
	}
	if d := target.Dead(); len(d) != 0 {
		t.Errorf("%+v", d)
	}
}

// Vector 21: an address is dead from the second time-out on.
func TestDeadAddressesAreLeftAlone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	dials := 0
	target := newTarget(t, Options{}, Deps{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		dials++
		return nil, timeoutError{}
	}})
	target.dead.now = func() time.Time { return now }
	job := letterTo(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}, "x\n", "a@dest.test")
	try := func(want reason.ID, wantDials int) deliver.Verdict {
		t.Helper()
		v := target.Deliver(t.Context(), job)[0]
		if v.Err == nil || v.Err.Reason != want || dials != wantDials || v.Err.Class != reason.Temporary {
			t.Errorf("%+v after %d dials, want %s after %d", v.Err, dials, want, wantDials)
		}
		return v
	}
	try(reason.ConnectFailed.Reason, 1)
	try(reason.ConnectFailed.Reason, 2) // within the grace: counts once
	now = now.Add(3 * time.Minute)
	try(reason.ConnectFailed.Reason, 3)
	if v := try(reason.HostResting.Reason, 3); v.RetryAfter < 64*time.Minute || v.RetryAfter > 96*time.Minute {
		t.Errorf("RetryAfter %v", v.RetryAfter)
	}
	if d := target.Dead(); len(d) != 1 || d[0].Count != 2 || d[0].Addr.String() != "192.0.2.1" || d[0].Until.IsZero() {
		t.Errorf("%+v", d)
	}
	now = now.Add(97 * time.Minute)
	try(reason.ConnectFailed.Reason, 4)
	try(reason.HostResting.Reason, 4)
	target.Forget()
	try(reason.ConnectFailed.Reason, 5)
	now = now.Add(3 * time.Minute)
	try(reason.ConnectFailed.Reason, 6)
	try(reason.HostResting.Reason, 6)
	job.Force = true // an operator's word goes before the memory
	try(reason.ConnectFailed.Reason, 7)
}

// However many addresses there are, the memory of dead ones has a bound, and an answer clears one.
func TestTheMemoryOfDeadAddressesHasABound(t *testing.T) {
	t.Parallel()
	d := deadHosts{after: 2, hold: time.Hour, now: time.Now, entries: map[netip.Addr]deadEntry{}}
	for i := range 3 * maxDead {
		d.note(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), timeoutError{})
	}
	if len(d.entries) > maxDead {
		t.Errorf("%d addresses", len(d.entries))
	}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		d := deadHosts{after: 2, hold: time.Hour, now: func() time.Time { return now }, entries: map[netip.Addr]deadEntry{}}
		a := netip.IPv6Loopback()
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.IntRange(0, 7200).Draw(t, "s")) * time.Second)
			if rapid.Bool().Draw(t, "timeout") {
				d.note(a, timeoutError{})
				continue
			}
			d.note(a, nil)
			if d.resting(a) != 0 {
				t.Fatal("an address that answered is left alone")
			}
		}
		if r := d.resting(a); r < 0 || r > 90*time.Minute {
			t.Fatalf("left alone for %v", r)
		}
	})
}

func TestIdleConnectionsEndByThemselves(t *testing.T) {
	t.Parallel()
	ended := make(chan string, 1)
	addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for i, r := range []string{"220 x\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"} {
			if i > 0 {
				_, _ = in.ReadSlice('\n')
			}
			fmt.Fprint(c, r)
		}
		for {
			if line, err := in.ReadString('\n'); err != nil || line == ".\r\n" {
				break
			}
		}
		fmt.Fprint(c, "250 queued\r\n")
		rest, _ := io.ReadAll(in)
		ended <- string(rest)
	})
	target := newTarget(t, Options{IdleTime: 20 * time.Millisecond}, Deps{})
	if v := target.Deliver(t.Context(), letterTo(addr, "x\n", "a@dest.test")); v[0].Err != nil {
		t.Fatal(v[0].Err)
	}
	if rest := <-ended; rest != "QUIT\r\n" {
		t.Errorf("%q", rest)
	}
}

// zone is DNS from a map: a name's exchangers, and their addresses.
type zone struct {
	unpublished
	mx map[string][]netx.MX
}

func (z zone) MX(_ context.Context, name string) (netx.Result[netx.MX], error) {
	if len(z.mx[name]) == 0 {
		return netx.Result[netx.MX]{}, netx.ErrNoData
	}
	return netx.Result[netx.MX]{Records: z.mx[name]}, nil
}

func (z zone) Addrs(_ context.Context, name string) (netx.Result[netip.Addr], error) {
	a := netip.AddrFrom4([4]byte{192, 0, 2, name[0]})
	return netx.Result[netip.Addr]{Records: []netip.Addr{a}}, nil
}

func (z zone) DialAddrs(ctx context.Context, name string) (netx.Result[netip.Addr], error) {
	return z.Addrs(ctx, name)
}

func TestEqualExchangersShareTheLoad(t *testing.T) {
	t.Parallel()
	z := zone{mx: map[string][]netx.MX{"dest.test": {{Pref: 20, Host: "c"}, {Pref: 10, Host: "a"}, {Pref: 10, Host: "b"}}}}
	for i := range 100 {
		z.mx["many.test"] = append(z.mx["many.test"], netx.MX{Pref: uint16(i), Host: string(rune('a'+i%26)) + "x"})
	}
	target := newTarget(t, Options{}, Deps{Resolver: z})
	first := map[string]int{}
	for range 200 {
		hosts, err := target.lookup(t.Context(), &route.NextHop{Domain: "dest.test"}, false)
		if err != nil || len(hosts) != 3 || hosts[2].name != "c" {
			t.Fatal(hosts, err)
		}
		first[hosts[0].name]++
	}
	if first["a"] < 50 || first["b"] < 50 {
		t.Errorf("the first was %v", first)
	}
	if hosts, err := target.lookup(t.Context(), &route.NextHop{Domain: "many.test"}, false); err != nil || len(hosts) != maxExchangers || hosts[0].name != "ax" {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
}

func TestEqualExchangersShareTheLoadOfKeptConnections(t *testing.T) {
	t.Parallel()
	a, addrA := startSink(t, nil)
	b, addrB := startSink(t, nil)
	one, addrOne := startSink(t, nil)
	target := newTarget(t, Options{IdleTime: time.Minute}, Deps{
		Resolver: zone{mx: map[string][]netx.MX{"dest.test": {{Pref: 10, Host: "a"}, {Pref: 10, Host: "b"}, {Pref: 20, Host: "c"}}, "one.test": {{Pref: 10, Host: "o"}, {Pref: 20, Host: "c"}}}},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			at := map[byte]net.Addr{'a': addrA, 'b': addrB, 'o': addrOne}[to.Addr().As4()[3]]
			return new(net.Dialer).DialContext(ctx, "tcp", at.String())
		},
	})
	for range 60 {
		for _, domain := range []string{"dest.test", "one.test"} {
			job := letterTo(addrA, "x\n", "ann@"+domain)
			job.Next = &route.NextHop{Domain: domain, TLS: route.TLSNone}
			if v := target.Deliver(t.Context(), job); v[0].Err != nil {
				t.Fatal(v[0].Err)
			}
		}
	}
	if len(a.messages) < 10 || len(b.messages) < 10 || a.sessions != 1 || b.sessions != 1 {
		t.Errorf("%d messages over %d connections, %d over %d", len(a.messages), a.sessions, len(b.messages), b.sessions)
	}
	if len(one.messages) != 60 || one.sessions != 1 {
		t.Errorf("to one exchanger %d messages over %d connections", len(one.messages), one.sessions)
	}
}
