package service

import (
	"context"

	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/seam"
)

// FailingHosts is what the server remembers of other hosts that do not answer. A flush forgets it.
type FailingHosts struct {
	// Destinations whose last connections failed, as the queue knows them.
	Destinations []dispatch.DestStats `json:"destinations"`
	// Addresses whose connections timed out lately.
	Addresses []remote.Dead `json:"addresses"`
}

// Hosts asks a running server.
func Hosts(ctx context.Context, data string) (h FailingHosts, err error) {
	if h.Destinations, err = askRole[none, []dispatch.DestStats](ctx, data, Queue, methodFailing, none{}); err != nil {
		return h, err
	}
	cl := watchedClient(data, adminSocket(Remote), Remote)
	defer cl.Close()
	h.Addresses, err = seam.DeadHosts(ctx, cl)
	return h, err
}
