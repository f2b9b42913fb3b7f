package submit

import (
	"context"
	"testing"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/smtp"
)

func TestArchivesAreRecipientsOfTheSameCommit(t *testing.T) {
	t.Parallel()
	q := new(memory)
	s, _ := newSubmitter(t, q, policy.Options{})
	var err error
	if s.d.Archive, err = archive.Parse([]string{"to:example.test log@example.org digest"}); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	tx, err := s.Begin(ctx, &Source{Local: true}, smtp.Mail{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Rcpt(ctx, smtp.Rcpt{To: mail.ParseAddress("joe@example.test")}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Open(ctx); err != nil {
		t.Fatal(err)
	}
	tx.Write([]byte("Subject: x\n\n"))
	if verdicts, err := tx.Commit(ctx); err != nil || verdicts != nil {
		t.Fatal(verdicts, err)
	}
	want := mail.Recipient{To: mail.ParseAddress("log@example.org"), Notify: mail.NotifyNever, Copy: "digest"}
	if !q.committed || len(q.env.Recipients) != 2 || q.env.Recipients[1] != want {
		t.Errorf("committed %+v", q.env.Recipients)
	}
}
