package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/trace"
)

// Options configure role auth. Zero values mean the defaults.
type Options struct {
	Path string `toml:"-"` // secrets.db, made if missing

	DefaultDomain string `toml:"default_domain" default:"" doc:"The domain of user names that come without one; none refuses them." example:"example.test"`
	MinPassword   int    `toml:"min_password" default:"8" unit:"bytes" doc:"The shortest password that may be set; stored forms from elsewhere are taken as they are." example:"12"`
	KeepPlain     bool   `toml:"keep_plain" default:"false" doc:"Keep passwords that came as {PLAIN} as they are, so that APOP works, instead of storing an argon2id hash at the next login." example:"true"`

	HashMemory      int64 `toml:"hash_memory" default:"19922944" unit:"bytes" doc:"The memory that one argon2id hash fills; 8 KiB to 256 MiB." example:"67108864"`
	HashPasses      int   `toml:"hash_passes" default:"2" doc:"The passes argon2id makes over its memory, 1 to 32." example:"3"`
	HashConcurrency int   `toml:"hash_concurrency" default:"0" doc:"The hashes computed at once; 0 is the number of CPUs." example:"4"`
	HashQueue       int   `toml:"hash_queue" default:"256" doc:"The logins that wait for a hash; further ones get a temporary answer." example:"1000"`

	CacheTTL time.Duration `toml:"cache_ttl" default:"5m" doc:"How long a password once verified is known again without a hash; a change of password ends it at once. Negative: never." example:"1m"`

	AddressFailures int           `toml:"address_failures" default:"10" doc:"The failures of one IPv4 address, or IPv6 /64, before it must wait." example:"5"`
	NetworkFailures int           `toml:"network_failures" default:"50" doc:"The failures of one IPv4 /24, or IPv6 /48, before it must wait." example:"100"`
	AccountFailures int           `toml:"account_failures" default:"20" doc:"The failures with one user name before clients that never logged in to it must wait." example:"10"`
	BlockFirst      time.Duration `toml:"block_first" default:"5s" doc:"The first wait; each further failure doubles it." example:"30s"`
	BlockMax        time.Duration `toml:"block_max" default:"1h" doc:"The longest wait of a client. User names wait a quarter of it at most." example:"24h"`
	Forget          time.Duration `toml:"forget" default:"3h" doc:"How long after the last one failures are forgotten." example:"24h"`
	FailureDelay    time.Duration `toml:"failure_delay" default:"1s" doc:"Failed logins are answered only at multiples of this time, which hides what was looked at." example:"2s"`
	Trusted         []string      `toml:"trusted" default:"" doc:"Networks whose failures are not counted against their addresses: proxies and webmail of our own." example:"[\"10.0.0.0/8\"]"`
}

// Deps are what role auth needs of others.
type Deps struct {
	Directory directory.Reader
	// Blocks lists the operator's blocks (directory.Admin.Blocks), asked for when Generation has
	// changed and once a second; nil means there are none.
	Blocks func(ctx context.Context) ([]directory.Block, error)
	// Generation tells the directory's generation cheaply; nil knows of no change.
	Generation func() uint64
	// System are the accounts of this system's users; nil means there are none. A user name is
	// looked for in the directory first.
	System   SystemUsers
	Clock    clock.Clock    // nil: the system's
	Recorder trace.Recorder // takes each login's event; nil forgets
	Log      *slog.Logger   // nil forgets
}

// SystemUsers know the users of this system and their passwords.
type SystemUsers interface {
	// Find returns the account of a user name, said with a domain or without. The error is trouble in
	// finding out.
	Find(name, domain string) (*directory.Account, bool, error)
	// Check reports whether the password is the user's. The error is trouble in finding out.
	Check(ctx context.Context, name, password string) (bool, error)
}

// Validate tells everything that is wrong with o, each line naming its key.
func (o Options) Validate() error {
	_, err := o.normalise()
	return err
}

// normalise fills the defaults in and refuses what cannot work.
func (o *Options) normalise() (trusted []netip.Prefix, err error) {
	var errs []error
	bound := func(key string, v *int64, def, least, most int64) {
		if *v == 0 {
			*v = def
		}
		if *v < least || *v > most {
			errs = append(errs, fmt.Errorf("%s = %d: want %d to %d", key, *v, least, most))
		}
	}
	whole := func(key string, v *int, def, most int) {
		n := int64(*v)
		bound(key, &n, int64(def), 1, int64(most))
		*v = int(n)
	}
	period := func(key string, v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("%s = %v: want a positive duration", key, *v))
		}
	}
	whole("min_password", &o.MinPassword, 8, maxPassword)
	bound("hash_memory", &o.HashMemory, 19456<<10, 8<<10, maxFormMemory)
	whole("hash_passes", &o.HashPasses, 2, maxPasses)
	whole("hash_concurrency", &o.HashConcurrency, runtime.GOMAXPROCS(0), 1024)
	whole("hash_queue", &o.HashQueue, 256, 1<<20)
	whole("address_failures", &o.AddressFailures, 10, 1<<20)
	whole("network_failures", &o.NetworkFailures, 50, 1<<20)
	whole("account_failures", &o.AccountFailures, 20, 1<<20)
	period("block_first", &o.BlockFirst, 5*time.Second)
	period("block_max", &o.BlockMax, time.Hour)
	period("forget", &o.Forget, 3*time.Hour)
	period("failure_delay", &o.FailureDelay, time.Second)
	if o.CacheTTL == 0 {
		o.CacheTTL = 5 * time.Minute
	}
	if o.DefaultDomain != "" {
		if _, err := directory.DomainKey(o.DefaultDomain); err != nil {
			errs = append(errs, fmt.Errorf("default_domain: %w", err))
		}
	}
	for _, t := range o.Trusted {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			errs = append(errs, fmt.Errorf("trusted = %q: want a network such as 10.0.0.0/8", t))
		}
		trusted = append(trusted, p.Masked())
	}
	return trusted, errors.Join(errs...)
}
