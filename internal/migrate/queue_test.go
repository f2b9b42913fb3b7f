package migrate_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/memstore"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

var born = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func waiting() fstest.MapFS {
	file := func(text string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(text), Mode: 0o644, ModTime: born}
	}
	return fstest.MapFS{
		"mess/3/26": file("Received: x\n\nhällo\n"), "info/3/26": file("Fjoe@a.test\x00"),
		"local/3/26":  file("Tjoe-vv-Info@virt.test\x00Djim@a.test\x00Tjoe-vv@a.test\x00"),
		"remote/3/26": file("Tfar@b.test\x00"), "bounce/26": file("<gone@b.test>:\nSorry, no host. (#5.1.2)\n\n"),
		"mess/30": file("new\n"), "todo/30": file("u1\x00p1\x00F#@[]\x00Tpostmaster\x00"),
		"mess/31": file("done\n"), "info/31": file("F\x00"), "remote/31": file("Da@b\x00"),
		"mess/32": file("half"), "mess/33": file("x"), "info/33": file("broken"), "mess/core": file(""),
	}
}

// take runs a take-over and returns what was told and what came of it.
func take(t *testing.T, s migrate.QueueSource, store queue.Store) (told string, imported int) {
	t.Helper()
	var b strings.Builder
	s.Each = func(n migrate.QueueNote) {
		fmt.Fprintf(&b, "%s %s: from <%s> to %s failed %s done %d %s\n", n.Message, n.Fate, n.From, n.Recipients, n.Failures, n.Done, n.Text)
	}
	var archive bytes.Buffer
	if _, err := s.Archive(context.Background(), &archive); err != nil {
		t.Fatal(err)
	}
	imported, err := queue.Import(context.Background(), store, &archive)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), imported
}

func TestAQmailQueueIsTakenOverWithItsAge(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	s := migrate.QueueSource{Root: waiting(), Virtual: control.Virtualdomains{Table: control.NewMap("f", []byte("virt.test:joe-vv\n"))}}
	told, n := take(t, s, store)
	const want = `mess/core not carried: from <> to [] failed [] done 0 the name is no number: it belongs to no message
26 taken: from <joe@a.test> to [Info@virt.test joe-vv@a.test far@b.test] failed [gone@b.test] done 1 
30 taken: from <#@[]> to [postmaster] failed [] done 0 
31 not carried: from <> to [] failed [] done 1 finished: every recipient is done and nobody is to be told
32 not carried: from <> to [] failed [] done 0 its injection never ended: qmail promised nothing of it
33 not carried: from <> to [] failed [] done 0 info/33: "broken", want F, the sender and a NUL
`
	if d := cmp.Diff(want, told); d != "" || n != 2 {
		t.Error(n, d)
	}
	for _, v := range queuetest.Pending(t, store) {
		m, err := store.Load(context.Background(), v)
		if err != nil {
			t.Fatal(err)
		}
		e := m.Envelope
		if !e.Accepted.Equal(born) {
			t.Errorf("%s is from %s, want %s", v, e.Accepted, born)
		}
		if len(e.Recipients) == 1 {
			continue
		}
		body, err := store.Body(context.Background(), v)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(body)
		body.Close()
		if string(text) != "Received: x\n\nhällo\n" || e.Size != int64(len(text)) || e.CRLFSize != e.Size+3 || !e.Eight {
			t.Errorf("%q, %+v", text, e)
		}
		if r := e.Recipients[3]; r.Refused == nil || r.Refused.Enhanced != "5.1.2" || r.Refused.Args[0] != "Sorry, no host. (#5.1.2)" {
			t.Errorf("%+v", r)
		}
	}
	// Again: what is still there stays as it is.
	if _, n := take(t, s, store); n != 0 {
		t.Errorf("the second run adds %d messages", n)
	}
}

func TestHeldAndDryRun(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	take(t, migrate.QueueSource{Root: waiting(), Held: true}, store)
	for _, v := range queuetest.Pending(t, store) {
		if m, err := store.Load(context.Background(), v); err != nil || !m.Held {
			t.Errorf("%+v, %v", m, err)
		}
	}
	dry := migrate.QueueSource{Root: waiting(), Each: func(migrate.QueueNote) {}}
	if n, err := dry.Archive(context.Background(), nil); n != 2 || err != nil {
		t.Error(n, err)
	}
	if _, err := (migrate.QueueSource{Root: fstest.MapFS{}}).Archive(context.Background(), nil); err == nil || err.Error() != "there is no folder mess in it: this is no qmail queue" {
		t.Error(err)
	}
}
