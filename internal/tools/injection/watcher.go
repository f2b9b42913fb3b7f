package injection

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/tools/tool"
)

// watcher prints the steps of a message as they happen (sendmail -v).
type watcher struct {
	e       *tool.Env
	timeout time.Duration
	ctx     context.Context
	arrived bool // the server took the message: time counts from here
	stop    context.CancelFunc
}

func newWatcher(e *tool.Env, timeout time.Duration) *watcher { return &watcher{e: e, timeout: timeout} }

// context is for the call; once the message is queued, it ends after the watcher's time.
func (w *watcher) context(parent context.Context) (context.Context, context.CancelFunc) {
	w.ctx, w.stop = context.WithCancel(parent)
	return w.ctx, w.stop
}

// step prints one step.
func (w *watcher) step(s inject.Step) {
	if !w.arrived {
		w.arrived = true
		time.AfterFunc(w.timeout, w.stop)
	}
	text := s.Text
	if s.To != "" {
		text = s.To + "... " + text
	}
	io.WriteString(w.e.Out(), w.stamp(s.Time)+" "+tool.Printable(text)+"\n")
}

// stamp writes the time of day in local time, to the millisecond.
func (w *watcher) stamp(at string) string {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return "--:--:--.---"
	}
	return t.In(w.e.Local()).Format("15:04:05.000")
}

// end says how the watch ended. The message is queued, whatever was seen: the exit code is 0, so that
// no program sends it again.
func (w *watcher) end(o *outcome) int {
	switch {
	case !w.arrived && o.ID != "":
		fmt.Fprintln(w.e.Out(), "queued as "+o.ID+"; this server does not tell of its delivery")
	case w.ctx != nil && w.ctx.Err() != nil:
		fmt.Fprintln(w.e.Out(), "no longer watched after "+w.timeout.String()+"; the message is queued as "+o.ID)
	}
	return tool.OK
}
