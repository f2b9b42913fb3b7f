// Package debian is mail servers of Debian, as instances of their own in a folder,
// for tests and measurements beside them.
package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Postfix is an instance of Postfix: its own queue, an SMTP server on a loopback port, and
// Maildirs for the users of a domain. It starts only as root.
type Postfix struct {
	Dir    string
	Addr   string // of its SMTP server
	Host   string // its name
	Domain string // whose users it keeps mail for
	// Main is the rest of main.cf; %[1]s in it is the folder. A setting there wins over ours.
	Main string
	// Without names services of master.cf that are not run.
	Without []string
}

// Etc is the folder of its configuration.
func (p *Postfix) Etc() string { return filepath.Join(p.Dir, "etc") }

// Maildirs is the folder of its users' mail.
func (p *Postfix) Maildirs() string { return filepath.Join(p.Dir, "mail") }

// Configure makes its folders and writes its configuration.
func (p *Postfix) Configure() error {
	for _, d := range []string{p.Etc(), filepath.Join(p.Dir, "queue"), filepath.Join(p.Dir, "lib"), p.Maildirs()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/lib
mail_owner = postfix
myhostname = %[2]s
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
virtual_mailbox_domains = %[3]s
virtual_mailbox_base = %[1]s/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
`, p.Dir, p.Host, p.Domain) + strings.ReplaceAll(p.Main, "%[1]s", p.Dir)
	if err := os.WriteFile(filepath.Join(p.Etc(), "main.cf"), []byte(main), 0o644); err != nil {
		return err
	}
	services, err := p.services()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.Etc(), "master.cf"), []byte(services), 0o644)
}

// services is the distribution's master.cf for this instance.
func (p *Postfix) services() (string, error) {
	text, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 8 && f[0] != "#" {
			switch {
			case slices.Contains(p.Without, f[0]):
				continue
			case f[0] == "smtp" && f[1] == "inet":
				f = []string{p.Addr, "inet", "n", "-", "n", "-", "-", "smtpd"}
			case f[4] == "y": // no chroot: the folder has no libraries
				f[4] = "n"
			}
			line = strings.Join(f, " ") + "\n"
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

// Start gives it its folders and starts it.
func (p *Postfix) Start(ctx context.Context) error {
	for _, c := range [][]string{
		{"chown", "-R", "nobody:nogroup", p.Maildirs()},
		{"chown", "postfix", filepath.Join(p.Dir, "lib")},
		{"postfix", "-c", p.Etc(), "start"},
	} {
		if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(c, " "), err, out)
		}
	}
	return nil
}
