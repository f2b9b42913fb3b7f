package submit

import (
	"context"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
)

// A mailbox that has no room for what came without SIZE refuses at the end of the data: the client hears of it, and nobody gets
// a bounce. What is taken for somebody is left to the deliveries.
func TestAMessageThatFitsNoMailboxIsRefusedOnceItsSizeIsKnown(t *testing.T) {
	t.Parallel()
	full := &directory.Account{ID: 1, Address: mail.Address{Local: "full", Domain: "example.test"}, QuotaBytes: 100}
	roomy := &directory.Account{ID: 2, Address: mail.Address{Local: "roomy", Domain: "example.test"}, QuotaBytes: 1 << 20}
	free := &directory.Account{ID: 3, Address: mail.Address{Local: "free", Domain: "example.test"}}
	temporary := reason.QuotaTooSmall
	permanent := *temporary
	permanent.Class, permanent.Code, permanent.Enhanced = reason.Permanent, 552, "5.2.2"
	for _, tt := range []struct {
		name     string
		to       []*directory.Account
		err      *reason.Error
		declared int64
		late     bool
		asked    int // times a quota was asked about, RCPT included
		want     int // code of the answer
	}{
		{"one", []*directory.Account{full}, temporary, 0, false, 2, 452},
		{"for good", []*directory.Account{full}, &permanent, 0, false, 2, 552},
		{"both", []*directory.Account{full, full}, &permanent, 0, false, 4, 552},
		{"one of two", []*directory.Account{full, roomy}, temporary, 0, false, 4, 250},
		{"one of them without a quota", []*directory.Account{full, free}, temporary, 0, false, 1, 250},
		{"a size that was declared was asked about", []*directory.Account{roomy}, temporary, 5000, false, 1, 250},
		{"a size that was declared too small", []*directory.Account{full}, temporary, 50, false, 2, 452},
		{"a program's, which delivery bounces", []*directory.Account{full}, temporary, 0, true, 1, 250},
	} {
		q, asked := new(memory), 0
		s, _ := newSubmitter(t, q, policy.Options{})
		s.d.Router = routes{full, roomy, free}
		s.d.Quota = func(_ context.Context, a *directory.Account, size int64) error {
			if a.QuotaBytes > 0 {
				asked++
			}
			if a.QuotaBytes > 0 && size > a.QuotaBytes {
				return tt.err
			}
			return nil
		}
		ctx := context.Background()
		src := outside
		src.Late = tt.late
		tx, err := s.Begin(ctx, &src, smtp.Mail{Size: tt.declared})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range tt.to {
			if err := tx.Rcpt(ctx, smtp.Rcpt{To: a.Address}); err != nil {
				t.Fatal(tt.name, err)
			}
		}
		if err := tx.Open(ctx); err != nil {
			t.Fatal(err)
		}
		tx.Write([]byte("Subject: x\n\n" + strings.Repeat("0123456789\n", 100)))
		_, err = tx.Commit(ctx)
		code := 250
		if err != nil {
			code = reason.As(err).Code
		}
		if code != tt.want || asked != tt.asked || q.committed != (tt.want == 250) {
			t.Errorf("%s: %d, asked %d times, committed %v", tt.name, code, asked, q.committed)
		}
	}
}

// routes leads to the mailboxes of accounts.
type routes []*directory.Account

func (r routes) Route(_ context.Context, to mail.Address) (route.Route, error) {
	for _, a := range r {
		if a.Address == to {
			return route.Route{Kind: route.Mailbox, Local: true, Account: a, Domain: &directory.Domain{Name: to.Domain}}, nil
		}
	}
	return route.Route{Kind: route.Remote, Next: route.NextHop{Domain: to.Domain}}, nil
}
