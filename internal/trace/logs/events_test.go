package logs

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// logged returns an event's line as JSON, without its time; nil where it is not logged.
func logged(t *testing.T, level string, e trace.Event) map[string]any {
	t.Helper()
	var out bytes.Buffer
	l, err := Open(Options{Format: "json", Level: level}, "queue", "", &out)
	if err != nil {
		t.Fatal(err)
	}
	l.Events.Record(e)
	l.Close()
	if out.Len() == 0 {
		return nil
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("%v: %s", err, out.String())
	}
	delete(line, "time")
	return line
}

func TestALineHasWhatItsEventHasAndNoMore(t *testing.T) {
	t.Parallel()
	ids := [4]id.ID{{1}, {2}, {3}, {4}}
	full := trace.Event{
		Kind: trace.Deferred, Role: "remote", Session: ids[0], Message: ids[1], Attempt: ids[2], Parent: ids[3], Account: "a@x.test",
		Client: "192.0.2.1", Helo: "peer.test", TLS: "TLS1.3", From: "f@x.test", To: "t@x.test", Size: 5, Count: 6, Host: "mx.test", Code: 451,
		Status: "4.7.1", Reason: "remote-deferred", Rule: "rules:3", Text: "later", Took: time.Second, Next: time.Unix(100, 0).UTC(),
	}
	want := map[string]any{
		"level": "INFO", "msg": "deferred", "part": "remote", "session": ids[0].String(), "message": ids[1].String(), "attempt": ids[2].String(),
		"parent": ids[3].String(), "account": "a@x.test", "client": "192.0.2.1", "helo": "peer.test", "tls": "TLS1.3", "from": "f@x.test",
		"to": "t@x.test", "size": 5.0, "count": 6.0, "host": "mx.test", "code": "451", "status": "4.7.1", "reason": "remote-deferred",
		"rule": "rules:3", "text": "later", "took": 1e9, "next": "1970-01-01T00:01:40Z",
	}
	got := logged(t, "info", full)
	delete(got, "role")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i := range reflect.TypeFor[trace.Event]().NumField() {
		f := reflect.TypeFor[trace.Event]().Field(i)
		if f.Name != "Time" && f.Name != "Tenant" && f.Name != "N" && reflect.ValueOf(full).Field(i).IsZero() {
			t.Errorf("the test leaves %s out", f.Name)
		}
	}
	for kind, more := range map[trace.Kind]map[string]any{
		trace.Failed:   {"level": "INFO"},
		trace.Accepted: {"level": "INFO", "from": ""}, // the null reverse-path
		trace.Gap:      {"level": "WARN"},
	} {
		more["msg"] = string(kind)
		got := logged(t, "info", trace.Event{Kind: kind})
		delete(got, "role")
		if d := cmp.Diff(more, got); d != "" {
			t.Error(d)
		}
	}
}

func TestRoutineStepsAreLoggedAtDebugAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range []trace.Kind{trace.Routed, trace.Attempt, trace.Retrieved, trace.Finished} {
		if got := logged(t, "info", trace.Event{Kind: kind}); got != nil {
			t.Errorf("at info: %v", got)
		}
		if got := logged(t, "debug", trace.Event{Kind: kind}); got["level"] != "DEBUG" {
			t.Errorf("at debug: %v", got)
		}
	}
}

// What writes lines of text is no handler of slog, but writes as one.
func TestTextLinesAreThoseOfSlog(t *testing.T) {
	t.Parallel()
	now := time.Date(2031, 5, 6, 7, 8, 9, 123_999_999, time.FixedZone("", 9*3600))
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.SampledFrom([]string{"", "a@x.test", "two words", `a"b`, `a\b`, "k=v", "\x1b[2J", "\xff", "\u00a0", "\u202e", "메일", "\ufffd"}),
			rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		e := trace.Event{
			Kind: rapid.SampledFrom([]trace.Kind{trace.Accepted, trace.Deferred, trace.Gap}).Draw(t, "kind"), Role: word.Draw(t, "role"),
			From: word.Draw(t, "from"), To: word.Draw(t, "to"), Text: word.Draw(t, "text"), Code: rapid.Int().Draw(t, "code"),
			Size: rapid.Int64().Draw(t, "size"), Took: time.Duration(rapid.Int64().Draw(t, "took")), Message: id.ID{byte(rapid.Int().Draw(t, "message"))},
		}
		if rapid.Bool().Draw(t, "next") {
			e.Next = now.Add(time.Duration(rapid.Int64().Draw(t, "in")))
		}
		if strings.ContainsRune(e.Role+e.From+e.To+e.Text, 0x7f) {
			t.Skip("slog lets it pass")
		}
		var got, want bytes.Buffer
		l := Events{log: slog.New(handler(Options{Now: func() time.Time { return now }}, &want, slog.LevelInfo, false)).With("role", "queue")}
		l.Record(e)
		l.text = &textLines{w: &got, role: "queue", now: func() time.Time { return now }}
		l.Record(e)
		if got.String() != want.String() {
			t.Fatalf("%s, want %s", &got, &want)
		}
	})
}

func TestTextLinesQuoteWhatEndsLinesOrIsHidden(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"\x7f", "\n", "\u0085", "\u2028", "\u009b"} {
		if formOf("a"+v) != escaped {
			t.Errorf("%q would be written as it is", v)
		}
	}
}

func BenchmarkTextLines(b *testing.B) {
	l, err := Open(Options{}, "queue", "", io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := trace.Event{
		Kind: trace.Accepted, Role: "smtp", Session: id.ID{1}, Message: id.ID{2}, Client: "192.0.2.1", Helo: "client.example",
		From: "sender@example.test", To: "rcpt@example.test", Size: 10240, Count: 1,
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Events.Record(e)
	}
}
