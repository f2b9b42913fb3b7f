package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// qmailHost is what deliveries through .qmail files are measured on: notqmail built from its source into a
// folder of its own, and one user of the system, known to both servers by a passwd file of its own. notqmail
// runs in a mount namespace where that file is the system's.
type qmailHost struct {
	dir string
}

// uids of the namespace; nothing else uses them.
const (
	qmailGID   = 64307
	nofilesGID = 64308
	qmailUID   = 64310 // the first of the family's users
	benchUID   = 64330
)

var qmailNames = []string{"alias", "qmaild", "qmaill", "qmailp", "qmailq", "qmailr", "qmails"}

func (h qmailHost) home() string  { return filepath.Join(h.dir, "home") }
func (h qmailHost) qmail() string { return filepath.Join(h.dir, "qmail") }
func (h qmailHost) file(name string) string {
	return filepath.Join(h.dir, name)
}

// newQmailHost builds notqmail from the source tree.
func newQmailHost(ctx context.Context, dir, source string) (qmailHost, error) {
	h := qmailHost{dir: dir}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return h, err
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		return h, err
	}
	users := fmt.Sprintf("bench:x:%d:%d::%s:/bin/sh\n", benchUID, benchUID, h.home())
	for i, name := range qmailNames {
		gid, home := nofilesGID, h.qmail()
		switch name {
		case "qmailq", "qmailr", "qmails":
			gid = qmailGID
		case "alias":
			home += "/alias"
		}
		users += fmt.Sprintf("%s:x:%d:%d::%s:/bin/false\n", name, qmailUID+i, gid, home)
	}
	groups := fmt.Sprintf("qmail:x:%d:\nnofiles:x:%d:\nbench:x:%d:\n", qmailGID, nofilesGID, benchUID)
	src := h.file("source")
	err = errors.Join(os.Mkdir(dir, 0o755),
		os.WriteFile(h.file("passwd"), append(passwd, users...), 0o644),
		os.WriteFile(h.file("group"), append(group, groups...), 0o644),
		exec.CommandContext(ctx, "cp", "-r", source, src).Run(),
		os.WriteFile(filepath.Join(src, "conf-qmail"), []byte(h.qmail()+"\n"), 0o644))
	if err != nil {
		return h, err
	}
	make := h.inside(ctx, "cd "+src+" && make setup")
	if out, err := make.CombinedOutput(); err != nil {
		return h, fmt.Errorf("building notqmail in %s: %w: %.2000s", src, err, out)
	}
	for name, text := range map[string]string{"me": "mx.bench.example", "locals": "bench.example", "rcpthosts": "bench.example",
		"concurrencylocal": "20", "defaultdelivery": "./Maildir/"} {
		if err := os.WriteFile(filepath.Join(h.qmail(), "control", name), []byte(text+"\n"), 0o644); err != nil {
			return h, err
		}
	}
	return h, nil
}

// inside runs a script where the family's users exist.
func (h qmailHost) inside(ctx context.Context, script string) *exec.Cmd {
	enter := fmt.Sprintf("mount --make-rprivate / && mount --bind %s /etc/passwd && mount --bind %s /etc/group && export PATH=%s/bin:$PATH && ",
		h.file("passwd"), h.file("group"), h.qmail())
	return exec.CommandContext(ctx, "unshare", "-m", "sh", "-c", enter+"{ "+script+"; }")
}

// freshHome gives the user an empty home with its instructions.
func (h qmailHost) freshHome() error {
	if err := os.Rename(h.home(), fmt.Sprintf("%s.%d", h.home(), time.Now().UnixNano())); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := errors.Join(os.Mkdir(h.home(), 0o755), os.WriteFile(filepath.Join(h.home(), ".qmail"), []byte("./Maildir/\n"), 0o644),
		os.WriteFile(filepath.Join(h.home(), ".qmail-default"), []byte("./Maildir/\n"), 0o644),
		os.WriteFile(filepath.Join(h.home(), ".qmail-program"), []byte("|echo >> done\n"), 0o644))
	for _, sub := range []string{"tmp", "new", "cur"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(h.home(), "Maildir", sub), 0o700))
	}
	if err != nil {
		return err
	}
	return exec.Command("chown", "-R", strconv.Itoa(benchUID)+":"+strconv.Itoa(benchUID), h.home()).Run()
}

// notqmail is the running family: qmail-send with its spawners, and tcpserver with qmail-smtpd.
type notqmail struct {
	cmd *exec.Cmd
}

func (h qmailHost) startNotqmail(ctx context.Context, port int) (*notqmail, error) {
	script := fmt.Sprintf("qmail-start ./Maildir/ > %s 2>&1 & exec tcpserver -R -H -l0 -c 200 -u %d -g %d 127.0.0.1 %d qmail-smtpd",
		h.file("send.log"), qmailUID+1, nofilesGID, port)
	n := &notqmail{h.inside(ctx, script)}
	n.cmd.Stderr = os.Stderr
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		if c, err := dial(fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			c.quit()
			return n, nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	return nil, errors.Join(errors.New("notqmail does not answer"), n.stop())
}

func (n *notqmail) usage() (usage, error) { return usageOf(n.cmd.Process.Pid) }

// stop ends tcpserver and its child qmail-send, which ends the others.
func (n *notqmail) stop() error {
	pids, _ := exec.Command("pgrep", "-P", strconv.Itoa(n.cmd.Process.Pid)).Output()
	for _, pid := range strings.Fields(string(pids)) {
		exec.Command("kill", pid).Run()
	}
	n.cmd.Process.Signal(os.Interrupt)
	n.cmd.Process.Kill()
	n.cmd.Wait() // it was killed: how it ended says nothing
	return nil
}

// startOnQmail starts our server on the same control files and the same user.
func (h qmailHost) startOnQmail(ctx context.Context, binary, dir string, port int, single bool) (*postilion, error) {
	p := &postilion{binary: binary, dir: dir, smtp: fmt.Sprintf("127.0.0.1:%d", port)}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	keys := fmt.Sprintf(`qmail = %q
[route]
passwd = %q
[process]
single = %t
queue_load = -1
[floors]
refuse_load = -1
[smtp]
listen = [%q]
max_per_client = 20000
max_commands = 1000000
[metrics]
listen = []
[log]
to = "file"
`, h.qmail(), h.file("passwd"), single, p.smtp)
	if err := os.WriteFile(filepath.Join(dir, "postilion.toml"), []byte(keys), 0o644); err != nil {
		return nil, err
	}
	return p, p.run(ctx, "serve", "--data", dir)
}

// throughQmail measures deliveries that .qmail files decide.
func (b *bench) throughQmail(ctx context.Context) error {
	if b.notqmail == "" {
		fmt.Fprintln(os.Stderr, "without -notqmail, a tree of its source, deliveries through .qmail are not measured")
		return nil
	}
	if !b.root {
		return errors.New("users of the system need root")
	}
	h, err := newQmailHost(ctx, filepath.Join(b.dir, "qmailhost"), b.notqmail)
	if err != nil {
		return err
	}
	for _, row := range []struct {
		name, to string
		done     func() (int, error)
	}{
		{"deliver 4 KiB through .qmail into one Maildir, 20 sessions", "bench@bench.example", h.inMaildir},
		{"deliver 4 KiB through .qmail-default into one Maildir, 20 sessions", "bench-a-b-c@bench.example", h.inMaildir},
		{"deliver 4 KiB to a program of .qmail, 20 sessions", "bench-program@bench.example", h.byProgram},
	} {
		l := load{sessions: 20, messages: max(b.messages/10, 200), size: 4 << 10, to: func(int) string { return row.to }}
		err := b.oneByOne(ctx, row.name, b.qmailTargets(h), func(ctx context.Context, addr string, srv server) (figures, error) {
			l := l
			l.addr = addr
			return loadedInto(ctx, srv, l, row.done)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) qmailTargets(h qmailHost) []target {
	ours := func(single bool) func(context.Context, string) (server, string, error) {
		return func(ctx context.Context, dir string) (server, string, error) {
			if err := h.freshHome(); err != nil {
				return nil, "", err
			}
			b.port++
			p, err := h.startOnQmail(ctx, b.binary, dir, b.port, single)
			if err != nil {
				return nil, "", err
			}
			return p, p.smtp, nil
		}
	}
	return []target{
		{"notqmail", func(ctx context.Context, _ string) (server, string, error) {
			if err := h.freshHome(); err != nil {
				return nil, "", err
			}
			b.port++
			n, err := h.startNotqmail(ctx, b.port)
			if err != nil {
				return nil, "", err
			}
			return n, fmt.Sprintf("127.0.0.1:%d", b.port), nil
		}},
		{"Postilion, roles apart", ours(false)},
		{"Postilion, one process", ours(true)},
	}
}

func (h qmailHost) inMaildir() (int, error) {
	list, err := os.ReadDir(filepath.Join(h.home(), "Maildir", "new"))
	return len(list), err
}

// byProgram counts the bytes of the file to which each run adds one.
func (h qmailHost) byProgram() (int, error) {
	st, err := os.Stat(filepath.Join(h.home(), "done"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return int(st.Size()), nil
}

// waitFor waits until n deliveries are done.
func waitFor(ctx context.Context, n int, done func() (int, error)) error {
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		have, err := done()
		switch {
		case err != nil:
			return err
		case have >= n:
			return nil
		case time.Now().After(end) || ctx.Err() != nil:
			return fmt.Errorf("%d of %d deliveries are done", have, n)
		}
	}
}
