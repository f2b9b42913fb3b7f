package verbs

import (
	"context"

	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/role"
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
	if h.Destinations, err = queueadmin.Failing(ctx, data); err != nil {
		return h, err
	}
	cl := rolecall.Client(data, role.Remote.AdminSocket(), role.Remote)
	defer cl.Close()
	h.Addresses, err = seam.DeadHosts(ctx, cl)
	return h, err
}
