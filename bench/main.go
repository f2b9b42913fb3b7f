// Bench measures Postilion beside Debian's Postfix in one run: both durable, on fresh
// folders of one file system, loaded by the same generator over loopback. It also measures the
// floors: what the disk syncs a second, and what an SMTP sink that stores nothing answers.
//
//	go run ./bench [-rounds 3] [-messages 20000] [-only floor,accept,large,deliver,relay,qmail,user,idle] [-o docs/performance.md]
//
// In each round all servers of a row run on fresh folders and are loaded in turns, one burst after the other. Rates are
// medians over the turns, ratios medians of what two servers did in the same turn. CPU is user and system time of all processes of a server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type bench struct {
	dir      string
	binary   string
	rounds   int
	messages int
	postfix  string // why Postfix is not measured; "" when it is
	notqmail string // its source; "" leaves it out
	root     bool
	port     int // of the next Postfix
	results  results
}

func main() {
	rounds := flag.Int("rounds", 3, "times that each figure is measured")
	messages := flag.Int("messages", 20000, "messages of a run at 20 and 100 sessions; other runs send a part of it")
	only := flag.String("only", "accept,large,deliver,relay,qmail,idle", "what to measure")
	output := flag.String("o", "", "file whose part between the bench markers is replaced; empty prints to standard output")
	folder := flag.String("folder", "", "folder for the servers' files, on the file system to be measured; empty is a temporary one")
	asSink := flag.Bool("sink", false, "be the null sink until standard input ends: print the address, measure nothing")
	notqmail := flag.String("notqmail", "", "source tree of notqmail, to be built and measured beside; empty leaves it out")
	keeper := flag.String("keeper", "", "with -sink: the socket of a -keep that takes the messages; empty stores nothing")
	keep := flag.String("keep", "", "be the keeper of two processes in this folder until standard input ends: measure nothing")
	flag.Parse()
	if *keep != "" || *asSink {
		serve := func() error { return serveSink(*keeper) }
		if *keep != "" {
			serve = func() error { return serveKeeper(*keep) }
		}
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, *rounds, *messages, strings.Split(*only, ","), *folder, *notqmail, *output); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, messages int, only []string, folder, notqmail, output string) error {
	dir, err := os.MkdirTemp(folder, "postilion-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the roles' uids pass through
		return err
	}
	b := &bench{dir: dir, rounds: rounds, messages: messages, postfix: havePostfix(), notqmail: notqmail, root: os.Geteuid() == 0, port: 30250}
	if b.binary, err = build(ctx, dir); err != nil {
		return err
	}
	if err := b.floors(); err != nil {
		return err
	}
	parts := map[string]func(context.Context) error{
		"floor": b.floor, "accept": b.accept, "large": b.large, "deliver": b.deliver, "relay": b.relay, "qmail": b.throughQmail, "user": b.perUser, "idle": b.idle,
	}
	for _, name := range only {
		part, ok := parts[name]
		if !ok {
			return fmt.Errorf("-only %q: want some of floor, accept, large, deliver, relay, qmail, user, idle", name)
		}
		if err := part(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return b.report(output)
}

// server is a running server to load.
type server interface {
	usage() (usage, error)
	stop() error
}

// target is one way to run a server; start returns it with its SMTP address.
type target struct {
	name  string
	start func(ctx context.Context, dir string) (server, string, error)
}

// setup is what the servers of a part are started for.
type setup struct {
	queueOnly bool
	relay     string
}

// targets returns what is compared.
func (b *bench) targets(s setup) []target {
	var list []target
	if b.postfix == "" {
		list = append(list, target{"Postfix", func(ctx context.Context, dir string) (server, string, error) {
			b.port++
			p, err := startPostfix(ctx, dir, b.port, s.queueOnly, s.relay)
			if err != nil {
				return nil, "", err
			}
			return p, p.Addr, nil
		}})
	}
	ours := func(single bool) func(ctx context.Context, dir string) (server, string, error) {
		return func(ctx context.Context, dir string) (server, string, error) {
			var set []string
			if s.relay != "" {
				set = append(set, "route.next_hop="+s.relay, `policy.relay_networks=127.0.0.0/8`)
			}
			p, err := startPostilion(ctx, b.binary, dir, single, set...)
			if err != nil {
				return nil, "", err
			}
			if s.queueOnly {
				err = p.verb("", "pause")
			}
			if err == nil {
				err = p.addUsers()
			}
			if err != nil {
				p.stop()
				return nil, "", err
			}
			return p, p.smtp, nil
		}
	}
	if b.root {
		list = append(list, target{"Postilion, roles apart", ours(false)})
	}
	return append(list, target{"Postilion, one process", ours(true)})
}

// figures are what one run gave.
type figures struct {
	rate float64 // messages a second
	cpu  float64 // µs a message
	rss  float64 // MiB
}

const (
	// settle is how long a server has been up before it is measured: what its start leaves to do is done by then.
	settle = 4 * time.Second
	// turns is how many bursts every server of a row takes in a round.
	turns = 8
	// pause is the time between two bursts, in which the server before ends what it does besides.
	pause = 200 * time.Millisecond
)

// burst loads a running server and measures it.
type burst func(ctx context.Context, addr string, srv server) (figures, error)

// running is a target that runs.
type running struct {
	name, addr string
	srv        server
}

// start starts a target on a fresh folder. The folder stays until the end: ext4 without a journal makes files slowly for minutes
// after many were removed, which the next server would pay for.
func (b *bench) start(ctx context.Context, t target) (running, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("run%d", time.Now().UnixNano()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return running{}, err
	}
	srv, addr, err := t.start(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return running{}, fmt.Errorf("%s: %w", t.name, err)
	}
	return running{t.name, addr, srv}, nil
}

// inTurns measures the targets together, as often as there are rounds, and adds the figures under the row's name. The
// machine's speed changes from one moment to the next: so all run, and each is loaded in every turn. The first turn warms up.
func (b *bench) inTurns(ctx context.Context, row string, targets []target, run burst) error {
	for range b.rounds {
		if err := b.round(ctx, row, targets, run); err != nil {
			return fmt.Errorf("%s: %w", row, err)
		}
	}
	return nil
}

func (b *bench) round(ctx context.Context, row string, targets []target, run burst) (err error) {
	var list []running
	defer func() {
		for _, u := range list {
			err = errors.Join(err, u.srv.stop())
		}
	}()
	for _, t := range targets {
		u, err := b.start(ctx, t)
		if err != nil {
			return err
		}
		list = append(list, u)
	}
	time.Sleep(settle)
	for turn := range turns + 1 {
		for i := range list {
			u := list[(i+turn)%len(list)]
			f, err := run(ctx, u.addr, u.srv)
			if err != nil {
				return fmt.Errorf("%s: %w", u.name, err)
			}
			if turn > 0 {
				b.results.add(row, u.name, f)
			}
			time.Sleep(pause)
		}
	}
	for _, u := range list {
		fmt.Fprintf(os.Stderr, "%-50s %-24s %s\n", row, u.name, b.results.cell(row, u.name))
	}
	return nil
}

// oneByOne measures targets that cannot run together: in each round every one once, each time another first.
func (b *bench) oneByOne(ctx context.Context, row string, targets []target, run burst) error {
	for round := range b.rounds {
		for i := range targets {
			u, err := b.start(ctx, targets[(i+round)%len(targets)])
			if err != nil {
				return err
			}
			time.Sleep(settle)
			f, err := run(ctx, u.addr, u.srv)
			if err = errors.Join(err, u.srv.stop()); err != nil {
				return fmt.Errorf("%s, %s, round %d: %w", row, u.name, round+1, err)
			}
			b.results.add(row, u.name, f)
			fmt.Fprintf(os.Stderr, "%-50s %-24s %8.0f/s %6.0f µs %5.0f MiB\n", row, u.name, f.rate, f.cpu, f.rss)
		}
	}
	return nil
}

// loaded runs a load and, when done is given, waits for it before the clock stops.
func loaded(ctx context.Context, srv server, l load, done func() error) (figures, error) {
	before, err := srv.usage()
	if err != nil {
		return figures{}, err
	}
	start := time.Now()
	if _, err := l.run(ctx); err != nil {
		return figures{}, err
	}
	if done != nil {
		if err := done(); err != nil {
			return figures{}, err
		}
	}
	took := time.Since(start)
	after, err := srv.usage()
	n := float64(l.messages)
	return figures{
		rate: n / took.Seconds(),
		cpu:  float64((after.cpu - before.cpu).Microseconds()) / n,
		rss:  float64(after.rss) / (1 << 20),
	}, err
}

func toUsers(i int) string { return fmt.Sprintf("user%d@bench.example", i%users) }

// warmUp is how many messages go before a burst of accepting: the first ones after a rest are slower everywhere, and where
// few have come of late ours lets a client wait a moment for its greeting.
const warmUp = 200

// accepted is a burst that is over when everything is accepted.
func accepted(l load) burst {
	return func(ctx context.Context, addr string, srv server) (figures, error) {
		if s, ok := srv.(*syncer); ok {
			return s.measure()
		}
		l := l
		l.addr = addr
		first := l
		first.messages = min(warmUp, l.messages/4)
		if _, err := first.run(ctx); err != nil {
			return figures{}, err
		}
		return loaded(ctx, srv, l, nil)
	}
}

// accept measures accepting beside the floors.
func (b *bench) accept(ctx context.Context) error {
	return b.acceptRows(ctx, append(b.floorTargets(), b.targets(setup{queueOnly: true})...))
}

// floor measures what no server can exceed.
func (b *bench) floor(ctx context.Context) error { return b.acceptRows(ctx, b.floorTargets()) }

func (b *bench) acceptRows(ctx context.Context, targets []target) error {
	for _, kind := range []string{"reused", "fresh"} {
		for _, sessions := range []int{1, 20, 100} {
			l := load{sessions: sessions, messages: b.messages / turns, size: 10 << 10, fresh: kind == "fresh", to: toUsers}
			list := targets
			if l.fresh || sessions == 1 {
				l.messages /= 2
			}
			row := acceptRow(sessions, kind)
			if row == oneSession {
				list = append([]target{syncTarget}, targets...)
			}
			if err := b.inTurns(ctx, row, list, accepted(l)); err != nil {
				return err
			}
		}
	}
	return nil
}

func acceptRow(sessions int, kind string) string {
	return fmt.Sprintf("accept 10 KiB, %d sessions, %s connections", sessions, kind)
}

// oneSession is the row that is compared with what a round trip and a sync allow.
var oneSession = acceptRow(1, "reused")

func (b *bench) large(ctx context.Context) error {
	l := load{sessions: 20, messages: max(b.messages/20/turns, 40), size: 1 << 20, to: toUsers}
	return b.inTurns(ctx, "accept 1 MiB, 20 sessions", append([]target{sinkTarget}, b.targets(setup{queueOnly: true})...), accepted(l))
}

func (b *bench) deliver(ctx context.Context) error {
	l := load{sessions: 20, messages: b.messages / turns, size: 4 << 10, to: toUsers}
	return b.inTurns(ctx, "accept and deliver 4 KiB into 100 Maildirs, 20 sessions", b.targets(setup{}), func(ctx context.Context, addr string, srv server) (figures, error) {
		l := l
		l.addr = addr
		dir := srv.(interface{ maildirs() string }).maildirs()
		return loadedInto(ctx, srv, l, func() (int, error) { return delivered(dir) })
	})
}

// loadedInto runs a load and waits until as many more have arrived as it sends.
func loadedInto(ctx context.Context, srv server, l load, arrived func() (int, error)) (figures, error) {
	before, err := arrived()
	if err != nil {
		return figures{}, err
	}
	return loaded(ctx, srv, l, func() error { return waitFor(ctx, before+l.messages, arrived) })
}

// delivered counts the messages in the new folders of the Maildirs below dir.
func delivered(dir string) (n int, err error) {
	news, err := filepath.Glob(filepath.Join(dir, "*", "new"))
	if err != nil {
		return 0, err
	}
	deeper, err := filepath.Glob(filepath.Join(dir, "*", "*", "Maildir", "new"))
	if err != nil {
		return 0, err
	}
	for _, d := range slices.Concat(news, deeper) {
		list, err := os.ReadDir(d)
		if err != nil {
			return 0, err
		}
		n += len(list)
	}
	return n, nil
}

func (b *bench) relay(ctx context.Context) error {
	l := load{sessions: 20, messages: b.messages / turns, size: 4 << 10, to: func(i int) string { return fmt.Sprintf("user%d@far.example", i) }}
	hop, err := newSink("127.0.0.1:0", "")
	if err != nil {
		return err
	}
	defer hop.close()
	return b.inTurns(ctx, "accept and relay 4 KiB, 20 sessions", b.targets(setup{relay: hop.addr()}), func(ctx context.Context, addr string, srv server) (figures, error) {
		l := l
		l.addr = addr
		hop.messages.Store(0)
		return loaded(ctx, srv, l, func() error { return hop.wait(int64(l.messages), 5*time.Minute) })
	})
}

// idle holds connections open after EHLO and tells what they cost.
func (b *bench) idle(ctx context.Context) error {
	const connections = 10_000
	name := fmt.Sprintf("%d idle SMTP connections", connections)
	for _, t := range b.targets(setup{}) {
		if t.name == "Postfix" {
			continue // it would need as many processes
		}
		if err := b.idleRow(ctx, name, t, connections); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

func (b *bench) idleRow(ctx context.Context, name string, t target, connections int) error {
	u, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	srv := u.srv
	defer srv.stop()
	before, err := srv.usage()
	if err != nil {
		return err
	}
	open := make([]*client, 0, connections)
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range connections {
		c, err := dial(u.addr)
		if err != nil {
			return fmt.Errorf("connection %d: %w", len(open)+1, err)
		}
		open = append(open, c)
	}
	time.Sleep(2 * time.Second) // the collector's turn
	after, err := srv.usage()
	if err != nil {
		return err
	}
	mib := float64(after.rss-before.rss) / (1 << 20)
	b.results.add(name, t.name, figures{rss: mib})
	fmt.Fprintf(os.Stderr, "%-40s %-24s %5.0f MiB more than without\n", name, t.name, mib)
	return nil
}
