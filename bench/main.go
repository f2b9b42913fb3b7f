// Bench measures Postilion beside Debian's Postfix in one run: both durable, on fresh
// folders of one file system, loaded by the same generator over loopback. It also measures the
// floors: what the disk syncs a second, and what an SMTP sink that stores nothing answers.
//
//	go run ./bench [-rounds 3] [-messages 20000] [-only floor,accept,large,deliver,relay,qmail,user,idle] [-o docs/performance.md]
//
// Rates are medians over the rounds; in each round every server is measured once, one
// after the other. CPU is user and system time of all processes of a server.
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
	users     bool
}

// targets returns what is compared, the floor first where there is one.
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

// settle is how long a server has been up before it is measured: what its start leaves to do is done by then.
const settle = 4 * time.Second

// measure runs every target once a round and adds the figures under the row's name.
func (b *bench) measure(ctx context.Context, row string, s setup, run func(ctx context.Context, addr string, srv server) (figures, error)) error {
	return b.measureTargets(ctx, row, b.targets(s), run)
}

func (b *bench) measureTargets(ctx context.Context, row string, targets []target, run func(ctx context.Context, addr string, srv server) (figures, error)) error {
	for round := range b.rounds {
		for i := range targets {
			t := targets[(i+round)%len(targets)] // each is once the first: what a server leaves behind may slow the next
			dir := filepath.Join(b.dir, fmt.Sprintf("run%d", time.Now().UnixNano()))
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			srv, addr, err := t.start(ctx, filepath.Join(dir, "data"))
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			time.Sleep(settle)
			f, err := run(ctx, addr, srv)
			if stopErr := srv.stop(); err == nil {
				err = stopErr
			}
			// The folder stays until the end: ext4 without a journal makes files slowly for
			// minutes after many were removed, which the next server would pay for.
			if err != nil {
				return fmt.Errorf("%s, %s, round %d: %w", row, t.name, round+1, err)
			}
			b.results.add(row, t.name, f)
			fmt.Fprintf(os.Stderr, "%-40s %-24s %8.0f/s %6.0f µs %5.0f MiB\n", row, t.name, f.rate, f.cpu, f.rss)
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

// acceptRows visits the rows of accepting with their loads.
func (b *bench) acceptRows(visit func(name string, l load) error) error {
	for _, fresh := range []bool{false, true} {
		for _, sessions := range []int{1, 20, 100} {
			l := load{sessions: sessions, messages: b.messages, size: 10 << 10, fresh: fresh, to: toUsers}
			name := fmt.Sprintf("accept 10 KiB, %d sessions, reused connections", sessions)
			if fresh {
				name = fmt.Sprintf("accept 10 KiB, %d sessions, fresh connections", sessions)
			}
			if sessions == 1 || fresh {
				l.messages /= 4
			}
			if err := visit(name, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// floor measures what no server can exceed.
func (b *bench) floor(ctx context.Context) error {
	return b.acceptRows(func(name string, l load) error {
		if err := b.sinkRow(ctx, name, l); err != nil {
			return err
		}
		return b.hopRow(ctx, name, l)
	})
}

func (b *bench) accept(ctx context.Context) error {
	if err := b.floor(ctx); err != nil {
		return err
	}
	return b.acceptRows(func(name string, l load) error { return b.loadRow(ctx, name, setup{queueOnly: true}, l) })
}

// loadRow is a row that is over when everything is accepted.
func (b *bench) loadRow(ctx context.Context, name string, s setup, l load) error {
	return b.measure(ctx, name, s, func(ctx context.Context, addr string, srv server) (figures, error) {
		l := l
		l.addr = addr
		return loaded(ctx, srv, l, nil)
	})
}

// sinkRow measures the null sink under the same load.
func (b *bench) sinkRow(ctx context.Context, name string, l load) error {
	for range b.rounds {
		s, err := startSink("")
		if err != nil {
			return err
		}
		l.addr = s.addr
		f, err := loaded(ctx, s, l, nil)
		if err = errors.Join(err, s.stop()); err != nil {
			return err
		}
		b.results.add(name, "null sink", f)
	}
	return nil
}

// hopRow measures the least of two processes under the same load.
func (b *bench) hopRow(ctx context.Context, name string, l load) error {
	for range b.rounds {
		dir, err := os.MkdirTemp(b.dir, "hop")
		if err != nil {
			return err
		}
		h, err := startHop(dir)
		if err != nil {
			return err
		}
		l.addr = h.front.addr
		f, err := loaded(ctx, h, l, nil)
		if err = errors.Join(err, h.stop()); err != nil {
			return err
		}
		b.results.add(name, "two processes at least", f)
	}
	return nil
}

func (b *bench) large(ctx context.Context) error {
	l := load{sessions: 20, messages: max(b.messages/20, 100), size: 1 << 20, to: toUsers}
	name := "accept 1 MiB, 20 sessions"
	if err := b.sinkRow(ctx, name, l); err != nil {
		return err
	}
	return b.loadRow(ctx, name, setup{queueOnly: true}, l)
}

func (b *bench) deliver(ctx context.Context) error {
	l := load{sessions: 20, messages: b.messages, size: 4 << 10, to: toUsers}
	return b.measure(ctx, "accept and deliver 4 KiB into 100 Maildirs, 20 sessions", setup{users: true}, func(ctx context.Context, addr string, srv server) (figures, error) {
		l := l
		l.addr = addr
		dir := srv.(interface{ maildirs() string }).maildirs()
		return loaded(ctx, srv, l, func() error { return waitDelivered(ctx, dir, l.messages) })
	})
}

// waitDelivered returns when as many messages lie in the Maildirs' new folders.
func waitDelivered(ctx context.Context, dir string, want int) error {
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		news, err := filepath.Glob(filepath.Join(dir, "*", "new"))
		if err != nil {
			return err
		}
		deeper, _ := filepath.Glob(filepath.Join(dir, "*", "*", "Maildir", "new"))
		n := 0
		for _, d := range slices.Concat(news, deeper) {
			list, err := os.ReadDir(d)
			if err != nil {
				return err
			}
			n += len(list)
		}
		if n >= want {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%d of %d messages were delivered in time", n, want)
		}
	}
}

func (b *bench) relay(ctx context.Context) error {
	l := load{sessions: 20, messages: b.messages, size: 4 << 10, to: func(i int) string { return fmt.Sprintf("user%d@far.example", i) }}
	hop, err := newSink("127.0.0.1:0", "")
	if err != nil {
		return err
	}
	defer hop.close()
	return b.measure(ctx, "accept and relay 4 KiB, 20 sessions", setup{relay: hop.addr()}, func(ctx context.Context, addr string, srv server) (figures, error) {
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
	dir := filepath.Join(b.dir, fmt.Sprintf("run%d", time.Now().UnixNano()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	srv, addr, err := t.start(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
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
		c, err := dial(addr)
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
