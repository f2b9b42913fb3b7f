package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/trace"
)

// Options are what an operator may steer. The zero value of each field stands for
// its default.
type Options struct {
	LocalParallel    int           `toml:"local_parallel" default:"100" min:"-1" doc:"most deliveries into mailboxes and forwards that run at once, and as many for users of the system; -1 starts none" example:"10"`
	UserParallel     int           `toml:"user_parallel" default:"20" doc:"most deliveries for one user of the system that run at once, so that slow programs of one hold up no other's mail; up to two and a half times as many while they end at once and others leave half of local_parallel free" example:"5"`
	RemoteParallel   int           `toml:"remote_parallel" default:"500" min:"-1" doc:"most deliveries to other hosts that run at once; -1 starts none" example:"20"`
	DestParallel     int           `toml:"destination_parallel" default:"20" doc:"most deliveries to one destination that run at once; fewer are used while it answers badly" example:"5"`
	DestStart        int           `toml:"destination_start" default:"5" doc:"deliveries to a destination that start at once before it has answered" example:"2"`
	RouteParallel    int           `toml:"route_parallel" default:"16" doc:"most messages whose addresses are resolved at once" example:"16"`
	Lifetime         time.Duration `toml:"lifetime" default:"168h" doc:"age after which the next attempt is the last" example:"120h"`
	LocalSkip        int           `toml:"local_skip" default:"10" doc:"retries here: the k-th attempt comes (k*skip)^2 seconds after acceptance" example:"10"`
	RemoteSkip       int           `toml:"remote_skip" default:"20" doc:"retries to other hosts: the k-th attempt comes (k*skip)^2 seconds after acceptance" example:"20"`
	Schedules        []string      `toml:"schedules" default:"" doc:"schedules and limits of single destinations, each \"DOMAIN [quadratic SKIP | every DURATION | doubling FIRST MOST] [lifetime DURATION] [parallel NUMBER]\"; .DOMAIN covers those below it" example:"[\"example.test every 5m lifetime 24h\"]"`
	DelayNotice      time.Duration `toml:"delay_notice" default:"0s" doc:"age after which the sender is told once that a message is still waiting; 0 never tells" example:"4h"`
	DeadAfter        int           `toml:"dead_after" default:"2" doc:"connection failures in a row after which a destination is left alone for a while" example:"2"`
	DeadWait         time.Duration `toml:"dead_wait" default:"5m" doc:"how long a destination that cannot be reached is first left alone; doubles up to dead_wait_most" example:"5m"`
	DeadWaitMost     time.Duration `toml:"dead_wait_most" default:"1h" doc:"the longest time that a destination is left alone" example:"64m"`
	LocalTimeout     time.Duration `toml:"local_timeout" default:"10m" doc:"time after which a delivery into a mailbox is given up until its next attempt" example:"10m"`
	UserTimeout      time.Duration `toml:"user_timeout" default:"1h" doc:"time after which a delivery for a user of the system, with its programs, is ended until its next attempt" example:"10m"`
	StopWait         time.Duration `toml:"stop_wait" default:"30s" doc:"how long a stop waits for running deliveries before it interrupts them" example:"2m"`
	Groups           []string      `toml:"groups" default:"" doc:"queue groups with their own limit, each \"NAME PARALLEL\"" example:"[\"bulk 10\"]"`
	MaxHops          int           `toml:"max_hops" default:"100" doc:"Received and Delivered-To fields above which a message is taken for looping" example:"100"`
	EnvelopesInMem   int           `toml:"envelopes_in_memory" default:"10000" doc:"envelopes of new mail kept in memory for immediate delivery; those of later mail are read from disk again" example:"10000"`
	ResultsInMem     int           `toml:"results_in_memory" default:"4096" doc:"delivery results that may wait for the disk; no delivery starts above it" example:"4096"`
	StoreRetryAtMost time.Duration `toml:"store_retry_most" default:"30s" doc:"the longest pause between two tries to record a result while the queue's disk fails" example:"30s"`
}

// Deps are the parts that a Dispatcher joins. Store, Router, Mailbox, Remote and
// Bouncer must be set.
type Deps struct {
	Store    queue.Store
	Router   route.Router
	Mailbox  deliver.Target
	Remote   deliver.Target
	Bouncer  *bounce.Builder
	Recorder trace.Recorder // nil forgets
	Clock    clock.Clock    // nil is the system's
	IDs      id.Source
	Log      *slog.Logger // nil discards
	Folder   fs.FS        // keeps what is paused over restarts; nil forgets it
	// ForgetHosts has Remote forget which hosts do not answer; Flush calls it. nil does nothing.
	ForgetHosts func(ctx context.Context) error
	// QueueOnly, while it returns true, keeps deliveries from starting: new mail is only
	// queued, for instance because the host's load is high. It is called often; nil
	// never holds back.
	QueueOnly func() bool
	// Archive says who gets copies of the bounces and notices that are made here.
	Archive archive.Rules
	// Sender returns the reverse-path for a message that was sent on here and goes to another host. nil keeps it.
	Sender func(ctx context.Context, from mail.Address) (mail.Address, error)
}

func (o Options) withDefaults() Options {
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	parallel := func(v *int, d int) { // below 0 holds the deliveries
		if *v == 0 {
			*v = d
		}
		*v = max(*v, -1)
	}
	parallel(&o.LocalParallel, 100)
	number(&o.UserParallel, 20)
	parallel(&o.RemoteParallel, 500)
	number(&o.DestParallel, 20)
	number(&o.DestStart, 5)
	number(&o.RouteParallel, 16)
	number(&o.LocalSkip, 10)
	number(&o.RemoteSkip, 20)
	number(&o.DeadAfter, 2)
	number(&o.MaxHops, 100)
	number(&o.EnvelopesInMem, 10000)
	number(&o.ResultsInMem, 4096)
	span(&o.Lifetime, 7*24*time.Hour)
	span(&o.DeadWait, 5*time.Minute)
	span(&o.DeadWaitMost, time.Hour)
	span(&o.LocalTimeout, 10*time.Minute)
	span(&o.UserTimeout, time.Hour)
	span(&o.StopWait, 30*time.Second)
	span(&o.StoreRetryAtMost, 30*time.Second)
	o.DestStart = min(o.DestStart, o.DestParallel)
	return o
}

// Check returns an error that names each wrong line of Schedules and Groups.
func (o Options) Check() error {
	_, schedules := newSchedules(o.withDefaults())
	_, groups := parseGroups(o.Groups)
	return errors.Join(schedules, groups)
}

// parseGroups reads "NAME PARALLEL" lines.
func parseGroups(lines []string) (map[string]int, error) {
	limits := make(map[string]int)
	var errs []error
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 2 {
			errs = append(errs, fmt.Errorf("groups: %q: want a name and a number", line))
			continue
		}
		n, err := strconv.Atoi(f[1])
		if err != nil || n < 1 {
			errs = append(errs, fmt.Errorf("groups: %q: want a number above 0 after the name", line))
			continue
		}
		limits[f[0]] = n
	}
	return limits, errors.Join(errs...)
}
