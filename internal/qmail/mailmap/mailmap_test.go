package mailmap

import "testing"

func TestKeysBlanksValues(t *testing.T) {
	t.Parallel()
	m := Parse("access", []byte("# a comment\n\nTo:Joe@Example.test\t550 gone away \n  @x.test   joe\r\nalone\n@X.test second\n"))
	for key, want := range map[string]string{"to:joe@example.test": "550 gone away", "@x.test": "joe"} {
		if e, ok, err := m.Lookup(key); err != nil || !ok || e.Value != want {
			t.Errorf("%s: %+v %v %v", key, e, ok, err)
		}
	}
	if e, _, _ := m.Lookup("@X.TEST"); e.Place.String() != "access:4" {
		t.Error(e.Place)
	}
	_, ok, err := m.Lookup("alone")
	if want := "access:5: a key alone, want blanks and a value behind it"; ok || err == nil || err.Error() != want {
		t.Error(ok, err)
	}
	if _, ok, err := m.Lookup("nobody"); ok || err != nil || len(m.Entries()) != 3 {
		t.Error(ok, err, m.Entries())
	}
	if _, ok, err := (*Map)(nil).Lookup("x"); ok || err != nil {
		t.Error(ok, err)
	}
}

func TestValuesGoOnInIndentedLines(t *testing.T) {
	t.Parallel()
	m := Parse("virtual", []byte("a@x.test joe,\n\tann@far.test kim\nb@x.test\n  joe\n  # no\n\tann\n  c@x.test jim\n"))
	for key, want := range map[string]string{"a@x.test": "joe, ann@far.test kim", "b@x.test": "joe ann", "c@x.test": "jim"} {
		if e, ok, err := m.Lookup(key); err != nil || !ok || e.Value != want {
			t.Errorf("%s: %+v %v %v, want %q", key, e, ok, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a b\n@c d e\n#\nx\n y"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range Parse("f", data).Entries() {
			if got, ok, err := Parse("f", data).Lookup(e.Key); e.Value != "" && (!ok || err != nil || got != e) {
				t.Fatalf("%+v is not found: %+v %v", e, got, err)
			}
		}
	})
}
