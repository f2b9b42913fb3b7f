package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// What a .qmail file adds to a delivery: one server of accounts and of one user of the system takes the same
// messages for an account, for the user's Maildir by .qmail and by .qmail-default, and for an account again by way
// of an alias and of a forward line. All are measured on one running server, in turns, so that they differ in
// nothing else.

// userRow is one way of the same messages.
type userRow struct {
	name, to string
	box      string // the Maildir in which they arrive
}

func (b *bench) perUser(ctx context.Context) error {
	if !b.root {
		return errors.New("users of the system need root")
	}
	for round := range b.rounds {
		for _, t := range []struct {
			name   string
			single bool
		}{{"Postilion, roles apart", false}, {"Postilion, one process", true}} {
			if err := b.userRound(ctx, t.name, t.single); err != nil {
				return fmt.Errorf("%s, round %d: %w", t.name, round+1, err)
			}
		}
	}
	return nil
}

// userRound measures each way once on a fresh server.
func (b *bench) userRound(ctx context.Context, name string, single bool) (err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("run%d", time.Now().UnixNano()))
	home := filepath.Join(dir, "home")
	if err := benchHome(dir, home); err != nil {
		return err
	}
	p, err := startPostilion(ctx, b.binary, filepath.Join(dir, "data"), single, "route.system_users=true", "runas.enabled=true",
		"route.locals=sys.example", "route.passwd="+filepath.Join(dir, "passwd"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	err = errors.Join(p.verb("bench-password-of-no-use", "account", "add", "user0@bench.example", "--password-stdin"),
		p.verb("", "alias", "add", "alias@bench.example", "user0@bench.example"))
	if err != nil {
		return err
	}
	own := filepath.Join(home, "Maildir", "new")
	account := filepath.Join(p.maildirs(), "bench.example", "user0", "Maildir", "new")
	rows := []userRow{
		{"user: 4 KiB into an account's Maildir", "user0@bench.example", account},
		{"user: 4 KiB by .qmail into a Maildir", "bench@sys.example", own},
		{"user: 4 KiB by .qmail-default into a Maildir", "bench-a-b-c@sys.example", own},
		{"user: 4 KiB by an alias into an account", "alias@bench.example", account},
		{"user: 4 KiB by a forward line of .qmail into an account", "bench-forward@sys.example", account},
	}
	for turn := range 3 { // the first warms up
		for _, row := range rows {
			l := load{addr: p.smtp, sessions: 20, messages: max(b.messages/10, 200), size: 4 << 10, to: func(int) string { return row.to }}
			f, err := userLoad(ctx, p, l, row.box)
			if err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			if turn == 0 {
				continue
			}
			b.results.add(row.name, name, f)
			fmt.Fprintf(os.Stderr, "%-60s %-24s %8.0f/s %6.0f µs\n", row.name, name, f.rate, f.cpu)
		}
	}
	return nil
}

// userLoad sends a load and waits until all of it is in the folder.
func userLoad(ctx context.Context, p *postilion, l load, box string) (figures, error) {
	count := func() (int, error) {
		list, err := os.ReadDir(box)
		if errors.Is(err, os.ErrNotExist) { // of the first message
			return 0, nil
		}
		return len(list), err
	}
	return loadedInto(ctx, p, l, count)
}

// benchHome makes a user of the system with instructions and a Maildir.
func benchHome(dir, home string) error {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	err = errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(home, 0o755),
		os.WriteFile(filepath.Join(dir, "passwd"), append(passwd, fmt.Sprintf("bench:x:%d:%d::%s:/bin/sh\n", benchUID, benchUID, home)...), 0o644))
	for name, text := range map[string]string{".qmail": "./Maildir/\n", ".qmail-default": "./Maildir/\n", ".qmail-forward": "&user0@bench.example\n"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(home, name), []byte(text), 0o644))
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(home, "Maildir", sub), 0o700))
	}
	if err != nil {
		return err
	}
	return exec.Command("chown", "-R", strconv.Itoa(benchUID)+":"+strconv.Itoa(benchUID), home).Run()
}
