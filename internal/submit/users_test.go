package submit

import (
	"context"
	"slices"
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

func TestAnAccountsRecipientsAreCountedAndOthersNot(t *testing.T) {
	t.Parallel()
	s, _ := newSubmitter(t, new(memory), policy.Options{})
	rates := new(policy.Rates)
	rates.SetLimit(2)
	s.d.Rate = rates.Take
	ctx := context.Background()
	try := func(src *Source) (answers []string) {
		tx, err := s.Begin(ctx, src, smtp.Mail{Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Abort()
		for range 3 {
			if err := tx.Rcpt(ctx, smtp.Rcpt{To: joe.Address}); err != nil {
				answers = append(answers, reason.As(err).Enhanced)
				continue
			}
			answers = append(answers, "ok")
		}
		return answers
	}
	if got := try(&Source{}); !slices.Equal(got, []string{"ok", "ok", "ok"}) {
		t.Errorf("another host: %v", got)
	}
	if got := try(&Source{AccountID: 1, Account: "joe@example.test"}); !slices.Equal(got, []string{"ok", "ok", "4.7.1"}) {
		t.Errorf("an account: %v", got)
	}
}
