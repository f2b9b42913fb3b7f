package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// This file warns owners that their mailbox is nearly full, or full: by a message that is put into the mailbox itself,
// whatever its quota says. It passes no queue, no forward and no filter, so that it starts nothing; and the
// time is remembered before it is written, so that no day sees two.

// QuotaOptions are about full mailboxes.
type QuotaOptions struct {
	Warn     int           `toml:"warn" default:"90" min:"-1" unit:"percent" doc:"how full a mailbox is when its owner is warned, by a message in it; -1 is never" example:"80"`
	Every    time.Duration `toml:"warn_every" default:"24h" doc:"the time between two such warnings for a mailbox" example:"72h"`
	Text     string        `toml:"warn_text" doc:"a file with the message that warns, header and body, as vpopmail's .quotawarn.msg; {address}, {domain}, {used}, {quota} and {percent} stand for what they say" example:"/etc/postilion/quota-warning"`
	Language []string      `toml:"warn_languages" doc:"languages of the message where there is no such file, one below the other: en, ko, ja; empty is en" example:"[\"ko\", \"en\"]"`
	Extra    int           `toml:"extra" default:"0" unit:"percent" doc:"how far a mailbox may pass its quota for the time of grace: the quota is a soft one then" example:"10"`
	Grace    time.Duration `toml:"grace" default:"168h" doc:"how long a mailbox may be fuller than its quota, where extra lets it" example:"72h"`
}

// Validate names what is wrong.
func (o *QuotaOptions) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("quota."+format, args...)) }
	if o.Warn < -1 || o.Warn > 100 {
		wrong("warn: %d: want a percentage from 1 to 100, or -1", o.Warn)
	}
	if o.Every < 0 {
		wrong("warn_every: %v: want a duration that is not negative", o.Every)
	}
	if o.Extra < 0 || o.Extra > 1000 {
		wrong("extra: %d: want a percentage from 0 to 1000", o.Extra)
	}
	if o.Grace < 0 {
		wrong("grace: %v: want a duration that is not negative", o.Grace)
	}
	for _, l := range o.Language {
		if !slices.ContainsFunc(warnings, func(w warningText) bool { return w.language == l }) {
			wrong("warn_languages: %q: want en, ko or ja", l)
		}
	}
	if o.Text != "" && !filepath.IsAbs(o.Text) {
		wrong("warn_text: %q: want the absolute path of a file", o.Text)
	} else if o.Text != "" {
		if _, err := o.file().Get(); err != nil {
			wrong("warn_text: %w", err)
		}
	}
	return errors.Join(errs...)
}

// maxWarning bounds the file of the warning's text, in bytes.
const maxWarning = 64 << 10

func (o *QuotaOptions) file() *reread.File[string] {
	return &reread.File[string]{Path: o.Text, Max: maxWarning, Parse: func(p []byte) (string, error) { return parseWarning(o.Text, p) }}
}

// warner warns owners.
type warner struct {
	o        QuotaOptions
	file     *reread.File[string] // nil for the texts of our own
	boxes    *maildir.Store
	recorder trace.Recorder
	ids      id.Source
	now      func() time.Time
}

func newWarner(o QuotaOptions, boxes *maildir.Store, d Deps) *warner {
	if o.Warn == 0 {
		o.Warn = 90
	}
	if o.Every == 0 {
		o.Every = 24 * time.Hour
	}
	w := &warner{o: o, boxes: boxes, recorder: d.Recorder, ids: id.Source{Clock: d.Clock}, now: d.Clock.Now}
	if o.Text != "" {
		w.file = o.file()
	}
	return w
}

// quota returns an account's, soft where the options say so.
func (o *QuotaOptions) quota(a *directory.Account) maildir.Quota {
	q := maildir.Quota{Bytes: a.QuotaBytes, Messages: a.QuotaMessages}
	if !q.None() && o.Extra > 0 {
		q.Soft = maildir.Soft{Extra: o.Extra, Grace: o.Grace}
		if o.Grace == 0 {
			q.Soft.Grace = 7 * 24 * time.Hour
		}
	}
	return q
}

// look warns the owner of a mailbox that holds u where it is time to. Trouble with it is recorded: it is nobody's who sent a
// message.
func (w *warner) look(ctx context.Context, a *directory.Account, u maildir.Usage) {
	q := w.o.quota(a)
	percent := q.Percent(u)
	if w.o.Warn < 0 || q.None() || percent < w.o.Warn {
		return
	}
	due, err := w.boxes.WarnDue(a.Mailbox, w.o.Every)
	if err == nil && !due {
		return
	}
	e := trace.Event{Time: w.now(), Kind: trace.Warned, Role: "local", Tenant: a.Tenant, Account: a.Address.String(), To: a.Address.String(), Size: u.Bytes, Count: u.Messages}
	if err == nil {
		e.Message = w.ids.New()
		e.Text, err = w.warn(ctx, e.Message, a, q, u)
	}
	if err != nil {
		e.Kind, e.Reason, e.Text = trace.Service, string(reason.MailboxUnavailable.Reason), fmt.Sprintf("the warning that the mailbox is %d %% full was not written: %v", percent, err)
	}
	w.recorder.Record(e)
}

// warn puts the message into the mailbox, and tells where.
func (w *warner) warn(ctx context.Context, message id.ID, a *directory.Account, q maildir.Quota, u maildir.Usage) (string, error) {
	text, wrong := "", error(nil)
	if w.file != nil {
		text, wrong = w.file.Get()
	}
	if w.file == nil || wrong != nil {
		text = builtinWarning(w.o.Language, a)
	}
	content := renderWarning(text, a, q, u, message, w.now())
	out := w.boxes.Deliver(ctx, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		[]maildir.Delivery{{Mailbox: a.Mailbox, Message: message, Size: int64(len(content)), Quota: q, Beyond: true, MustExist: true}})
	if out[0].Err != nil {
		return "", out[0].Err
	}
	told := fmt.Sprintf("the mailbox is %d %% full: %s", q.Percent(u), out[0].Path)
	if wrong != nil {
		told += "; in the words of our own, since its text is wrong: " + wrong.Error()
	}
	return told, nil
}

// Usage is what an account's mailbox holds.
type Usage struct {
	Bytes    int64 `json:"bytes"`
	Messages int64 `json:"messages"`
	Percent  int   `json:"percent,omitempty"` // of the quota
	// GraceEnds is when a mailbox that is fuller than its soft quota is full; zero for others.
	GraceEnds time.Time `json:"grace_ends,omitzero"`
	Trouble   string    `json:"trouble,omitempty"` // why nothing is known
}

// Usage tells what an account's mailbox holds; with recount it is counted anew.
func (t *Target) Usage(a *directory.Account, recount bool) Usage {
	q := t.opts.Quota.quota(a)
	count := t.boxes.Usage
	if recount {
		count = t.boxes.Recount
	}
	u, err := count(a.Mailbox, q)
	if err != nil {
		return Usage{Trouble: t.classify(err).Error()}
	}
	out := Usage{Bytes: u.Bytes, Messages: u.Messages, Percent: q.Percent(u)}
	if since, over := t.boxes.OverSince(a.Mailbox); over && q.Soft.Extra > 0 && out.Percent >= 100 {
		out.GraceEnds = since.Add(q.Soft.Grace).UTC()
	}
	return out
}
