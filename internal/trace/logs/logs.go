// Package logs opens the program's log: to standard error, to a file that rotates
// by size, or to syslog; as text, as JSON, or in qmail's own line types.
//
// Whatever came from outside is escaped by the format: text and JSON quote control
// characters, qmail's lines replace them.
package logs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

// Options steer the log. Zero values mean the defaults.
type Options struct {
	To       string `toml:"to" default:"stderr" doc:"where the log goes: stderr, file or syslog" example:"file"`
	File     string `toml:"file" default:"log/postilion.log" doc:"the file, below the data folder unless absolute; each role adds its name when roles run apart" example:"/var/log/postilion/postilion.log"`
	Format   string `toml:"format" default:"text" doc:"text, json, or qmail for the line types of qmail-send, with TAI64N stamps but where syslog, or a program such as multilog that reads them from a pipe, stamps them itself" example:"qmail"`
	Level    string `toml:"level" default:"info" doc:"the least level that is logged: debug, info, warn or error" example:"debug"`
	MaxBytes int64  `toml:"max_bytes" default:"16MiB" unit:"bytes" doc:"size at which the file is rotated" example:"100MiB"`
	Keep     int    `toml:"keep" default:"10" unit:"files" doc:"rotated files that are kept" example:"30"`
	// Now is the clock of the lines' stamps, for a program whose own is moved; nil is the host's.
	Now func() time.Time `toml:"-"`

	Facility string `toml:"facility" default:"mail" doc:"the syslog facility: mail, daemon, or local0 to local7" example:"local2"`
}

// Log is an open log.
type Log struct {
	*slog.Logger
	// Events takes events as log lines.
	Events *Events

	closers []io.Closer
}

// Close writes what is buffered and closes the log's destination.
func (l *Log) Close() error {
	var errs []error
	for _, c := range l.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Validate names each wrong value and what was expected.
func (o Options) Validate() error {
	_, level := o.level()
	_, facility := o.facility()
	return errors.Join(level, facility,
		oneOf("log.to", o.To, "", "stderr", "file", "syslog"),
		oneOf("log.format", o.Format, "", "text", "json", "qmail"))
}

func oneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q: want one of %s", key, value, strings.Join(allowed[1:], ", "))
}

func (o Options) level() (l slog.Level, err error) {
	if o.Level == "" {
		return slog.LevelInfo, nil
	}
	if err := l.UnmarshalText([]byte(o.Level)); err != nil {
		return l, fmt.Errorf("log.level %q: want debug, info, warn or error", o.Level)
	}
	return l, nil
}

// Open opens the log of one role; file is the resolved path of Options.File. The error is Validate's, or of the file.
func Open(o Options, role, file string, stderr io.Writer) (*Log, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l := new(Log)
	var w io.Writer = stderr
	switch o.To {
	case "file":
		r, err := openRotating(file, cmp.Or(o.MaxBytes, 16<<20), cmp.Or(o.Keep, 10))
		if err != nil {
			return nil, err
		}
		l.closers = append(l.closers, r)
		w = r
	case "syslog":
		facility, _ := o.facility() // validated
		s := newSystem(facility|syslog.LOG_INFO, "postilion-"+role, stderr)
		l.closers = append(l.closers, s)
		w = s
	}
	bare := o.To == "syslog" || (o.To == "" || o.To == "stderr") && isPipe(stderr)
	lines := newAsync(w, o.To == "syslog")
	l.closers = append([]io.Closer{lines}, l.closers...)
	w = lines
	level, _ := o.level() // validated
	l.Logger = slog.New(handler(o, w, level, bare)).With("role", role)
	l.Events = &Events{log: l.Logger}
	switch o.Format {
	case "qmail":
		l.Events.lines = newQmailLines(stamped{w, bare, o.Now})
	case "", "text":
		l.Events.text = &textLines{w: w, role: role, now: o.Now}
	}
	return l, nil
}

// Direct logs to standard error in the options' form, for a process that has no log of its own: the
// supervisor, and runas, which opens no file. Each line is written at once. The options are valid.
func Direct(o Options, role string, stderr io.Writer) *slog.Logger {
	level, _ := o.level()
	return slog.New(handler(o, stderr, level, isPipe(stderr))).With("role", role)
}

// isPipe reports whether a program reads the log: multilog, which stamps the lines itself as it does
// qmail-send's, or systemd's journal.
func isPipe(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

func handler(o Options, w io.Writer, level slog.Level, bare bool) slog.Handler {
	h := &slog.HandlerOptions{Level: level}
	if o.Now != nil {
		h.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				a.Value = slog.TimeValue(o.Now())
			}
			return a
		}
	}
	switch o.Format {
	case "json":
		return slog.NewJSONHandler(plainJSON{w}, h)
	case "qmail":
		h.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{} // the stamp says it
			}
			return a
		}
		return slog.NewTextHandler(stamped{w, bare, o.Now}, h)
	}
	return slog.NewTextHandler(w, h)
}

// stamped writes each line with a TAI64N stamp in front, as multilog and tai64n do; syslog
// and what reads a pipe have stamps of their own.
type stamped struct {
	w     io.Writer
	plain bool
	now   func() time.Time // nil is the host's
}

func (s stamped) Write(p []byte) (int, error) {
	if s.plain {
		return s.w.Write(p)
	}
	now := time.Now
	if s.now != nil {
		now = s.now
	}
	line := append(qmail.AppendTAI64N(make([]byte, 0, 26+len(p)), now()), ' ')
	if _, err := s.w.Write(append(line, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (o Options) facility() (syslog.Priority, error) {
	switch {
	case o.Facility == "" || o.Facility == "mail":
		return syslog.LOG_MAIL, nil
	case o.Facility == "daemon":
		return syslog.LOG_DAEMON, nil
	case len(o.Facility) == 6 && strings.HasPrefix(o.Facility, "local") && '0' <= o.Facility[5] && o.Facility[5] <= '7':
		return syslog.LOG_LOCAL0 + syslog.Priority(o.Facility[5]-'0')<<3, nil
	}
	return 0, fmt.Errorf("log.facility %q: want mail, daemon, or local0 to local7", o.Facility)
}
