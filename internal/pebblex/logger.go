package pebblex

import (
	"fmt"
	"log/slog"
)

// logger carries Pebble's messages to slog. Fatalf never exits: it tells the owner
// and keeps the goroutine, because Pebble counts on it not to return.
type logger struct {
	log   *slog.Logger
	fatal func(error)
}

func (l logger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Warn("pebble: " + fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf("pebble: "+format, args...))
	park()
}
