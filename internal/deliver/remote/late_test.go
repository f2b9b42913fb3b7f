package remote

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/route"
)

// halfDNS knows a host's IPv4 address at once and its other ones only when all are waited for.
type halfDNS struct {
	unpublished
	late []string
}

func (halfDNS) MX(context.Context, string) (r netx.Result[netx.MX], err error) {
	return r, netx.ErrNoData
}

func (halfDNS) DialAddrs(context.Context, string) (netx.Result[netip.Addr], error) {
	return netx.Result[netip.Addr]{Records: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Partial: true}, nil
}

func (d halfDNS) Addrs(ctx context.Context, name string) (netx.Result[netip.Addr], error) {
	r, err := d.DialAddrs(ctx, name)
	for _, a := range d.late {
		r.Records = append(r.Records, netip.MustParseAddr(a))
	}
	r.Partial = false
	return r, err
}

func TestTheOtherFamilyIsTriedWhenItComesLate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ late, want []string }{
		"two more":                {[]string{"2001:db8::1", "2001:db8::2"}, []string{"192.0.2.1:25", "[2001:db8::1]:25", "[2001:db8::2]:25"}},
		"none":                    {nil, []string{"192.0.2.1:25"}},
		"this host's is left out": {[]string{"2001:db8::99"}, []string{"192.0.2.1:25"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dialled := make(chan string, 10)
			target, err := New(Options{Host: "here.test"}, Deps{Resolver: halfDNS{late: tt.late},
				Own: func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("2001:db8::99") },
				Dial: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
					dialled <- to.String()
					return nil, syscall.ECONNREFUSED
				}})
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			to := mail.ParseAddress("ann@far.test")
			v := target.Deliver(t.Context(), &deliver.Job{Envelope: &mail.Envelope{}, Next: &route.NextHop{Domain: "far.test"},
				Recipients: []deliver.Recipient{{To: to, Final: to}}})
			close(dialled)
			var got []string
			for d := range dialled {
				got = append(got, d)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" || v[0].Err == nil || v[0].Err.Reason != "connect-failed" {
				t.Error(diff, v[0].Err)
			}
		})
	}
}

// manyDNS knows more IPv6 addresses of a host than are tried, and one of IPv4.
type manyDNS struct {
	unpublished
	partial bool // the one of IPv4 comes late
}

func (manyDNS) MX(context.Context, string) (r netx.Result[netx.MX], err error) {
	return r, netx.ErrNoData
}

func (d manyDNS) DialAddrs(ctx context.Context, name string) (netx.Result[netip.Addr], error) {
	r, err := d.Addrs(ctx, name)
	if r.Partial = d.partial; d.partial {
		r.Records = r.Records[:len(r.Records)-1]
	}
	return r, err
}

func (manyDNS) Addrs(context.Context, string) (r netx.Result[netip.Addr], _ error) {
	a := netip.MustParseAddr("2001:db8::1")
	for range 3 * maxAddresses {
		r.Records, a = append(r.Records, a), a.Next()
	}
	r.Records = append(r.Records, netip.MustParseAddr("192.0.2.1"))
	return r, nil
}

func TestManyAddressesOfOneFamilyLeaveRoomForTheOther(t *testing.T) {
	t.Parallel()
	for _, partial := range []bool{false, true} {
		var dialled atomic.Int32
		var four atomic.Bool
		target, err := New(Options{Host: "here.test"}, Deps{Resolver: manyDNS{partial: partial},
			Dial: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
				dialled.Add(1)
				if to.Addr().Is4() {
					four.Store(true)
				}
				return nil, syscall.ECONNREFUSED
			}})
		if err != nil {
			t.Fatal(err)
		}
		to := mail.ParseAddress("ann@far.test")
		target.Deliver(t.Context(), &deliver.Job{Envelope: &mail.Envelope{}, Next: &route.NextHop{Domain: "far.test"},
			Recipients: []deliver.Recipient{{To: to, Final: to}}})
		target.Close()
		if n := dialled.Load(); !four.Load() || n > 2*maxAddresses {
			t.Errorf("partial %v: %d addresses were tried, the one of IPv4 among them: %v", partial, n, four.Load())
		}
	}
}
