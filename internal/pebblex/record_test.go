package pebblex

import (
	"bytes"
	"errors"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"
)

// written is a record as it was written.
type written struct {
	bodies [][]byte
	rows   []byte
}

// writeSegment writes an opening and records as the log does.
func writeSegment(segment, first uint64, records []written) (file []byte, ends []int) {
	file = framed{segment: segment, number: first}.append(nil, nil)
	for i, w := range records {
		f := framed{segment: segment, number: first + uint64(i)}
		at := int64(len(file)) + recordHeader + tableEntry*int64(len(w.bodies))
		for _, body := range w.bodies {
			f.bodies = append(f.bodies, &Attachment{
				Data: body, place: place{segment, at, uint32(len(body)), crc32.Checksum(body, castagnoli)},
			})
			at += int64(len(body))
		}
		file = f.append(file, w.rows)
		ends = append(ends, len(file))
	}
	return file, ends
}

// Cut anywhere or with a byte changed, a segment gives the records before, each as it was written, and no other.
func TestASegmentGivesItsWholeRecords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.Byte(), 0, 50)
		records := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) written {
			return written{rapid.SliceOfN(some, 0, 4).Draw(t, "bodies"), some.Draw(t, "rows")}
		}), 0, 6).Draw(t, "records")
		file, ends := writeSegment(7, 100, records)
		intact := rapid.IntRange(0, len(file)).Draw(t, "intact")
		if rapid.Bool().Draw(t, "changed and not cut") && intact < len(file) {
			file[intact] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		} else {
			file = file[:intact]
		}
		want := 0
		for want < len(ends) && ends[want] <= intact {
			want++
		}
		r := &reader{from: bytes.NewReader(file), size: int64(len(file)), segment: 7, whole: true}
		first, err := r.opening()
		if intact < recordHeader {
			if !errors.Is(err, errNoRecord) {
				t.Fatalf("an opening that is not whole: %d, %v", first, err)
			}
			return
		}
		if first != 100 || err != nil {
			t.Fatalf("the opening says %d, %v", first, err)
		}
		for i := range want {
			if err := r.next(); err != nil || r.number != 100+uint64(i) || !bytes.Equal(r.rows, records[i].rows) || len(r.places) != len(records[i].bodies) {
				t.Fatalf("record %d of %d: number %d, rows %q, %v", i, want, r.number, r.rows, err)
			}
			for j, p := range r.places {
				if !bytes.Equal(file[p.offset:p.offset+int64(p.size)], records[i].bodies[j]) {
					t.Fatalf("record %d: body %d is not where its place says", i, j)
				}
			}
		}
		if err := r.next(); !errors.Is(err, errNoRecord) {
			t.Fatalf("after %d whole records: record %d, %v", want, r.number, err)
		}
	})
}

func TestRecordsOfAnEarlierUseAreNone(t *testing.T) {
	t.Parallel()
	old, _ := writeSegment(3, 1, []written{{nil, []byte("old")}, {nil, []byte("older")}})
	file, ends := writeSegment(9, 50, []written{{nil, []byte("new")}})
	file = append(file, old[ends[0]:]...)
	r := &reader{from: bytes.NewReader(file), size: int64(len(file)), segment: 9}
	_, err := r.opening()
	if err := errors.Join(err, r.next()); err != nil {
		t.Fatal(err)
	}
	if err := r.next(); !errors.Is(err, errNoRecord) {
		t.Errorf("behind what was written: record %d with rows %q, %v", r.number, r.rows, err)
	}
}

func FuzzSegment(f *testing.F) {
	file, _ := writeSegment(1, 1, []written{{[][]byte{[]byte("body"), nil}, []byte("rows")}, {nil, []byte("more")}})
	f.Add(file)
	f.Add(file[:60])
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := &reader{from: bytes.NewReader(file), size: int64(len(file)), segment: 1, whole: true}
		_, err := r.opening()
		for err == nil {
			before := r.at
			if err = r.next(); err == nil && (r.at <= before || r.at > int64(len(file))) {
				t.Fatalf("a record from byte %d ends at %d of %d", before, r.at, len(file))
			}
		}
		if !errors.Is(err, errNoRecord) {
			t.Fatal(err)
		}
	})
}
