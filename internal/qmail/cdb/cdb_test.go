package cdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/qmail/cdb"
)

// build writes the pairs key, value, key, value.
func build(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var f cdb.Buffer
	w := cdb.NewWriter(&f)
	for i := 0; i < len(pairs); i += 2 {
		if err := w.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Bytes()
}

func TestKnownBytes(t *testing.T) {
	t.Parallel()
	// One record "one" → "Hello": the header, 16 bytes of record, two slots.
	got := build(t, "one", "Hello")
	h := uint32(5381)
	for _, c := range []byte("one") {
		h = (h<<5 + h) ^ uint32(c)
	}
	le := binary.LittleEndian
	want := make([]byte, 2048)
	for i := range uint32(256) {
		pos, n := uint32(2048+16), uint32(0)
		if i > h%256 {
			pos += 16
		}
		if i == h%256 {
			n = 2
		}
		le.PutUint32(want[i*8:], pos)
		le.PutUint32(want[i*8+4:], n)
	}
	want = le.AppendUint32(le.AppendUint32(want, 3), 5)
	want = append(want, "oneHello"...)
	slots := make([]byte, 16)
	le.PutUint32(slots[h>>8%2*8:], h)
	le.PutUint32(slots[h>>8%2*8+4:], 2048)
	if want = append(want, slots...); !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nwant\n%x", got[2048:], want[2048:])
	}
}

func TestWhatIsWrittenIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.StringMatching(`[a-d]{0,3}`), 0, 60).Draw(t, "keys")
		var f cdb.Buffer
		w := cdb.NewWriter(&f)
		model := map[string][]string{}
		var order []cdb.Record
		for i, k := range keys {
			v := fmt.Sprint(i)
			if err := w.Put([]byte(k), []byte(v)); err != nil {
				t.Fatal(err)
			}
			model[k] = append(model[k], v)
			order = append(order, cdb.Record{Key: []byte(k), Value: []byte(v)})
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := cdb.FromBytes(f.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for k, want := range model {
			var got []string
			for v, err := range r.Values([]byte(k)) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(v))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%q: %s", k, d)
			}
		}
		if _, found, err := r.Get([]byte("none")); found || err != nil {
			t.Fatalf("a key that was not written: %v, %v", found, err)
		}
		var got []cdb.Record
		for rec, err := range r.All() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rec)
		}
		if d := cmp.Diff(order, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestBrokenFilesAreToldNotBelieved(t *testing.T) {
	t.Parallel()
	good := build(t, "one", "Hello")
	at := slotOf(good)
	change := func(pos int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[pos:], v)
		return b
	}
	for _, tc := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "not a constant database: 0 bytes, want at least 2048"},
		{"a table behind the end", change(at, 4000), "not a constant database: a table of 2 slots at 4000 lies behind the end at 2080"},
		{"a table of all memory", change(at+4, 1<<31), "not a constant database: a table of 2147483648 slots at 2064 lies behind the end at 2080"},
		{"a value of all memory", change(2052, 0xffffffff), "not a constant database: 4294967295 bytes at 2059 lie behind the end at 2080"},
		{"cut", good[:2070], "not a constant database: a table of 2 slots at 2064 lies behind the end at 2070"},
	} {
		r, err := cdb.FromBytes(tc.file)
		if err == nil {
			_, _, err = r.Get([]byte("one"))
		}
		if !errors.Is(err, cdb.ErrBroken) || err.Error() != tc.want {
			t.Errorf("%s: %v; want %s", tc.name, err, tc.want)
		}
	}
	r, _ := cdb.FromBytes(change(2048, 1<<30))
	for _, err := range r.All() {
		if !errors.Is(err, cdb.ErrBroken) {
			t.Errorf("iteration over a record that is too long: %v", err)
		}
	}
}

// slotOf returns the position of the only table in the header of a file of one record.
func slotOf(file []byte) int {
	for i := 0; i < 2048; i += 8 {
		if binary.LittleEndian.Uint32(file[i+4:]) > 0 {
			return i
		}
	}
	return -1
}

func FuzzReader(f *testing.F) {
	f.Add(build(f, "one", "Hello", "", "x", "one", "again"), []byte("one"))
	f.Add(build(f), []byte(""))
	f.Add(make([]byte, 2048), []byte("a"))
	f.Fuzz(func(t *testing.T, file, key []byte) {
		r, err := cdb.FromBytes(file)
		if err != nil {
			return
		}
		n := 0
		for range r.Values(key) {
			n++
		}
		for range r.All() {
			n++
		}
		if n > len(file) {
			t.Fatalf("%d records in %d bytes", n, len(file))
		}
	})
}
