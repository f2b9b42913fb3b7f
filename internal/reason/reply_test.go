package reason

import (
	"slices"
	"strings"
	"testing"
)

// all returns an error of each reason, with arguments enough for its texts.
func all() (list []*Error) {
	args := []string{"joe@a.test", "bl.test", "spam source"}
	for _, class := range []Class{Temporary, Permanent} {
		for id := range texts {
			e := &Error{Class: class, Code: 450, Enhanced: "4.7.1", Reason: id, Args: args}
			if class == Permanent {
				e.Code, e.Enhanced = 550, "5.7.1"
			}
			list = append(list, e)
		}
	}
	return list
}

// Whatever the words, a client does the same: tries again, or gives up.
func TestWordsKeepTheClass(t *testing.T) {
	t.Parallel()
	for _, e := range all() {
		for _, v := range []Voice{Own, Qmail} {
			r := e.Reply(v)
			status := r.Enhanced
			if _, code, ok := strings.Cut(r.Text, "(#"); ok {
				status = code
			}
			if (r.Code >= 500) != (e.Class == Permanent) || status != "" && (status[0] == '5') != (e.Class == Permanent) {
				t.Errorf("%s, %s: %+v", e.Reason, e.Class, r)
			}
		}
	}
}

func TestWordsOfTheFamilyStandOnlyForReasonsThatThereAre(t *testing.T) {
	t.Parallel()
	ids := IDs()
	for id, w := range wire {
		if !slices.Contains(ids, string(id)) {
			t.Errorf("%s is no reason", id)
		}
		if w.code < 400 || w.code > 599 || w.status != "" && w.status[0] != byte('0'+w.code/100) || strings.ContainsAny(w.text, "\r\n#") {
			t.Errorf("%s: %+v", id, w)
		}
	}
}

func TestRepliesAreWordedByTheirReason(t *testing.T) {
	t.Parallel()
	full := *QuotaExceeded
	full.Class, full.Code, full.Enhanced = Permanent, 552, "5.2.2"
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		e          *Error
		own, qmail Reply
	}{
		{RelayDenied.With("far.test"), Reply{550, "5.7.1", "relaying denied: far.test is not a domain of this server", false}, Reply{553, "", "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", true}},
		{OverLimit.With("too much"), Reply{421, "4.7.0", "too much, please try again later", false}, Reply{421, "", "too much, please try again later (#4.7.0)", false}},
		{QuotaExceeded, Reply{452, "4.2.2", QuotaExceeded.Text(English), false}, Reply{452, "4.2.2", "sorry, recipient mailbox is full (chkuser)", true}},
		{&full, Reply{552, "5.2.2", full.Text(English), false}, Reply{552, "5.2.2", "sorry, recipient mailbox is full (chkuser)", true}},
		{BareNewline, Reply{550, "5.6.11", BareNewline.Text(English), false}, Reply{550, "", "See https://cr.yp.to/docs/smtplf.html.", true}},
		{BareNewlineLater, Reply{451, "4.6.11", BareNewline.Text(English), false}, Reply{451, "", "See https://cr.yp.to/docs/smtplf.html.", true}},
		{ClientBlocked.With(long), Reply{451, "4.7.1", long, false}, Reply{451, "", long[:200], true}},
		{FilterRefused.With("no", "no (#5.7.1)"), Reply{554, "5.3.0", "no", false}, Reply{554, "", "no (#5.7.1)", true}},
		{FilterFailed.With("too many filters are running"), Reply{451, "4.3.0", "too many filters are running", false}, Reply{451, "", "too many filters are running (#4.3.0)", true}},
		{CommandOrder.With(MailFirst), Reply{503, "5.5.1", "bad sequence of commands: send MAIL first", false}, Reply{503, "", "MAIL first (#5.5.1)", true}},
	} {
		if own, qmail := c.e.Reply(Own), c.e.Reply(Qmail); own != c.own || qmail != c.qmail {
			t.Errorf("%s: %+v, %+v", c.e.Reason, own, qmail)
		}
	}
}
