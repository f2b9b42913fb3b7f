package inject

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/smtp"
)

// Options are the local socket's. Zero values mean the defaults.
type Options struct {
	Socket         string        `toml:"socket" doc:"a further path of the socket by which programs of this host hand mail in, beside run/inject.sock of the data folder: for users who cannot reach that one" example:"/run/postilion/inject.sock"`
	MaxConnections int           `toml:"max_connections" default:"1000" doc:"programs at the same time in all; more get a temporary answer" example:"200"`
	MaxPerUser     int           `toml:"max_per_user" default:"200" doc:"programs at the same time of one user, root excepted" example:"40"`
	Rate           int           `toml:"rate" default:"0" unit:"messages a minute" doc:"messages a minute of one user, root excepted; a dialogue of sendmail -bs counts as one; 0 is no limit" example:"600"`
	MaxRecipients  int           `toml:"max_recipients" default:"100000" doc:"recipients of a message that a program hands in" example:"5000"`
	IdleTimeout    time.Duration `toml:"idle_timeout" default:"5m" doc:"time for the next piece of a message" example:"1m"`
	TotalTimeout   time.Duration `toml:"message_timeout" default:"24h" doc:"time for a whole message; qmail-queue has 24 hours" example:"1h"`
	WatchTimeout   time.Duration `toml:"watch_timeout" default:"1h" doc:"the longest that sendmail -v watches a message" example:"10m"`
	QueueUsers     []string      `toml:"queue_users" doc:"who may see the queue with mailq and qmail-qread and flush it, besides root and the data folder's owner: names of users, @groups, or * for everybody" example:"[\"operator\", \"@wheel\"]"`
	DefaultHost    string        `toml:"default_host" doc:"what qmail-inject adds to addresses without a host; empty is the host name" example:"example.test"`
	DefaultDomain  string        `toml:"default_domain" doc:"what qmail-inject adds to hosts without a dot; empty is the host name" example:"example.test"`
	PlusDomain     string        `toml:"plus_domain" doc:"what qmail-inject puts in place of a + at a host's end; empty is the host name" example:"example.test"`
	IDHost         string        `toml:"id_host" doc:"the right side of Message-ID; empty is the host name" example:"mx.example.test"`

	Host string `toml:"-"` // this host's name
}

// Validate names every wrong option.
func (o Options) Validate() error { return o.fill() }

func (o *Options) fill() error {
	var errs []error
	if o.Socket != "" && !filepath.IsAbs(o.Socket) {
		errs = append(errs, fmt.Errorf("socket: %q: want an absolute path", o.Socket))
	}
	for name, v := range map[string]string{"default_host": o.DefaultHost, "default_domain": o.DefaultDomain, "plus_domain": o.PlusDomain, "id_host": o.IDHost} {
		if v != "" && smtp.CheckDomain(strings.TrimSuffix(v, "+")) != nil {
			errs = append(errs, fmt.Errorf("%s: %q: want a domain", name, v))
		}
	}
	for name, v := range map[string]*int{"max_connections": &o.MaxConnections, "max_per_user": &o.MaxPerUser, "rate": &o.Rate, "max_recipients": &o.MaxRecipients} {
		if *v < 0 {
			errs = append(errs, fmt.Errorf("%s: %d: want a number that is not negative", name, *v))
		}
	}
	for name, v := range map[string]*time.Duration{"idle_timeout": &o.IdleTimeout, "message_timeout": &o.TotalTimeout, "watch_timeout": &o.WatchTimeout} {
		if *v < 0 {
			errs = append(errs, fmt.Errorf("%s: %v: want a duration that is not negative", name, *v))
		}
	}
	o.MaxConnections = cmp.Or(o.MaxConnections, 1000)
	o.MaxPerUser = cmp.Or(o.MaxPerUser, 200)
	o.MaxRecipients = cmp.Or(o.MaxRecipients, 100_000)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 5*time.Minute)
	o.TotalTimeout = cmp.Or(o.TotalTimeout, 24*time.Hour)
	o.WatchTimeout = cmp.Or(o.WatchTimeout, time.Hour)
	return errors.Join(errs...)
}
