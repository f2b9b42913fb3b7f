package service

import (
	"context"
	"net/netip"
	"testing"

	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/netx"
)

// noDNS answers nothing.
type noDNS struct{}

func (noDNS) MX(context.Context, string) (netx.Result[netx.MX], error) {
	return netx.Result[netx.MX]{}, netx.ErrNoName
}
func (noDNS) Addrs(context.Context, string) (netx.Result[netip.Addr], error) {
	return netx.Result[netip.Addr]{}, netx.ErrNoName
}

func TestAReloadReplacesWhoSendsToOtherHostsOnlyWhenItsKeysChanged(t *testing.T) {
	t.Parallel()
	s, d := new(swapRemote), remote.Deps{Resolver: noDNS{}}
	prepare := func(o remote.Options) *remote.Target {
		t.Helper()
		bring, err := s.prepare(o, d)
		if err != nil {
			t.Fatal(err)
		}
		bring()
		return s.now.Load()
	}
	first := prepare(remote.Options{Host: "a.example", Helo: "a.example"})
	if prepare(remote.Options{Host: "a.example", Helo: "a.example"}) != first {
		t.Error("the same options replaced the target")
	}
	if prepare(remote.Options{Host: "a.example", Helo: "b.example"}) == first {
		t.Error("another name to greet with changed nothing")
	}
	last := s.now.Load()
	if _, err := s.prepare(remote.Options{Host: "a.example", Port: -1}, d); err == nil || s.now.Load() != last {
		t.Error("wrong options were taken")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
