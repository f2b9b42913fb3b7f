package submit

import (
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// This file holds messages against the operator's content rules as they pass by. Without rules a transaction has no
// check, and nothing is done.

// beginCheck starts to look at the message. What a filter hands on was looked at when it came.
func (t *Transaction) beginCheck() {
	rules := t.s.d.Content
	if rules == nil || t.src.Filtered {
		return
	}
	whose := headers.Programs
	switch {
	case t.src.AccountID != 0:
		whose = headers.Accounts
	case t.src.Client.IsValid():
		whose = headers.Network
	}
	t.check = rules.Begin(whose)
}

// endCheckedHeader returns the fields that rules add. A message that is refused by its header is not stored further.
func (t *Transaction) endCheckedHeader() []byte {
	if t.check == nil || t.checked {
		return nil
	}
	t.checked = true
	added, refused := t.check.EndHeader()
	if refused != nil && t.err == nil {
		t.fail(refused)
	}
	return added
}

// endCheck ends the check, tells its hits, and returns why the message is refused.
func (t *Transaction) endCheck() *reason.Error {
	if t.check == nil {
		return nil
	}
	v := t.check.End()
	t.check = nil
	t.env.Held = v.Hold
	for i := range v.Hits {
		h := &v.Hits[i]
		e := t.event(trace.Matched)
		e.From, e.Rule, e.Text = t.env.From.String(), h.Rule, h.String()
		t.s.d.Events.Record(e)
	}
	if v.More > 0 {
		e := t.event(trace.Matched)
		e.From, e.Count, e.Text = t.env.From.String(), int64(v.More), "further hits of rules are not told"
		t.s.d.Events.Record(e)
	}
	if v.Complex != "" && v.Refused == nil {
		e := t.event(trace.Matched)
		e.From, e.Text = t.env.From.String(), "not all of the message was looked at: it has too many "+v.Complex
		t.s.d.Events.Record(e)
	}
	return v.Refused
}

// dropCheck ends a check whose verdict does not matter.
func (t *Transaction) dropCheck() {
	if t.check != nil {
		t.check.Close()
		t.check = nil
	}
}
