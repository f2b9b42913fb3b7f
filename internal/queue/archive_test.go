package queue_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
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

// withoutSums is an archive as it was written before there were sums.
func withoutSums(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, "/sha256") {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnArchiveWithoutSumsIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	ids, data := archive(t, sizes...)
	old := withoutSums(t, data)
	if n, err := queue.CheckArchive(bg, bytes.NewReader(old)); n != len(sizes) || err != nil {
		t.Errorf("checked %d, %v", n, err)
	}
	s := memstore.New(memstore.Options{})
	for _, want := range []int{len(sizes), 0} {
		if n, err := queue.Import(bg, s, bytes.NewReader(old)); n != want || err != nil {
			t.Errorf("imported %d, %v", n, err)
		}
	}
	if got := queuetest.ReadBody(t, s, ids[1]); !bytes.Equal(got, queuetest.Body(1, sizes[1])) {
		t.Errorf("the body is %q", got)
	}
}

// Common tools can check an archive, too.
func TestTheSumsAreThoseOfSha256sum(t *testing.T) {
	t.Parallel()
	_, data := archive(t, 0, 5000)
	var want strings.Builder
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		content, err := io.ReadAll(r)
		switch {
		case err != nil:
			t.Fatal(err)
		case !strings.HasSuffix(h.Name, "/sha256"):
			fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256(content), h.Name)
		case string(content) != want.String():
			t.Errorf("%s is\n%swant\n%s", h.Name, content, want.String())
		default:
			want.Reset()
		}
	}
}

func TestAnArchiveThatWasCutOffIsRefused(t *testing.T) {
	t.Parallel()
	_, data := archive(t, sizes...)
	for what, data := range map[string][]byte{"with sums": data, "without": withoutSums(t, data)} {
		for cut := 0; cut < len(data)-2000; cut += 509 {
			if _, err := queue.CheckArchive(bg, bytes.NewReader(data[:cut])); !errors.Is(err, queue.ErrFormat) {
				t.Fatalf("%s, cut at %d of %d: %v", what, cut, len(data), err)
			}
			if _, err := queue.Import(bg, memstore.New(memstore.Options{}), bytes.NewReader(data[:cut])); !errors.Is(err, queue.ErrFormat) {
				t.Fatalf("%s, cut at %d of %d, was imported: %v", what, cut, len(data), err)
			}
		}
	}
}

// Any byte that is not as it was written: the archive is refused, or what is imported is what was exported (of the
// file's own bytes, such as its padding and times, none counts). Import alone takes no message that differs, either.
func TestAnArchiveWithAFlippedBitIsRefusedOrMeansTheSame(t *testing.T) {
	t.Parallel()
	ids, data := archive(t, 0, 700)
	sound := memstore.New(memstore.Options{})
	if _, err := queue.Import(bg, sound, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	want := map[id.ID]string{}
	for _, v := range ids {
		want[v] = imported(t, sound, v)
	}
	refused := 0
	for at := 0; at < len(data); at += 3 {
		damaged := bytes.Clone(data)
		damaged[at] ^= 1 << (at % 8)
		_, err := queue.CheckArchive(bg, bytes.NewReader(damaged))
		s := memstore.New(memstore.Options{})
		n, importErr := queue.Import(bg, s, bytes.NewReader(damaged))
		if (err == nil) != (importErr == nil) || err != nil && !errors.Is(err, queue.ErrFormat) || err == nil && n != len(ids) {
			t.Fatalf("byte %d: checked with %v, %d imported with %v", at, err, n, importErr)
		}
		if err != nil {
			refused++
		}
		found := 0
		for _, v := range ids {
			if _, err := s.Load(bg, v); err != nil {
				continue
			}
			if found++; imported(t, s, v) != want[v] {
				t.Fatalf("byte %d: message %s is another", at, v)
			}
		}
		if found != n {
			t.Fatalf("byte %d: %d imported, %d of them known", at, n, found)
		}
	}
	if refused < 1000 { // the headers and contents of nine entries
		t.Errorf("%d of %d flips were found", refused, len(data)/3)
	}
}

// imported is all that a queue knows of a message.
func imported(t testing.TB, s queue.Store, v id.ID) string {
	t.Helper()
	m, err := s.Load(bg, v)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v %+v %v %q", *m.Envelope, m.States, m.Held, queuetest.ReadBody(t, s, v))
}

func TestTextIsNoArchive(t *testing.T) {
	t.Parallel()
	if _, err := queue.Import(bg, memstore.New(memstore.Options{}), strings.NewReader("hello")); !errors.Is(err, queue.ErrFormat) {
		t.Errorf("text as archive: %v", err)
	}
}

func FuzzImport(f *testing.F) {
	_, data := archive(f, 0, 100)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(withoutSums(f, data))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := memstore.New(memstore.Options{})
		n, err := queue.Import(bg, s, bytes.NewReader(data))
		whole, checked := queue.CheckArchive(bg, bytes.NewReader(data))
		if (err == nil) != (checked == nil) || n > whole {
			t.Fatalf("%d imported, %v; checked %d, %v", n, err, whole, checked)
		}
	})
}

func TestWhyAnArchiveIsNotTakenIsTold(t *testing.T) {
	t.Parallel()
	ids, data := archive(t, 100, 200)
	at := func(what string) int { // the last place of it
		i := strings.LastIndex(string(data), what)
		if i < 0 {
			t.Fatalf("no %q in the archive", what)
		}
		return i
	}
	changed := func(i int) string {
		damaged := bytes.Clone(data)
		damaged[i] ^= 4
		return string(damaged)
	}
	first, last := ids[0].String(), ids[1].String()
	body := at(string(queuetest.Body(1, 200)))
	old := string(withoutSums(t, data))
	mixed := old[:strings.Index(old, last+"/envelope")] + string(data[strings.Index(string(data), last+"/envelope"):])
	for _, tt := range []struct {
		name, in, want string
		new            int // messages that an import without a check takes before
	}{
		{"nothing", "", "this is no archive of queue export, or it was cut off within its first message", 0},
		{"text", strings.Repeat("hello\n", 1000), "this is no archive of queue export", 0},
		{"another tar file", strings.Replace(string(data), "/envelope", "/passport", 1), "this is no archive of queue export", 0},
		{"half an entry", string(data[:body+100]), "the archive was cut off in entry " + last + "/body: ", 1},
		{"no sums", string(data[:at(last+"/sha256")]), "the archive was cut off after entry " + last + "/body: ", 1},
		{"no end", string(data[:len(data)-1536]), "the archive was cut off after entry " + last + "/sha256: ", 2},
		{"another body", changed(body), "the archive is damaged in entry " + last + "/body: its SHA-256 is not the one that was exported with it: ", 1},
		{"another sender", changed(strings.Index(string(data), "sender")), "the archive is damaged in entry " + first + "/envelope: its SHA-256 is not the one that was exported with it: ", 0},
		{"another sum", changed(at("  "+last+"/states") - 1), "the archive is damaged in entry " + last + "/states: its SHA-256 is not the one that was exported with it: ", 1},
		{"another header", changed(at(last + "/states\x00")), "the archive is damaged after entry " + last + "/envelope: ", 1},
		{"sums from a message on", mixed, "the archive is damaged after entry " + last + "/body: entry \"" + last + "/sha256\" follows, and messages before have none of that kind: ", 1},
	} {
		refused := func(what string, err error, fate string) {
			want := tt.want
			if strings.HasSuffix(want, ": ") {
				want += fate
			}
			if err == nil || err.Error() != want || !errors.Is(err, queue.ErrFormat) {
				t.Errorf("%s, %s: %v, want %s", tt.name, what, err, want)
			}
		}
		_, err := queue.CheckArchive(bg, strings.NewReader(tt.in))
		refused("checked", err, "nothing of it was put into the queue")
		n, err := queue.Import(bg, memstore.New(memstore.Options{}), strings.NewReader(tt.in))
		refused("imported", err, fmt.Sprintf("after %d whole messages, %[1]d of which are new in the queue; the rest is not", tt.new))
		if n != tt.new {
			t.Errorf("%s: %d were imported, want %d", tt.name, n, tt.new)
		}
	}
}

// What an archive says to be in a message sizes no memory. The test runs alone, since it measures that.
func TestAnArchiveOfTooManyRecipientsIsRefused(t *testing.T) {
	archive := func(envelope []byte, e *mail.Envelope) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		err := w.WriteHeader(&tar.Header{Name: e.ID.String() + "/envelope", Mode: 0o600, Size: int64(len(envelope)), Format: tar.FormatPAX})
		if _, werr := w.Write(envelope); errors.Join(err, werr) != nil {
			t.Fatal(err, werr)
		}
		return out.Bytes()
	}
	e := queuetest.Envelope()
	e.Recipients = make([]mail.Recipient, 1_000_001)
	many := archive(queue.AppendEnvelope(nil, e), e)
	e.Recipients = nil
	claim := binary.AppendUvarint(bytes.TrimSuffix(queue.AppendEnvelope(nil, e), []byte{0}), 60<<20)
	claimed := archive(append(claim, make([]byte, 61<<20)...), e) // more than they could be in these bytes
	for want, in := range map[string][]byte{
		"1000001 recipients, want at most 1000000":      many,
		"a list of 62914560 elements in 63963136 bytes": claimed,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := queue.CheckArchive(bg, bytes.NewReader(in))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, queue.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 512<<20 {
			t.Errorf("%s: it took %d MiB", want, took>>20)
		}
	}
}

// A sparse file's holes are in no archive that export wrote: a few bytes of them would be read as exabytes of zeros.
func TestASparseEntryIsRefusedUnread(t *testing.T) {
	t.Parallel()
	e := queuetest.Envelope("c@d.example")
	e.Size = 1 << 32
	state := queue.AppendState(nil, &queue.RecipientState{})
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{"/envelope", queue.AppendEnvelope(nil, e)},
		{"/states", append([]byte{0, byte(len(state))}, state...)},
	} {
		err := w.WriteHeader(&tar.Header{Name: e.ID.String() + f.name, Mode: 0o600, Size: int64(len(f.content)), Format: tar.FormatPAX})
		if _, werr := w.Write(f.content); errors.Join(err, werr) != nil {
			t.Fatal(err, werr)
		}
	}
	body := e.ID.String() + "/body"
	if err := w.WriteHeader(&tar.Header{Name: body, Mode: 0o600, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	h := data[bytes.LastIndex(data, []byte(body)):][:512]
	h[156] = tar.TypeGNUSparse
	copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", e.Size, 0)) // nothing, at its end
	copy(h[483:], fmt.Sprintf("%012o", e.Size))
	copy(h[148:], "        ") // the sum of the header's bytes, with blanks for itself
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	want := "entry \"" + body + "\" is no plain file"
	if _, err := queue.CheckArchive(bg, bytes.NewReader(data)); !errors.Is(err, queue.ErrFormat) || !strings.Contains(err.Error(), want) {
		t.Errorf("checked: %v, want %s", err, want)
	}
	if _, err := queue.Import(bg, memstore.New(memstore.Options{}), bytes.NewReader(data)); !errors.Is(err, queue.ErrFormat) || !strings.Contains(err.Error(), want) {
		t.Errorf("imported: %v, want %s", err, want)
	}
}

// An archive that cannot be read is not for that a damaged one.
func TestACheckPassesOnWhatTheFileSays(t *testing.T) {
	t.Parallel()
	_, data := archive(t, 100, 200)
	broken := errors.New("the disk is broken")
	if _, err := queue.CheckArchive(bg, io.MultiReader(bytes.NewReader(data[:2000]), iotest.ErrReader(broken))); err != broken {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(bg)
	cancel()
	if _, err := queue.CheckArchive(ended, bytes.NewReader(data)); err != context.Canceled {
		t.Errorf("%v", err)
	}
}
