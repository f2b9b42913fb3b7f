package maildir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/mailbox/maildir"
)

// lay writes files below the mail folder.
func (w *world) lay(t testing.TB, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(w.root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// listed is scanned, identified and measured.
func (w *world) listed(t testing.TB, format string) []maildir.Entry {
	t.Helper()
	list, err := w.Scan("m")
	if err == nil {
		err = w.Identify("m", list, format)
	}
	if err == nil {
		list, _, err = w.Measure(context.Background(), "m", list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func uidls(list []maildir.Entry) string {
	var ids []string
	for _, e := range list {
		ids = append(ids, e.UIDL)
	}
	return strings.Join(ids, " ")
}

func TestMessagesAreListedByArrivalOnceAndWithoutForeignFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	w.lay(t, map[string]string{
		"m/new/1000000001.b": "", "m/cur/1000000000.c:2,S": "", "m/cur/999999999.z": "", "m/cur/noname": "",
		"m/new/1000000002.both": "", "m/cur/1000000002.both:2,F": "",
		"m/cur/.hidden": "", "m/cur/folder/x": "", "m/tmp/5.t": "",
	})
	if got, want := uidls(w.listed(t, "")), "noname 999999999.z 1000000000.c 1000000001.b 1000000002.both"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
}

func TestRemovingAMessageRemovesBothNamesOfAMoveCutShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	w.lay(t, map[string]string{"m/new/1.a": "x", "m/cur/1.a:2,S": "x", "m/maildirsize": "100S\n           1            1\n"})
	list := w.listed(t, "")
	removed, err := w.Apply("m", maildir.Change{Remove: []*maildir.Entry{&list[0]}})
	if err != nil || len(removed) != 1 {
		t.Fatal(removed, err)
	}
	want := map[string]string{"m/maildirsize": "100S\n           1            1\n          -1           -1\n"}
	got := w.files(t)
	delete(got, "m/postilion-sizes")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIDsOfOtherServersAreKept(t *testing.T) {
	t.Parallel()
	files := map[string]string{"m/cur/1.a:2,S": "x\n", "m/cur/2.b,S=2:2,": "x\n", "m/new/3.c": "x\n", "m/new/4.d e": "x\n"}
	for name, c := range map[string]struct{ file, content, format, want string }{
		"none":               {"x", "", "", `1.a 2.b,S=2 3.c 4.d\x20e`},
		"Dovecot":            {"dovecot-uidlist", "3 V255 N9 Gx\n5 :1.a\n3 :2.b,S=2:2,\n", "", `00000003000000FF 00000005000000FF 3.c 4.d\x20e`},
		"Dovecot, its ids":   {"dovecot-uidlist", "3 V255 N9 Gx\n5 Pfive W9 :1.a\n", "", `five 2.b,S=2 3.c 4.d\x20e`},
		"Dovecot 0.99":       {"dovecot-uidlist", "1 255 9\n5 1.a\n", "", `00000005000000FF 2.b,S=2 3.c 4.d\x20e`},
		"another format":     {"dovecot-uidlist", "3 V255 N9\n5 :1.a\n", "%v.%u-%f%%", `255.5-1.a% 2.b,S=2 3.c 4.d\x20e`},
		"names by choice":    {"dovecot-uidlist", "3 V255 N9\n5 Pfive :1.a\n", "name", `1.a 2.b,S=2 3.c 4.d\x20e`},
		"ours":               {"postilion-uidlist", "3 V255 N9\n5 Pfive :1.a\n1 :3.c\n", "", `3.c five 2.b,S=2 4.d\x20e`},
		"Courier":            {"courierpop3dsizelist", "/2 9 77\n1.a 3 5:77\n2.b,S=2 3 0:0\n", "", `UID5-77 2.b,S=2 3.c 4.d\x20e`},
		"a later version":    {"dovecot-uidlist", "4 V255 N9\n5 :1.a\n", "", `1.a 2.b,S=2 3.c 4.d\x20e`},
		"garbage":            {"dovecot-uidlist", "\n\n\x00\n3\n5 :\n 5 :1.a\n99999999999999999999 :1.a\n5 P :1.a", "", `1.a 2.b,S=2 3.c 4.d\x20e`},
		"a line without end": {"dovecot-uidlist", "3 V255 N9\n" + strings.Repeat("5", 100000) + "\n7 :3.c\n", "", `00000007000000FF 1.a 2.b,S=2 4.d\x20e`},
	} {
		w := newWorld(t, maildir.Options{})
		w.lay(t, files)
		w.lay(t, map[string]string{"m/" + c.file: c.content})
		if got := uidls(w.listed(t, c.format)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// FuzzUIDList reads any file as a list: no id has a byte that a reply may not have.
func FuzzUIDList(f *testing.F) {
	for _, s := range []string{"3 V255 N9 Gx\n5 Px W9 S3 :1.a\n", "1 255 9\n5 1.a\n", "/2 9 77\n1.a 3 5:77\n", "3 V\n5  P\x01 :1.a\n", "3 V1\n1 P\x7f :1.a\n"} {
		f.Add(s, "%08Xu%08Xv")
	}
	f.Add("3 V1\n1 :1.a\n", "%")
	f.Add("3 V1\n1 :1.a\n", "%999Xu %f \n")
	w := newWorld(f, maildir.Options{})
	w.lay(f, map[string]string{"m/cur/1.a:2,S": "x\n"})
	f.Fuzz(func(t *testing.T, content, format string) {
		for _, name := range []string{"dovecot-uidlist", "postilion-uidlist", "courierpop3dsizelist"} {
			w.lay(t, map[string]string{"m/" + name: content})
		}
		for _, e := range w.listed(t, format) {
			if e.UIDL == "" || !utf8.ValidString(e.UIDL) || strings.ContainsFunc(e.UIDL, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
				t.Errorf("id %q", e.UIDL)
			}
			if e.Wire < 0 {
				t.Errorf("wire size %d", e.Wire)
			}
		}
	})
}

// A user's file may be of any size without a disk for it. Nobody waits for its end: not a list's, not a message's, whose size
// on disk does then, and nothing once the server stops.
func TestFilesOfAnySizeEndSomewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	w.lay(t, map[string]string{"m/tmp/x": "", "m/cur/1000000000.c:2,S": "", "m/cur/1000000001.d:2,S": "a\nb\n", "m/dovecot-uidlist": "3 V1 N3\n1 :1000000000.c:2,S\n2 :1000000001.d:2,S\n"})
	const size = 1 << 40
	if err := os.Truncate(filepath.Join(w.root, "m/dovecot-uidlist"), size); err != nil {
		t.Skipf("no file of %d bytes can be made here: %v", size, err)
	}
	list, err := w.Scan("m")
	if err == nil {
		err = w.Identify("m", list, "")
	}
	if want := "0000000100000001 0000000200000001"; err != nil || uidls(list) != want {
		t.Fatalf("%q, %v, want %q", uidls(list), err, want)
	}
	if err := os.Truncate(filepath.Join(w.root, "m/cur/1000000000.c:2,S"), size); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an estimate is not remembered as a size
		for i := range list {
			list[i].Size, list[i].Wire = -1, -1
		}
		if _, _, err := w.Measure(t.Context(), "m", list); err != nil || list[0].Wire != size || list[1].Wire != 6 {
			t.Errorf("%v, %v", list, err)
		}
	}
	kept, err := os.ReadFile(filepath.Join(w.root, "m/postilion-sizes"))
	if want := "1\n4 6 1000000001.d\n"; err != nil || string(kept) != want {
		t.Errorf("%q, %v, want %q", kept, err, want)
	}
	if err := errors.Join(os.Remove(filepath.Join(w.root, "m/postilion-sizes")), os.Truncate(filepath.Join(w.root, "m/cur/1000000000.c:2,S"), 1<<30)); err != nil {
		t.Fatal(err)
	}
	list[0].Wire = -1
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Measure(ctx, "m", list); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
