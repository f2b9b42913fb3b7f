package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/record"
)

// Options steer deliveries to other hosts. Zero values mean the defaults.
type Options struct {
	Helo string `toml:"helo" doc:"the name to greet other hosts with; empty is the host name" example:"\"mx.example.test\""`
	Port int    `toml:"port" default:"25" doc:"the port of other hosts' mail exchangers, where a route names none" example:"2525"`

	Bind4 string `toml:"bind4" doc:"the IPv4 address to connect from; empty leaves it to the system" example:"\"192.0.2.1\""`
	Bind6 string `toml:"bind6" doc:"the IPv6 address to connect from; empty leaves it to the system" example:"\"2001:db8::1\""`

	CAFile        string   `toml:"ca_file" doc:"a PEM file of certificate authorities to trust besides the system's" example:"\"/etc/ssl/own-ca.pem\""`
	NoChunking    bool     `toml:"no_chunking" doc:"send content with DATA even where BDAT is offered" example:"true"`
	NoDANE        bool     `toml:"no_dane" doc:"do not look up TLSA records (DANE): hosts that publish them are sent to as others are" example:"true"`
	NoMTASTS      bool     `toml:"no_mta_sts" doc:"do not look up MTA-STS policies: domains that publish one are sent to as others are" example:"true"`
	QMQPServers   []string `toml:"qmqp_servers" doc:"QMQP servers, as address or address:port, that take all mail for other hosts, tried in order (control/qmqpservers): with route.null_client a null client of a hub" example:"[\"192.0.2.1\", \"192.0.2.2:628\"]"`
	MXPS          bool     `toml:"mxps" doc:"send by QMTP, in plain text, to exchangers whose preference is one of 12801, 12817, … 13041 (MXPS); by SMTP where that connection cannot be made" example:"true"`
	NoPipelining  bool     `toml:"no_pipelining" doc:"wait for each reply even where PIPELINING is offered" example:"true"`
	MaxRecipients int      `toml:"max_recipients" default:"100" doc:"recipients in one transaction; more make several" example:"1000"`

	IdleTime    time.Duration `toml:"idle_time" default:"3s" doc:"how long a connection is kept open for the next message to the same place" example:"\"5s\""`
	MaxIdle     int           `toml:"max_idle" default:"500" doc:"connections kept open for the next message, in all" example:"50"`
	MaxMessages int           `toml:"max_messages" default:"100" doc:"messages sent over one connection before it is closed" example:"1"`

	ConnectTimeout  time.Duration `toml:"timeout_connect" default:"60s" doc:"for the connection to one address" example:"\"20s\""`
	GreetingTimeout time.Duration `toml:"timeout_greeting" default:"5m" doc:"for the greeting" example:"\"1m\""`
	EhloTimeout     time.Duration `toml:"timeout_ehlo" default:"5m" doc:"for the replies to EHLO, HELO, AUTH and STARTTLS, and for the TLS handshake" example:"\"1m\""`
	MailTimeout     time.Duration `toml:"timeout_mail" default:"5m" doc:"for the reply to MAIL" example:"\"1m\""`
	RcptTimeout     time.Duration `toml:"timeout_rcpt" default:"5m" doc:"for each reply to RCPT" example:"\"1m\""`
	DataTimeout     time.Duration `toml:"timeout_data" default:"2m" doc:"for the reply to DATA" example:"\"1m\""`
	BlockTimeout    time.Duration `toml:"timeout_block" default:"3m" doc:"for each block of content to be taken" example:"\"1m\""`
	DotTimeout      time.Duration `toml:"timeout_dot" default:"10m" doc:"for the reply to the whole content" example:"\"20m\""`

	DeadAfter int           `toml:"dead_after" default:"2" doc:"connections to one address that timed out in a row before it is left alone" example:"5"`
	DeadTime  time.Duration `toml:"dead_time" default:"64m" doc:"how long such an address is left alone; up to half of it is added at random" example:"\"10m\""`

	// Host is this host's own name; config fills it from the key of that name.
	Host string `toml:"-"`
}

// Resolver is what is asked of DNS; *netx.Resolver is one. Errors wrap netx.ErrTemporary,
// netx.ErrNoName or netx.ErrNoData.
type Resolver interface {
	MX(ctx context.Context, name string) (netx.Result[netx.MX], error)
	Addrs(ctx context.Context, name string) (netx.Result[netip.Addr], error)
	// DialAddrs does not wait long for the second family once the first has brought addresses.
	DialAddrs(ctx context.Context, name string) (netx.Result[netip.Addr], error)
	TXT(ctx context.Context, name string) (netx.Result[string], error)
	TLSA(ctx context.Context, host string, port uint16) (netx.Result[netx.TLSA], error)
}

// Deps is the world around a Target. Resolver is needed; the rest has defaults.
type Deps struct {
	Resolver Resolver
	// Own reports whether mail sent to this address would come back to this program; nil means any
	// address of this host at port 25.
	Own func(netip.AddrPort) bool
	// Record writes dialogues down on demand; nil never does.
	Record *record.Book
	// Policies keeps the MTA-STS policies of other domains over restarts; nil forgets them.
	Policies fs.FS
	// Clock is what policies and certificates expire by; nil means the system's.
	Clock clock.Clock
	// Dial opens a connection; nil means a netx.Dialer with the Options.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Dialogue returns what is told each line of the sessions that carry a message, "<<< " or ">>> "
	// before it, without the content, and an empty line when the attempt is over; nil where nobody wants to
	// know. A nil function is never asked.
	Dialogue func(message, attempt id.ID) func(line string)
}

// settle puts the defaults in. The error names every key that is wrong.
func (o *Options) settle() error {
	if o.Helo == "" {
		o.Helo = o.Host
	}
	var errs []error
	number := func(key string, n *int, otherwise, most int) {
		if *n == 0 {
			*n = otherwise
		}
		if *n < 1 || *n > most {
			errs = append(errs, fmt.Errorf("%s %d: want 1 to %d", key, *n, most))
		}
	}
	number("port", &o.Port, 25, 65535)
	number("max_recipients", &o.MaxRecipients, 100, 100_000)
	number("max_idle", &o.MaxIdle, 500, 1_000_000)
	number("max_messages", &o.MaxMessages, 100, 1_000_000)
	number("dead_after", &o.DeadAfter, 2, 1000)
	for _, d := range []struct {
		key       string
		value     *time.Duration
		otherwise time.Duration
	}{
		{"idle_time", &o.IdleTime, 3 * time.Second}, {"timeout_connect", &o.ConnectTimeout, time.Minute},
		{"timeout_greeting", &o.GreetingTimeout, 5 * time.Minute}, {"timeout_ehlo", &o.EhloTimeout, 5 * time.Minute},
		{"timeout_mail", &o.MailTimeout, 5 * time.Minute}, {"timeout_rcpt", &o.RcptTimeout, 5 * time.Minute},
		{"timeout_data", &o.DataTimeout, 2 * time.Minute}, {"timeout_block", &o.BlockTimeout, 3 * time.Minute},
		{"timeout_dot", &o.DotTimeout, 10 * time.Minute}, {"dead_time", &o.DeadTime, 64 * time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("%s %v: want more than 0", d.key, *d.value))
		}
	}
	return errors.Join(errs...)
}

// dialer makes the default Dial.
func (o *Options) dialer() (*netx.Dialer, error) {
	d := &netx.Dialer{Timeout: o.ConnectTimeout}
	var errs []error
	for _, b := range []struct {
		key, value string
		to         *netip.Addr
		is         func(netip.Addr) bool
	}{{"bind4", o.Bind4, &d.Bind4, netip.Addr.Is4}, {"bind6", o.Bind6, &d.Bind6, netip.Addr.Is6}} {
		if b.value == "" {
			continue
		}
		a, err := netip.ParseAddr(b.value)
		if err != nil || !b.is(a) {
			errs = append(errs, fmt.Errorf("%s %q: want an IP address of that family", b.key, b.value))
			continue
		}
		*b.to = a
	}
	return d, errors.Join(errs...)
}

// roots reads the trusted authorities; nil means the system's.
func (o *Options) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s: want certificates in PEM form", o.CAFile)
	}
	return pool, nil
}
