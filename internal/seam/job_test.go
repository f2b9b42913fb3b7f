package seam

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// full fails when a field is zero: one that is added later must be carried too.
func full(t *testing.T, v any) {
	t.Helper()
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		if r.Field(i).IsZero() {
			t.Fatalf("%s.%s is not set by this test", r.Type(), r.Type().Field(i).Name)
		}
	}
}

func TestAJobAndItsVerdictsCrossWhole(t *testing.T) {
	t.Parallel()
	first := deliver.Recipient{N: 3, To: mail.Address{Local: "a\xff\x00", Domain: "b.test"}, Dest: "17", Final: mail.Address{Local: "c", Domain: "d.test"},
		From: mail.Address{Local: "e", Domain: "f.test"}, Folder: "Lists", Again: true, ORcpt: "rfc822;x", Notify: mail.NotifyDelay,
		User: &route.User{Name: "joe", UID: 1000, GID: 2000, Home: "/home/joe", Dash: "-", Ext: "A.b", Local: "joe-A.b", Host: "mx.test",
			Instructions: []route.Instruction{{Line: "!prog", Where: "/etc/aliases:3"}, {Line: "&a@b.test"}}, Owner: mail.Address{Local: "owner", Domain: "mx.test"}}}
	full(t, first)
	full(t, *first.User)
	job := &deliver.Job{Attempt: id.Source{}.New(), Recipients: []deliver.Recipient{first, {}}, Next: &route.NextHop{Domain: "g.test", Port: 2525}, Force: true}
	p, err := appendHead(nil, job)
	if err != nil {
		t.Fatal(err)
	}
	var got deliver.Job
	if err := decodeHead(p, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(job, &got); diff != "" {
		t.Error(diff)
	}
	failed := deliver.Verdict{Err: reason.LocalError.Because(errors.New("no disk")), Text: "t\xff", Host: "h", Addr: "192.0.2.1", Replay: true, TLS: "TLS1.3",
		Transcript: ">>> QUIT", RetryAfter: time.Minute, Relayed: true,
		Forward: &deliver.Forward{From: mail.Address{Local: "joe-owner-", Domain: "mx.test-@[]"}, To: []mail.Address{{Local: "a"}, {Local: "b", Domain: "c.test"}},
			Standing: &deliver.Standing{File: ".qmail-a\xff", Owner: true, OwnerDefault: true, Witness: "\x00\xff"}}}
	full(t, failed)
	full(t, *failed.Forward)
	full(t, *failed.Forward.Standing)
	verdicts := []deliver.Verdict{failed, {Text: "mailbox/new/1"}, {Text: "did 0+0+0\n", Forward: &deliver.Forward{To: []mail.Address{}, Standing: &deliver.Standing{OwnerDefault: true}}}, {}}
	if p, err = appendVerdicts(nil, verdicts); err != nil {
		t.Fatal(err)
	}
	back, err := decodeVerdicts(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := back[0].Err; err == nil || err.Error() != failed.Err.Error() || err.Reason != failed.Err.Reason {
		t.Errorf("the failure came as %v", err)
	}
	back[0].Err = failed.Err
	if diff := cmp.Diff(verdicts, back, cmpopts.EquateErrors()); diff != "" {
		t.Error(diff)
	}
}

func FuzzJobAndVerdicts(f *testing.F) {
	head, _ := appendHead(nil, &deliver.Job{Recipients: []deliver.Recipient{{N: 1, Dest: "2", User: &route.User{Name: "joe"}}}, Next: &route.NextHop{Host: "a.test"}})
	verdicts, _ := appendVerdicts(nil, []deliver.Verdict{{Text: "x", Forward: &deliver.Forward{To: []mail.Address{{Local: "a"}}, Standing: &deliver.Standing{File: ".qmail"}}}, {Err: reason.LocalError}})
	f.Add(head)
	f.Add(verdicts)
	f.Fuzz(func(t *testing.T, p []byte) {
		var job deliver.Job
		if decodeHead(p, &job) == nil && job.Next == nil {
			again, err := appendHead(nil, &job)
			var second deliver.Job
			if err != nil || decodeHead(again, &second) != nil || !cmp.Equal(job, second) {
				t.Errorf("%q does not come back", p)
			}
		}
		if list, err := decodeVerdicts(p); err == nil {
			if again, err := appendVerdicts(nil, list); err != nil || len(again) == 0 {
				t.Errorf("%q cannot be sent on: %v", p, err)
			}
		}
	})
}
