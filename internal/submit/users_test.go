package submit

import (
	"context"
	"testing"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
)

// system routes everything to a user of the system.
type system struct{}

func (system) Route(_ context.Context, to mail.Address) (route.Route, error) {
	return route.Route{Kind: route.SystemUser, Local: true, Final: to, User: &route.User{Name: "joe", Dash: "-", Ext: to.Local}}, nil
}

func TestAnAddressThatNoFileTakesIsRefusedAtRcpt(t *testing.T) {
	t.Parallel()
	s, r := newSubmitter(t, new(memory), policy.Options{})
	s.d.Router = system{}
	s.d.Exists = func(_ context.Context, u route.User) error {
		if u.Ext == "list" {
			return nil
		}
		return reason.NoDotQmail
	}
	ctx := context.Background()
	tx, err := s.Begin(ctx, &Source{}, smtp.Mail{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	if err := tx.Rcpt(ctx, smtp.Rcpt{To: mail.ParseAddress("list@mx.test")}); err != nil {
		t.Error(err)
	}
	err = tx.Rcpt(ctx, smtp.Rcpt{To: mail.ParseAddress("other@mx.test")})
	if e := reason.As(err); e == nil || e.Code != 550 || e.Enhanced != "5.1.1" || len(r.events) != 1 {
		t.Errorf("%v, events %+v", err, r.events)
	}
}
