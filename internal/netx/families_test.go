package netx_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/nettest"
)

// after answers a question with an address or an error once so much time has gone.
func after(d time.Duration, addr string, err error) func() (netx.Result[netip.Addr], error) {
	return func() (r netx.Result[netip.Addr], _ error) {
		time.Sleep(d) // of the bubble's clock
		if err == nil {
			r.Records = []netip.Addr{netip.MustParseAddr(addr)}
		}
		return r, err
	}
}

// RFC 8305 3: who has an address to connect to waits 50 ms for the other family, not for its time limit.
func TestOneFamilyDoesNotWaitForTheOther(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	temporary := &netx.DNSError{Outcome: netx.ErrTemporary}
	none := &netx.DNSError{Outcome: netx.ErrNoData}
	type outcome struct {
		took    time.Duration
		addrs   string
		partial bool
		err     error
	}
	for name, tt := range map[string]struct {
		four, six func() (netx.Result[netip.Addr], error)
		want      outcome
	}{
		"both at once":              {after(0, "192.0.2.1", nil), after(0, "2001:db8::1", nil), outcome{0, "[2001:db8::1 192.0.2.1]", false, nil}},
		"the second within its 50":  {after(20*ms, "192.0.2.1", nil), after(60*ms, "2001:db8::1", nil), outcome{60 * ms, "[2001:db8::1 192.0.2.1]", false, nil}},
		"IPv6 times out":            {after(20*ms, "192.0.2.1", nil), after(6*time.Second, "", temporary), outcome{70 * ms, "[192.0.2.1]", true, nil}},
		"IPv6 fails late":           {after(20*ms, "192.0.2.1", nil), after(60*ms, "", temporary), outcome{60 * ms, "[192.0.2.1]", false, nil}},
		"IPv4 times out":            {after(6*time.Second, "", temporary), after(20*ms, "2001:db8::1", nil), outcome{70 * ms, "[2001:db8::1]", true, nil}},
		"no IPv6, IPv4 comes late":  {after(time.Second, "192.0.2.1", nil), after(0, "", none), outcome{time.Second, "[192.0.2.1]", false, nil}},
		"no IPv4, IPv6 in trouble":  {after(0, "", none), after(6*time.Second, "", temporary), outcome{6 * time.Second, "[]", false, temporary}},
		"IPv6 in trouble, IPv4 too": {after(time.Second, "", temporary), after(6*time.Second, "", temporary), outcome{6 * time.Second, "[]", false, temporary}},
		"neither":                   {after(0, "", none), after(time.Second, "", none), outcome{time.Second, "[]", false, none}},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			r, err := netx.TwoFamilies(tt.four, tt.six, netx.ResolutionDelay)
			got := outcome{time.Since(begun), fmt.Sprint(r.Records), r.Partial, err}
			if got != tt.want {
				t.Errorf("%s: %+v, want %+v", name, got, tt.want)
			}
			if r, err = netx.TwoFamilies(tt.four, tt.six, -1); r.Partial || err != tt.want.err {
				t.Errorf("%s: who wants the whole answer gets %+v, %v", name, r, err)
			}
		})
	}
}

func TestAConnectionNeedsOneFamilyOnly(t *testing.T) {
	t.Parallel()
	d := nettest.NewDNS(t, nettest.Zone{"half.test": {"A 192.0.2.1", "AAAA !DROP"}, "none.test": {"TXT x"}})
	r, err := netx.NewResolver(netx.Options{Server: d.Addr, Timeout: time.Minute, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // ends the question that nobody answers
	got, err := r.DialAddrs(ctx, "half.test")
	if err != nil || !got.Partial || fmt.Sprint(got.Records) != "[192.0.2.1]" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := r.DialAddrs(ctx, "none.test"); err == nil {
		t.Error("an address of a host without")
	}
}
