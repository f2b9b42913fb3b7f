package queuedir_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/qmail/queuedir"
)

var (
	birth = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	later = birth.Add(time.Hour)
)

func file(text string, at time.Time) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(text), Mode: 0o644, ModTime: at}
}

// show tells what a queue holds, message by message.
func show(t *testing.T, files fstest.MapFS) string {
	t.Helper()
	q, err := queuedir.Scan(files)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, f := range q.Faults {
		fmt.Fprintln(&b, f)
	}
	for _, n := range q.Numbers() {
		m, err := q.Message(n)
		if err != nil {
			fmt.Fprintf(&b, "%d: %v\n", n, err)
			continue
		}
		fmt.Fprintf(&b, "%d: %s %d bytes, %s, from <%s>", n, m.Path, m.Size, m.Birth.Format("15:04"), m.Sender)
		if m.New {
			b.WriteString(", new")
		}
		for _, r := range m.Recipients {
			fmt.Fprintf(&b, ", %s local=%v done=%v", r.Address, r.Local, r.Done)
		}
		for _, f := range m.Failures {
			fmt.Fprintf(&b, ", failed %s: %q", f.Address, f.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestMessagesOfAllStates(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		// Preprocessed, split by 23.
		"mess/3/26": file("Received: x\n\nhello\n", later), "info/3/26": file("Fjoe@a.test\x00", birth),
		"local/3/26":  file("Djoe-vv-x@virt.test\x00Tkim@a.test\x00", later),
		"remote/3/26": file("Tfar@b.test\x00Dgone@b.test\x00", later),
		"bounce/26":   file("<gone@b.test>:\n192.0.2.1 does not like recipient.\nGiving up on 192.0.2.1.\n\n<x@y>:\n\n", later),
		// Committed, not preprocessed; info of an interrupted try is of no account. Not split.
		"mess/30": file("new\n", later), "intd/30": file("old", later), "todo/30": file("u507\x00p99\x00F\x00Tpostmaster\x00Ta@b\x00", later), "info/7/30": file("Fwrong\x00", birth),
		// Copied by tar: the number fits no folder, todo is split.
		"mess/1/99": file("x\n", later), "todo/4/99": file("F#@[]\x00", later),
		// Left by an injection that died.
		"mess/5/5": file("half", later), "intd/5": file("u1\x00", later), "pid/x": file("", later), "lock/sendmutex": file("", later),
	}
	const want = `5: its injection never ended: qmail promised nothing of it
26: mess/3/26 19 bytes, 10:00, from <joe@a.test>, joe-vv-x@virt.test local=true done=true, kim@a.test local=true done=false, far@b.test local=false done=false, gone@b.test local=false done=true, failed gone@b.test: "192.0.2.1 does not like recipient.\nGiving up on 192.0.2.1.", failed x@y: ""
30: mess/30 4 bytes, 11:00, from <>, new, postmaster local=false done=false, a@b local=false done=false
99: mess/1/99 2 bytes, 11:00, from <#@[]>, new
`
	if d := cmp.Diff(want, show(t, files)); d != "" {
		t.Error(d)
	}
}

func TestBrokenQueuesAreTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		files fstest.MapFS
		want  string
	}{
		{"no queue", fstest.MapFS{"x": file("", birth)}, "there is no folder mess in it: this is no qmail queue"},
		{"strangers", fstest.MapFS{"mess/0/23": file("", birth), "mess/23": file("", birth), "mess/0/core": file("", birth), "mess/0/1/2": file("", birth), "todo/23": file("F\x00", birth)},
			"mess/0/1: no regular file: it belongs to no message\nmess/0/core: the name is no number: it belongs to no message\nmess/23: there is mess/0/23 too: the first counts\n23: mess/0/23 0 bytes, 10:00, from <>, new\n"},
		{"content missing", fstest.MapFS{"mess/0/23": file("", birth), "todo/23": file("F\x00", birth), "info/1/24": file("F\x00", birth)},
			"23: mess/0/23 0 bytes, 10:00, from <>, new\n24: info/1/24: the message's content, mess/24, is missing\n"},
		{"info cut off", fstest.MapFS{"mess/0/23": file("", birth), "info/0/23": file("Fjoe", birth)}, "23: info/0/23: \"Fjoe\", want F, the sender and a NUL\n"},
		{"info empty", fstest.MapFS{"mess/0/23": file("", birth), "info/0/23": file("", birth)}, "23: info/0/23: \"\", want F, the sender and a NUL\n"},
		{"recipients cut off", fstest.MapFS{"mess/0/23": file("", birth), "info/0/23": file("F\x00", birth), "local/0/23": file("Ta@b\x00Tc", birth)},
			"23: local/0/23: the last record, \"Tc\", has no end: the file was cut off\n"},
		{"recipients of another kind", fstest.MapFS{"mess/0/23": file("", birth), "info/0/23": file("F\x00", birth), "remote/0/23": file("Xa@b\x00", birth)},
			"23: remote/0/23: unknown record type 'X', want T or D\n"},
		{"an empty record", fstest.MapFS{"mess/0/23": file("", birth), "info/0/23": file("F\x00", birth), "remote/0/23": file("\x00", birth)},
			"23: remote/0/23: an empty record, want a letter and an address\n"},
		{"todo without sender", fstest.MapFS{"mess/0/23": file("", birth), "todo/23": file("u1\x00p2\x00", birth)}, "23: todo/23: no sender, want a record F\n"},
		{"todo of another kind", fstest.MapFS{"mess/0/23": file("", birth), "todo/23": file("F\x00Q\x00", birth)}, "23: todo/23: unknown record type 'Q', want u, p, F or T\n"},
	} {
		if d := cmp.Diff(tc.want, show(t, tc.files)); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}
}

func TestUnmadeIsToldApart(t *testing.T) {
	t.Parallel()
	q, err := queuedir.Scan(fstest.MapFS{"mess/1": file("", birth)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Message(1); !errors.Is(err, queuedir.ErrUnmade) {
		t.Error(err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("Fa@b\x00"), []byte("Ta\x00Db\x00"), []byte("<a>:\nx\n\n"), false)
	f.Add([]byte("u1\x00p2\x00Fa\x00Tb\x00"), []byte(""), []byte("\n\n\n<"), true)
	f.Fuzz(func(t *testing.T, envelope, channel, bounce []byte, isNew bool) {
		files := fstest.MapFS{"mess/1": file("x", birth), "local/1": {Data: channel}, "bounce/1": {Data: bounce}}
		if isNew {
			files["todo/1"] = &fstest.MapFile{Data: envelope}
		} else {
			files["info/1"] = &fstest.MapFile{Data: envelope}
		}
		q, err := queuedir.Scan(files)
		if err != nil {
			t.Fatal(err)
		}
		m, err := q.Message(1)
		if err != nil {
			return
		}
		for _, r := range m.Recipients {
			if strings.Contains(r.Address, "\x00") {
				t.Fatalf("%+v", r)
			}
		}
	})
}
