package queue_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/memstore"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

var bg = context.Background()

var sizes = []int{0, 100, 300_000}

func archive(t testing.TB, sizes ...int) (ids []id.ID, data []byte) {
	t.Helper()
	s := memstore.New(memstore.Options{})
	for i, size := range sizes {
		e := queuetest.Envelope("a\xff@b.example", "c@d.example")
		queuetest.Enqueue(t, s, e, queuetest.Body(i, size))
		ids = append(ids, e.ID)
	}
	err := queue.Update(bg, s, ids[1], func(m *queue.Message) error {
		m.Held = true
		m.States[1] = queue.RecipientState{N: 1, State: queue.Done, Attempts: 2, Last: time.Unix(9, 0).UTC()}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	n, err := queue.Export(bg, s, append(ids, id.ID{1}), &out)
	if n != len(ids) || err != nil {
		t.Fatalf("exported %d, %v", n, err)
	}
	return ids, out.Bytes()
}

func TestAnArchiveBringsMessagesToAnotherQueue(t *testing.T) {
	t.Parallel()
	ids, data := archive(t, sizes...)
	s := memstore.New(memstore.Options{})
	for _, want := range []int{3, 0} { // the second finds all there
		if n, err := queue.Import(bg, s, bytes.NewReader(data)); n != want || err != nil {
			t.Fatalf("imported %d, %v, want %d", n, err, want)
		}
	}
	for i, size := range sizes {
		if !bytes.Equal(queuetest.ReadBody(t, s, ids[i]), queuetest.Body(i, size)) {
			t.Errorf("body %d differs", i)
		}
	}
	m, err := s.Load(bg, ids[1])
	if err != nil || !m.Held || m.States[1].Attempts != 2 || m.States[1].State != queue.Done || m.Envelope.Recipients[0].To.Local != "a\xff" {
		t.Errorf("loaded %+v, %v", m, err)
	}
}

func TestADamagedArchiveIsNamed(t *testing.T) {
	t.Parallel()
	_, data := archive(t, sizes...)
	for cut := 0; cut < len(data)-2000; cut += 509 {
		if _, err := queue.Import(bg, memstore.New(memstore.Options{}), bytes.NewReader(data[:cut])); err == nil {
			t.Fatalf("an archive cut at %d of %d was imported", cut, len(data))
		}
	}
	if _, err := queue.Import(bg, memstore.New(memstore.Options{}), bytes.NewReader([]byte("hello"))); !errors.Is(err, queue.ErrFormat) {
		t.Errorf("text as archive: %v", err)
	}
}

func FuzzImport(f *testing.F) {
	_, data := archive(f, 0, 100)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		s := memstore.New(memstore.Options{})
		n, err := queue.Import(bg, s, bytes.NewReader(data))
		if err != nil && n < 0 {
			t.Fatal(n, err)
		}
	})
}

func TestWhyAnArchiveIsNotTakenIsTold(t *testing.T) {
	t.Parallel()
	_, data := archive(t, 100, 200)
	for _, tt := range []struct {
		name, in, want string
	}{
		{"nothing", "", "this is no archive of queue export, or it was cut off within its first message"},
		{"text", strings.Repeat("hello\n", 1000), "this is no archive of queue export"},
		{"another tar file", strings.Replace(string(data), "/envelope", "/passport", 1), "this is no archive of queue export"},
		{"half a message", string(data[:1000]), "this is no archive of queue export, or it was cut off within its first message"},
		{"a message and a half", string(data[:len(data)-4000]), "the archive was cut off: after 1 whole messages, 1 of which are new in the queue; the rest is not"},
		{"no end", string(data[:len(data)-1536]), "the archive was cut off: after 2 whole messages, 2 of which are new in the queue; the rest is not"},
	} {
		_, err := queue.Import(bg, memstore.New(memstore.Options{}), strings.NewReader(tt.in))
		if err == nil || err.Error() != tt.want || !errors.Is(err, queue.ErrFormat) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}
