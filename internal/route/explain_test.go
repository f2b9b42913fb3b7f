package route

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/mail"
)

func TestAnswersInWords(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{SystemUsers: true, Locals: []string{"mx.test", "example.test"}, AliasFiles: []string{"aliases"}, RoutesFile: "@smtproutes"}, map[string]string{
		"aliases": "list: a@b.test, ann\nowner-list: ann\nprog: \"|vacation x\"\nfile: /var/mail/x\nnull: /dev/null\nbad: \"open\n", "smtproutes": "hub.test:gw.example:26\n",
	})
	for address, want := range map[string][3]string{
		"joe@mx.test": {"joe@mx.test goes to user joe (uid 507)", "joe@mx.test... deliverable: mailer local, user joe",
			"canonify           input: joe @ mx . test\ncanonify         returns: joe < @ mx . test . >\n" +
				"parse              input: joe < @ mx . test . >\nparse            returns: $# local $: joe\n"},
		"joe+x@example.test": {"joe+x@example.test goes into the mailbox of joe@example.test, folder x", "joe+x@example.test... deliverable: mailer local, user joe@example.test", ""},
		"list@mx.test":       {"list@mx.test goes on to a@b.test ann@mx.test, from ann@mx.test", "list@mx.test... aliased to a@b.test, ann@mx.test", ""},
		"prog@mx.test":       {"prog@mx.test goes to an alias's programs and files, as user alias (uid 7790)", "prog@mx.test... deliverable: mailer prog, user vacation x", ""},
		"file@mx.test":       {"file@mx.test goes to an alias's programs and files, as user alias (uid 7790)", "file@mx.test... deliverable: mailer *file*, user /var/mail/x", ""},
		"null@mx.test":       {"null@mx.test is taken and dropped", "null@mx.test... deliverable: mailer discard, user null@mx.test", ""},
		"bad@mx.test":        {"", "bad@mx.test... Deferred: a file that decides about this address is being mended, please try again later", ""},
		"x@hub.test": {"x@hub.test goes to gw.example, TLS opportunistic", "x@hub.test... deliverable: mailer esmtp, host gw.example:26, user x@hub.test",
			"canonify           input: x @ hub . test\ncanonify         returns: x < @ hub . test . >\n" +
				"parse              input: x < @ hub . test . >\nparse            returns: $# esmtp $@ gw . example : 26 $: x < @ hub . test . >\n"},
		"x@far.test": {"x@far.test goes to the MX hosts of far.test, TLS opportunistic", "x@far.test... deliverable: mailer esmtp, host far.test, user x@far.test", ""},
		"x@off.test": {"x@off.test is refused: 450 4.2.1 mail for domain off.test is held up for now, please try again later", "", ""},
		"x@case.test": {"x@case.test is refused: 550 5.1.1 no mailbox here by that name: x@case.test", "x@case.test... User unknown",
			"canonify           input: x @ case . test\ncanonify         returns: x < @ case . test . >\n" +
				"parse              input: x < @ case . test . >\nparse            returns: $# error $@ 5.1.1 $: 550 no mailbox here by that name: x@case.test\n"},
	} {
		r, err := h.Route(context.Background(), mail.ParseAddress(address))
		line, _ := Verify(address, &r, err)
		test := Rulesets("3,0", address, &r, err)
		got := [3]string{Sentence(address, &r, err), line, test}
		for i := range got {
			if want[i] != "" && got[i] != want[i] {
				t.Error(cmp.Diff(want[i], got[i]))
			}
		}
	}
	r, err := h.Route(context.Background(), mail.ParseAddress("joe@mx.test"))
	if got := Rulesets("99,3", "joe@mx.test", &r, err); got != "Undefined ruleset 99\n" {
		t.Error(got)
	}
}
