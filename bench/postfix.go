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

	"github.com/postilion/postilion/e2e/debian"
)

// postfix is Debian's Postfix with virtual delivery into Maildirs, and the distribution's limits except
// where a run needs more processes than 100.
type postfix struct {
	debian.Postfix
	pid int
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
	p := &postfix{Postfix: debian.Postfix{Dir: dir, Addr: fmt.Sprintf("127.0.0.1:%d", port), Host: "mx.bench.example", Domain: "bench.example",
		Main: `virtual_mailbox_maps = texthash:%[1]s/etc/users
message_size_limit = 512000000
virtual_mailbox_limit = 0
default_process_limit = 150
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
`}}
	if queueOnly {
		p.Without = []string{"qmgr"}
	}
	if relay != "" {
		host, port, _ := strings.Cut(relay, ":")
		p.Main += fmt.Sprintf("virtual_mailbox_domains =\nrelay_domains = bench.example\nrelayhost = [%s]:%s\n", host, port)
	}
	if err := p.Configure(); err != nil {
		return nil, err
	}
	var list strings.Builder
	for i := range users {
		fmt.Fprintf(&list, "user%d@bench.example user%d/\n", i, i)
	}
	if err := os.WriteFile(filepath.Join(p.Etc(), "users"), []byte(list.String()), 0o644); err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, p.ready()
}

// ready waits for the pid file and the greeting.
func (p *postfix) ready() error {
	var err error
	for range 200 {
		time.Sleep(25 * time.Millisecond)
		var text []byte
		if text, err = os.ReadFile(filepath.Join(p.Dir, "queue", "pid", "master.pid")); err != nil {
			continue
		}
		if p.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			continue
		}
		var c *client
		if c, err = dial(p.Addr); err == nil {
			c.quit()
			return nil
		}
	}
	return fmt.Errorf("postfix does not answer: %w", err)
}

func (p *postfix) maildirs() string      { return p.Maildirs() }
func (p *postfix) usage() (usage, error) { return usageOf(p.pid) }

func (p *postfix) stop() error {
	if out, err := exec.Command("postfix", "-c", p.Etc(), "stop").CombinedOutput(); err != nil {
		return fmt.Errorf("postfix stop: %w: %s", err, out)
	}
	return nil
}
