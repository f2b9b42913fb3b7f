package logs

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// Events is a Recorder that logs events: as a line of the log's own format each, or
// in qmail's line types.
type Events struct {
	log   *slog.Logger
	lines *qmailLines // nil unless the format is qmail
}

// Record logs e.
func (l *Events) Record(e trace.Event) {
	if l.lines != nil && l.lines.record(&e) {
		return
	}
	level := eventLevel(&e)
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, string(e.Kind), 0) // the Logger would look for the caller in the stack
	r.AddAttrs(eventAttrs(make([]slog.Attr, 0, 16), &e)...)
	l.log.Handler().Handle(context.Background(), r)
}

// eventLevel keeps the routine steps of every message out of the log at its usual level.
func eventLevel(e *trace.Event) slog.Level {
	switch e.Kind {
	case trace.Routed, trace.Attempt, trace.Retrieved, trace.Finished:
		return slog.LevelDebug
	case trace.Gap:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func eventAttrs(a []slog.Attr, e *trace.Event) []slog.Attr {
	text := func(key, v string) {
		if v != "" {
			a = append(a, slog.String(key, v))
		}
	}
	ident := func(key string, v id.ID) {
		if !v.IsZero() {
			a = append(a, slog.String(key, v.String()))
		}
	}
	number := func(key string, v int64) {
		if v != 0 {
			a = append(a, slog.Int64(key, v))
		}
	}
	text("part", e.Role)
	ident("session", e.Session)
	ident("message", e.Message)
	ident("attempt", e.Attempt)
	ident("parent", e.Parent)
	text("account", e.Account)
	text("client", e.Client)
	text("helo", e.Helo)
	text("tls", e.TLS)
	if e.Kind == trace.Accepted {
		a = append(a, slog.String("from", e.From)) // "" is the null reverse-path
	} else {
		text("from", e.From)
	}
	text("to", e.To)
	number("size", e.Size)
	number("count", e.Count)
	text("host", e.Host)
	if e.Code != 0 {
		text("code", strconv.Itoa(e.Code))
	}
	text("status", e.Status)
	text("reason", e.Reason)
	text("rule", e.Rule)
	text("text", e.Text)
	if e.Took != 0 {
		a = append(a, slog.Duration("took", e.Took))
	}
	if !e.Next.IsZero() {
		a = append(a, slog.Time("next", e.Next))
	}
	return a
}
