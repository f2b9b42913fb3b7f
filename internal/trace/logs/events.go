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
	text  *textLines  // nil unless the format is text
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
	if l.text != nil {
		l.text.record(level, &e)
		return
	}
	r := slog.NewRecord(time.Now(), level, string(e.Kind), 0) // the Logger would look for the caller in the stack
	a := make(attrs, 0, 16)
	eachField(&e, &a)
	r.AddAttrs(a...)
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

// fields takes the fields of a line.
type fields interface {
	text(key, v string)
	ident(key string, v id.ID)
	number(key string, v int64)
	duration(key string, v time.Duration)
	time(key string, v time.Time)
}

// eachField gives the fields that e has, in the order of a line.
func eachField(e *trace.Event, to fields) {
	text := func(key, v string) {
		if v != "" {
			to.text(key, v)
		}
	}
	ident := func(key string, v id.ID) {
		if !v.IsZero() {
			to.ident(key, v)
		}
	}
	number := func(key string, v int64) {
		if v != 0 {
			to.number(key, v)
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
		to.text("from", e.From) // "" is the null reverse-path
	} else {
		text("from", e.From)
	}
	text("to", e.To)
	number("size", e.Size)
	number("count", e.Count)
	text("host", e.Host)
	if e.Code != 0 {
		to.text("code", strconv.Itoa(e.Code))
	}
	text("status", e.Status)
	text("reason", e.Reason)
	text("rule", e.Rule)
	text("text", e.Text)
	if e.Took != 0 {
		to.duration("took", e.Took)
	}
	if !e.Next.IsZero() {
		to.time("next", e.Next)
	}
}

// attrs are fields for a slog.Handler.
type attrs []slog.Attr

func (a *attrs) text(key, v string)                   { *a = append(*a, slog.String(key, v)) }
func (a *attrs) ident(key string, v id.ID)            { *a = append(*a, slog.String(key, v.String())) }
func (a *attrs) number(key string, v int64)           { *a = append(*a, slog.Int64(key, v)) }
func (a *attrs) duration(key string, v time.Duration) { *a = append(*a, slog.Duration(key, v)) }
func (a *attrs) time(key string, v time.Time)         { *a = append(*a, slog.Time(key, v)) }
