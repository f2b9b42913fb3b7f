package reason

import "testing"

func TestLinesAreTheFamilys(t *testing.T) {
	t.Parallel()
	refused := &Error{Class: Permanent, Code: 550, Enhanced: "5.1.1", Reason: RemoteRecipient, Args: []string{"192.0.2.1"}, Remote: "550-5.1.1 no\n550 such user"}
	for _, c := range []struct {
		e               *Error
		line, paragraph string
	}{
		{ConnectFailed.With("mx.far.test"), "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1) Tried mx.far.test.", ""},
		{MailboxUnknown.With("joe@a.test"), "Sorry, no mailbox here by that name. (#5.1.1)", ""},
		{HomeSticky, "Home directory is sticky: user is editing his .qmail file. (#4.2.1)", ""},
		{DeliverAsRoot, "Not allowed to perform deliveries as root.", ""},
		{ProgramRefused.With("go away\n"), "go away\n", ""},
		{refused, "192.0.2.1 does not like recipient.", "192.0.2.1 does not like recipient.\nRemote host said: 550-5.1.1 no\n550 such user\nGiving up on 192.0.2.1."},
		{QueueLifetime.With("x", "y", "192.0.2.1 does not like recipient."), "192.0.2.1 does not like recipient.\n" + NotAgain, ""},
	} {
		if c.paragraph == "" {
			c.paragraph = c.line
		}
		if l, p := c.e.Line(), c.e.Paragraph(); l != c.line || p != c.paragraph {
			t.Errorf("%s: %q, %q", c.e.Reason, l, p)
		}
	}
	last := QueueLifetime.With("x", "y", "192.0.2.1 does not like recipient.")
	last.Remote = "451 later"
	if want := "192.0.2.1 does not like recipient.\nRemote host said: 451 later\nGiving up on 192.0.2.1.\n" + NotAgain; last.Paragraph() != want {
		t.Errorf("%q", last.Paragraph())
	}
}
