package seam

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postilion/postilion/internal/deliver/remote"
)

// hosts is a memory of dead hosts.
type hosts []remote.Dead

func (h *hosts) Dead() []remote.Dead { return *h }
func (h *hosts) Forget()             { *h = nil }

func TestDeadHostsAreToldAndForgottenOverTheSocket(t *testing.T) {
	t.Parallel()
	h := &hosts{}
	for i := range 2 * maxDeadTold {
		*h = append(*h, remote.Dead{Addr: netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), TimedOut: time.Unix(int64(i), 0).UTC(), Count: i})
	}
	cl, _ := dial(t, HostsHandlers(h))
	ctx := context.Background()
	got, err := DeadHosts(ctx, cl.Client)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]remote.Dead((*h)[:maxDeadTold]), got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	if err := ForgetHosts(cl)(ctx); err != nil || len(*h) > 0 {
		t.Errorf("%v, %d left", err, len(*h))
	}
	if got, err = DeadHosts(ctx, cl.Client); len(got) > 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
