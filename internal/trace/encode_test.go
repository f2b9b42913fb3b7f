package trace

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/id"
)

func genEvent(t *rapid.T) Event {
	when := rapid.Map(rapid.Int64Range(0, 1<<61), func(ns int64) time.Time { return time.Unix(0, ns).UTC() })
	ids := rapid.Custom(func(t *rapid.T) (v id.ID) {
		copy(v[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return v
	})
	s := rapid.String()
	return Event{
		Time: when.Draw(t, "time"), Kind: Kind(s.Draw(t, "kind")), Role: s.Draw(t, "role"),
		Session: ids.Draw(t, "session"), Message: ids.Draw(t, "message"), Attempt: ids.Draw(t, "attempt"), Parent: ids.Draw(t, "parent"),
		Tenant: rapid.Uint64().Draw(t, "tenant"), Account: s.Draw(t, "account"), Client: s.Draw(t, "client"), Helo: s.Draw(t, "helo"),
		TLS: s.Draw(t, "tls"), From: s.Draw(t, "from"), To: s.Draw(t, "to"), N: rapid.Int().Draw(t, "n"), Size: rapid.Int64().Draw(t, "size"),
		Count: rapid.Int64().Draw(t, "count"), Host: s.Draw(t, "host"), Code: rapid.Int().Draw(t, "code"), Status: s.Draw(t, "status"),
		Reason: s.Draw(t, "reason"), Rule: s.Draw(t, "rule"), Text: s.Draw(t, "text"), Took: time.Duration(rapid.Int64().Draw(t, "took")), Next: when.Draw(t, "next"),
	}
}

func TestJSONReadsBackAsTheSameEvent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := genEvent(t)
		line := want.AppendJSON(nil)
		var got Event
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s:\n%s", line, d)
		}
	})
}

func TestForeignBytesAreHarmlessInALine(t *testing.T) {
	t.Parallel()
	e := Event{Kind: Refused, Text: "a\xffb\x1b[2J\x9b\u009b\r\n\x7f\u2028"}
	line := string(e.AppendJSON(nil))
	if !json.Valid([]byte(line)) {
		t.Errorf("not JSON: %q", line)
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 }); i >= 0 {
		t.Errorf("a control character at %d of %q", i, line)
	}
	if want := `a\\xffb\u001b[2J\\x9b\u009b\u000d\n\u007f\u2028`; !strings.Contains(line, want) {
		t.Errorf("want %s in %s", want, line)
	}
}

func TestAnEmptyEventTellsOnlyTimeAndKind(t *testing.T) {
	t.Parallel()
	e := Event{Time: time.Date(2026, 11, 21, 19, 31, 43, 5e8, time.UTC), Kind: Finished}
	if got, want := string(e.AppendJSON(nil)), `{"time":"2026-11-21T19:31:43.5Z","kind":"finished"}`; got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e := Event{Time: time.Now(), Kind: Delivered, Role: "local", Message: id.Source{}.New(), From: "a@example.test", To: "b@example.test", Size: 10240, Text: "mail/example.test/b/Maildir"}
	var buf []byte
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}
