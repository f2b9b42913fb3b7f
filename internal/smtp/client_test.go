package smtp

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/mail"
)

func TestWhatAServerOffers(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Offer{
		"mx.test SIZE 5": {},
		"mx.test|PIPELINING|8bitmime|SMTPUTF8|CHUNKING|DSN|STARTTLS|REQUIRETLS|HELP": {
			Pipelining: true, EightBit: true, UTF8: true, Chunking: true, DSN: true, StartTLS: true, RequireTLS: true},
		"x|SIZE":                      {Size: true},
		"x|SIZE 0":                    {Size: true},
		"x|SIZE -5":                   {Size: true},
		"x|SIZE 1000":                 {Size: true, MaxSize: 1000},
		"x|SIZE 99999999999999999999": {Size: true},
		"x|AUTH plain LOGIN":          {Auth: []string{"PLAIN", "LOGIN"}},
		"x|AUTH=LOGIN PLAIN":          {Auth: []string{"LOGIN", "PLAIN"}},
		"x|LIMITS RCPTMAX=5 MAILMAX=2 X=1 RCPTMAX=-1": {MaxRecipients: 5, MaxMessages: 2},
		"x|PIPELININGX|": {},
	} {
		if diff := cmp.Diff(want, ParseOffer(Reply{Code: 250, Lines: strings.Split(in, "|")})); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func TestClientCommands(t *testing.T) {
	t.Parallel()
	from, to := mail.Address{Local: "a b", Domain: "x.test"}, mail.Address{Local: "joe", Domain: "y.test"}
	for want, got := range map[string][]byte{
		"MAIL FROM:<>\r\n":               AppendMail(nil, mail.Address{}, MailParams{}),
		"MAIL FROM:<\"a b\"@x.test>\r\n": AppendMail(nil, from, MailParams{}),
		"MAIL FROM:<joe@y.test> SIZE=5 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+2Bb+20c\r\n": AppendMail(nil, to,
			MailParams{Size: 5, EightBit: true, UTF8: true, RequireTLS: true, Ret: mail.RetHeaders, EnvID: "a+b c"}),
		"RCPT TO:<joe@y.test>\r\n": AppendRcpt(nil, to, RcptParams{ORcpt: "no type"}),
		"RCPT TO:<joe@y.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@x.test\r\n": AppendRcpt(nil, to,
			RcptParams{Notify: mail.NotifySuccess | mail.NotifyDelay, ORcpt: "rfc822;a+b@x.test"}),
		"RCPT TO:<joe@y.test> NOTIFY=NEVER ORCPT=utf-8;j\\x{F6}\\x{2B}g@x.test\r\n": AppendRcpt(nil, to,
			RcptParams{Notify: mail.NotifyNever, ORcpt: "utf-8;jö+g@x.test"}),
		"RCPT TO:<joe@y.test> ORCPT=rfc822;+0D+0ADATA\r\n": AppendRcpt(nil, to, RcptParams{ORcpt: "rfc822;\r\nDATA"}),
	} {
		if !bytes.Equal(got, []byte(want)) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
