package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// postfix is Debian's Postfix as an instance of its own in a folder: own queue, own
// ports on loopback, virtual delivery into Maildirs, the distribution's limits except where a
// run needs more processes than 100.
type postfix struct {
	dir  string
	port int
	pid  int
}

const master = "/usr/lib/postfix/sbin/master"

// havePostfix tells why there can be no side-by-side run, or "".
func havePostfix() string {
	if os.Geteuid() != 0 {
		return "Postfix starts only as root"
	}
	if _, err := os.Stat(master); err != nil {
		return "Postfix is not installed"
	}
	return ""
}

// startPostfix starts an instance. With queueOnly nothing is delivered; with relay all
// mail goes to that host:port.
func startPostfix(ctx context.Context, dir string, port int, queueOnly bool, relay string) (*postfix, error) {
	p := &postfix{dir: dir, port: port}
	for _, d := range []string{"etc", "queue", "lib", "mail"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := p.configure(queueOnly, relay); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "chown", "-R", "nobody:nogroup", p.maildirs()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("chown: %w: %s", err, out)
	}
	if out, err := exec.CommandContext(ctx, "chown", "postfix", filepath.Join(dir, "lib")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("chown: %w: %s", err, out)
	}
	if out, err := exec.CommandContext(ctx, "postfix", "-c", p.etc(), "start").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postfix start: %w: %s", err, out)
	}
	return p, p.ready()
}

func (p *postfix) etc() string      { return filepath.Join(p.dir, "etc") }
func (p *postfix) maildirs() string { return filepath.Join(p.dir, "mail") }
func (p *postfix) addr() string     { return fmt.Sprintf("127.0.0.1:%d", p.port) }

func (p *postfix) configure(queueOnly bool, relay string) error {
	nobody := "65534"
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/lib
mail_owner = postfix
myhostname = mx.bench.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
virtual_mailbox_domains = bench.example
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = texthash:%[1]s/etc/users
virtual_uid_maps = static:%[2]s
virtual_gid_maps = static:%[2]s
virtual_minimum_uid = 1
message_size_limit = 512000000
virtual_mailbox_limit = 0
default_process_limit = 150
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
`, p.dir, nobody)
	if relay != "" {
		host, port, _ := strings.Cut(relay, ":")
		main += fmt.Sprintf("virtual_mailbox_domains =\nrelay_domains = bench.example\nrelayhost = [%s]:%s\n", host, port)
	}
	services, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(services)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 8 && f[0] == "smtp" && f[1] == "inet":
			fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - - smtpd\n", p.port)
			continue
		case queueOnly && len(f) == 8 && f[0] == "qmgr":
			continue
		case len(f) == 8 && f[0] != "#" && f[4] == "y": // no chroot: the folder has no libraries
			line = strings.Join([]string{f[0], f[1], f[2], f[3], "n", f[5], f[6], f[7]}, " ") + "\n"
		}
		b.WriteString(line)
	}
	var list strings.Builder
	for i := range users {
		fmt.Fprintf(&list, "user%d@bench.example user%d/\n", i, i)
	}
	if err := os.WriteFile(filepath.Join(p.etc(), "users"), []byte(list.String()), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.etc(), "main.cf"), []byte(main), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.etc(), "master.cf"), []byte(b.String()), 0o644)
}

// ready waits for the pid file and the greeting.
func (p *postfix) ready() error {
	var err error
	for range 200 {
		time.Sleep(25 * time.Millisecond)
		var text []byte
		if text, err = os.ReadFile(filepath.Join(p.dir, "queue", "pid", "master.pid")); err != nil {
			continue
		}
		if p.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			continue
		}
		var c *client
		if c, err = dial(p.addr()); err == nil {
			c.quit()
			return nil
		}
	}
	return fmt.Errorf("postfix does not answer: %w", err)
}

func (p *postfix) usage() (usage, error) { return usageOf(p.pid) }

func (p *postfix) stop() error {
	if out, err := exec.Command("postfix", "-c", p.etc(), "stop").CombinedOutput(); err != nil {
		return fmt.Errorf("postfix stop: %w: %s", err, out)
	}
	return nil
}
