package list

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	osfs "github.com/postilion/postilion/internal/fs/os"
)

// at is the time of the tests.
var at = time.Date(2026, 11, 21, 19, 54, 10, 0, time.UTC)

// newList makes the least list there is, lst@mx.test, with the files given.
func newList(t testing.TB, files map[string]string) (f *Folder, dir string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name, content string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"key": "secret\n", "outlocal": "lst\n", "outhost": "mx.test\n"} {
		write(name, content)
	}
	for name, content := range files {
		write(name, content)
	}
	fsys, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err = Open(Options{FS: fsys, Dir: dir, Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func mustTable(t testing.TB, f *Folder, name string) *Table {
	t.Helper()
	table, err := f.Table(name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// The files that lists on 64-bit and on 32-bit systems have the same addresses in (qmail
// reference 23.3).
func TestSubscribersLieWhereExistingListsHaveThem(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"joe@mx.test": "rS", "bad@far.test": "nk"} {
		if got := candidates(address); string(got) != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	for c := range 256 {
		for _, wide := range []bool{true, false} {
			for _, signed := range []bool{true, false} {
				if b := bucketOf("T"+string([]byte{byte(c)})+"@x.test", wide, signed); b < '@' || b > 't' {
					t.Errorf("byte %d: file %q", c, b)
				}
			}
		}
	}
}

func TestAnAddressIsFoundInEitherFileAndWrittenToTheFirst(t *testing.T) {
	t.Parallel()
	f, dir := newList(t, map[string]string{"subscribers/S": "Tjoe@mx.test\x00", "subscribers/k": "Tother@x.test\x00TBad@far.test\x00"})
	subs := mustTable(t, f, "")
	for _, a := range []string{"joe@mx.test", "JOE@MX.TEST", "bad@far.test"} {
		if _, found, err := subs.Find(a); !found || err != nil {
			t.Errorf("%s: %t, %v", a, found, err)
		}
		if added, err := subs.Add(t.Context(), a, "+manual", ""); added || err != nil {
			t.Errorf("%s is added again: %t, %v", a, added, err)
		}
	}
	if added, err := subs.Add(t.Context(), "Zed@FAR.Test", "+", "Zed\t\x1b[0m <zed>\n"); !added || err != nil {
		t.Fatal(added, err)
	}
	c := candidates("zed@far.test")[0]
	if got, err := os.ReadFile(filepath.Join(dir, "subscribers", string(rune(c)))); err != nil || string(got) != "TZed@far.test\x00" {
		t.Errorf("%q, %v", got, err)
	}
	if removed, err := subs.Remove(t.Context(), "BAD@far.test", "-probe"); !removed || err != nil {
		t.Fatal(removed, err)
	}
	if got, err := os.ReadFile(dir + "/subscribers/k"); err != nil || string(got) != "Tother@x.test\x00" {
		t.Errorf("%q, %v", got, err)
	}
	if removed, err := subs.Remove(t.Context(), "bad@far.test", "-"); removed || err != nil {
		t.Error(removed, err)
	}
	log, err := os.ReadFile(dir + "/Log")
	if want := "1795290850 + Zed@far.test Zed ?[0m <zed>?\n1795290850 -probe BAD@far.test\n"; err != nil || string(log) != want {
		t.Errorf("%q, %v", log, err)
	}
	all, err := subs.All()
	if err != nil || strings.Join(all, " ") != "joe@mx.test other@x.test Zed@far.test" && len(all) != 3 {
		t.Errorf("%q, %v", all, err)
	}
}

func TestWhatIsNoAddressIsRefused(t *testing.T) {
	t.Parallel()
	f, dir := newList(t, nil)
	subs := mustTable(t, f, "")
	for address, want := range map[string]string{
		"joe":                                 "address does not contain @",
		"@mx.test":                            "address does not contain @",
		"joe@":                                "address does not contain @",
		"":                                    "address does not contain @",
		"a\nb@mx.test":                        "address contains newline",
		"a\x00b@mx.test":                      "address contains a control character",
		"a\x1b@mx.test":                       "address contains a control character",
		strings.Repeat("a", 392) + "@mx.test": "",
		strings.Repeat("a", 393) + "@mx.test": "address is too long",
	} {
		_, err := subs.Add(t.Context(), address, "+", "")
		switch {
		case want == "" && err != nil, want != "" && (err == nil || err.Error() != want || !err.(*Error).Permanent):
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
	if added, err := mustTable(t, f, "deny").Add(t.Context(), "@spam.test", "+", ""); err == nil || added {
		t.Error("a table without a folder took an address")
	}
	if err := os.Mkdir(dir+"/deny", 0o755); err != nil {
		t.Fatal(err)
	}
	deny := mustTable(t, f, dir+"/deny")
	if added, err := deny.Add(t.Context(), "@spam.test", "+", ""); err != nil || !added {
		t.Error(added, err)
	}
	if denied, err := deny.FindSender("any@Spam.Test"); !denied || err != nil {
		t.Error(denied, err)
	}
	for _, name := range []string{"../x", "a/b", "..", "/etc", "a\x00b"} {
		if _, err := f.Table(name); err == nil {
			t.Errorf("%q is a table", name)
		}
	}
}

func TestBrokenFilesOfSubscribersAreToldAndDefer(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"joe@mx.test\x00":                        "entry 1 does not begin with T",
		"Tjoe@x.test\x00Tjoe@mx.test":            "entry 2 does not end in a zero byte",
		"Tjoe@mx.test\n":                         "entry 1 does not end in a zero byte",
		"\x00":                                   "entry 1 does not begin with T",
		"T" + strings.Repeat("a", 401) + "\x00":  "entry 1 is longer than an address of 400 bytes",
		"T" + strings.Repeat("a", 9000) + "\x00": "entry 1 is longer than an address of 400 bytes",
	} {
		f, dir := newList(t, map[string]string{"subscribers/r": content})
		subs := mustTable(t, f, "")
		want = dir + "/subscribers/r: " + want
		_, _, ferr := subs.Find("joe@mx.test")
		_, aerr := subs.Add(t.Context(), "joe@mx.test", "+", "")
		_, lerr := subs.All()
		for _, err := range []error{ferr, aerr, lerr} {
			if err == nil || err.Error() != want || err.(*Error).Permanent {
				t.Errorf("%.20q: %v, want %s", content, err, want)
			}
		}
		if got, _ := os.ReadFile(dir + "/subscribers/r"); !bytes.Equal(got, []byte(content)) {
			t.Errorf("%.20q was changed", content)
		}
	}
}
