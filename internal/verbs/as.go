package verbs

import (
	"context"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// As is an account whose rights a verb has, in place of those of the Unix user who calls it.
type As struct {
	Address, Password string
	Socket            string // the gate's, where it is not the data folder's
}

func (as As) client(data string) *seam.Client {
	cl := seam.NewClient(control.DialAs(data, as.Socket, control.Login{User: []byte(as.Address), Password: []byte(as.Password)}))
	cl.Watch = func(ctx context.Context) error {
		return rolecall.StillAnswers(ctx, role.Console, func(ctx context.Context) error { return control.GateAlive(ctx, data, as.Socket) })
	}
	return cl
}

// OpenStoresAs is OpenStores for an account: through a running server, which holds it to what is the account's. It
// does not dial yet: a wrong password, or no server, is the error of the first call.
func OpenStoresAs(ctx context.Context, data string, as As) (*Stores, error) {
	cl := as.client(data)
	s := &Stores{Data: data, Running: true, Directory: seam.Directory{Client: cl}, Auth: seam.AuthAdmin{Client: cl}, as: cl}
	s.close = append(s.close, func() error { cl.Close(); return nil })
	return s, nil
}

// OpenQueueAs is OpenQueue for an account. It does not dial yet, see OpenStoresAs.
func OpenQueueAs(ctx context.Context, data string, as As) (*Queue, error) {
	return &Queue{Client: queueadmin.NewClient(as.client(data).Client)}, nil
}

// Free ends the sessions that hold an account's mailbox and returns them.
func (s *Stores) Free(ctx context.Context, account uint64) ([]session.Holder, error) {
	if s.as != nil {
		return rpc.Do[uint64, []session.Holder](ctx, s.as.Client, mailboxes.MethodFree, account)
	}
	return s.roles().Free(ctx, account)
}
