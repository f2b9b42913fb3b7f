package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/service"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) serveCommand() *cobra.Command {
	var single, trial, send bool
	var offset string
	var ports int
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cobra.NoArgs,
		Long: "Run the server in the foreground. As root each role gets a process and a uid of its own; otherwise,\n" +
			"and with --single, all roles share this process.",
		RunE: func(c *cobra.Command, _ []string) error {
			o := a.serveOptions()
			o.Single = single
			if offset != "" {
				d, err := config.ParseDuration(offset)
				if err != nil {
					return usageError{fmt.Errorf("--clock-offset: %w", err)}
				}
				o.ClockOffset = d
			}
			if trial || send || c.Flags().Changed("ports-offset") {
				a.set = append(a.set, "trial.enabled=true", "trial.send="+strconv.FormatBool(send))
				if ports > 0 {
					a.set = append(a.set, "trial.ports_offset="+strconv.Itoa(ports))
				}
				o.Flags = a.set
			}
			if _, err := a.readConfig(); err != nil {
				return err
			}
			if err := a.rememberQmail(); err != nil {
				return err
			}
			return a.serve(c, o)
		},
	}
	c.Flags().BoolVar(&trial, "trial", false, "try the server out beside the old one: other ports, deliveries into the data folder, no programs, nothing sent")
	c.Flags().IntVar(&ports, "ports-offset", 0, "what a trial adds to every port (default 10000)")
	c.Flags().BoolVar(&send, "send", false, "let a trial send mail to other hosts")
	c.Flags().BoolVar(&single, "single", false, "all roles in one process, also as root")
	c.Flags().StringVar(&offset, "clock-offset", "", "move the program's clock, such as 5d; only in a folder made with --for-testing")
	return c
}

// rememberQmail writes a first configuration file that names the qmail of --qmail, so that other verbs
// find it from the data folder alone.
func (a *app) rememberQmail() error {
	if a.qmail == "" {
		return nil
	}
	if _, err := os.Stat(a.config); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir, err := filepath.Abs(a.qmail)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(a.config), 0o755); err != nil {
		return err
	}
	return writeNew(a.config, fmt.Appendf(nil, "# Made by `postilion serve --qmail`: this server runs on the files of a qmail.\nqmail = %q\n", dir))
}

func (a *app) serveOptions() service.Options {
	return service.Options{Config: a.config, Flags: a.set, Version: version, Stderr: a.err}
}

// serve runs a server to its end; when it was asked to restart, this process becomes the new one.
func (a *app) serve(c *cobra.Command, o service.Options) error {
	node, err := service.Open(o)
	if err != nil {
		return err
	}
	err = node.Run(c.Context())
	if errors.Is(err, service.ErrRestart) {
		exe, eerr := os.Executable()
		if eerr = errors.Join(eerr, node.HandOn()); eerr != nil {
			return eerr
		}
		return syscall.Exec(exe, os.Args, os.Environ())
	}
	return err
}

// roleCommand is what the supervisor starts; it is of no use to anybody else.
func (a *app) roleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "role NAME", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Run one role (started by serve)",
		RunE: func(c *cobra.Command, args []string) error {
			return service.RunRole(c.Context(), args[0], a.err)
		},
	}
}

func (a *app) quickstartCommand() *cobra.Command {
	var o verbs.QuickstartOptions
	c := &cobra.Command{
		Use: "quickstart [DOMAIN]", Short: "Set up a mail server for a domain and run it", Args: cobra.MaximumNArgs(1),
		Long: "Make a data folder with a configuration, the domain, an account with a password and a self-signed\n" +
			"certificate, then serve on unprivileged ports of this host alone. A second start finds everything again.\n\n" +
			"The password is kept in the file first-password of the data folder, which its owner alone can read, until\n" +
			"it is changed; from then on --json tells \"\" for it. As root the data folder is /var/lib/postilion.\n\n" +
			"Without a domain the host's name is taken from DNS, and the domain from that. With --null-client nothing is\n" +
			"delivered here: all mail of this host's programs goes to the hub.",
		Example: "  postilion quickstart example.test\n  postilion quickstart --null-client hub.example.test",
		RunE: func(c *cobra.Command, args []string) error {
			o.Data, o.Config, o.Flags = a.data, a.config, a.set
			if len(args) > 0 {
				o.Domain = args[0]
			}
			result, err := verbs.Quickstart(c.Context(), o)
			if err != nil {
				return err
			}
			s := a.serveOptions()
			s.Ready = func(list []control.ListenerStatus) { a.greet(result, list) }
			return a.serve(c, s)
		},
	}
	c.Flags().StringVar(&o.Host, "host", "", "the server's host name (default mail.DOMAIN, or without a domain what DNS calls this host)")
	c.Flags().StringVar(&o.NullClient, "null-client", "", "the `hub` that all mail goes to, as route.next_hop writes it; deliver nothing here")
	c.Flags().BoolVar(&o.ForTesting, "for-testing", false, "allow serve --clock-offset on this data folder")
	return c
}

// again is the command line that serves a data folder as it is served now.
func (a *app) again(data string) string {
	words := []string{"postilion serve --data " + data}
	for _, s := range a.set {
		words = append(words, "--set "+s)
	}
	return strings.Join(words, " ")
}

// greet tells how to use the new server, once it listens.
func (a *app) greet(q *verbs.QuickstartResult, list []control.ListenerStatus) {
	addrs := map[string]string{}
	for _, l := range list {
		if addrs[l.Name] == "" {
			addrs[l.Name] = l.Addr
		}
	}
	if a.json {
		a.printJSON(map[string]any{"listeners": addrs, "account": q.Account, "password": q.Password, "data": q.Data,
			"host": q.Host, "hub": q.Hub, "new": q.New, "certificate": q.Certificate})
		return
	}
	w := a.out
	switch {
	case q.New:
		fmt.Fprintf(w, "%s is set up in %s\n\n", a.colour("bold", q.Domain), escape(q.Data))
	case q.Added:
		fmt.Fprintf(w, "%s is added to what was set up before in %s\n\n", a.colour("bold", q.Domain), escape(q.Data))
	default:
		fmt.Fprintf(w, "%s was set up before in %s; everything is as it was\n\n", a.colour("bold", q.Domain), escape(q.Data))
	}
	for _, note := range q.Notes {
		fmt.Fprintf(w, "  note: %s\n", escape(note))
	}
	fmt.Fprintf(w, "Listening:\n")
	for _, l := range list {
		fmt.Fprintf(w, "  %-12s %s\n", l.Name, l.Addr)
	}
	if q.Hub != "" {
		fmt.Fprintf(w, "\nA null client: mail that programs of this host hand in goes to %s\n"+
			"\nCtrl-C stops the server; `%s` starts it again.\n", escape(q.Hub), escape(a.again(q.Data)))
		return
	}
	fmt.Fprintf(w, "\nAccount   %s\n", escape(q.Account))
	if q.Password != "" {
		fmt.Fprintf(w, "Password  %s\n", q.Password)
	} else {
		fmt.Fprintf(w, "Password  changed since; a new one: postilion account set %s --new-password --data %s\n", escape(q.Account), escape(q.Data))
	}
	password := q.Password
	if password == "" {
		password = "PASSWORD"
	}
	fmt.Fprintf(w, "\nSend a first message:\n"+
		"  printf 'From: <you@example.org>\\r\\nTo: <%[1]s>\\r\\nSubject: Hello\\r\\n\\r\\nIt works.\\r\\n' |\n"+
		"    curl -sS smtp://%[2]s/me --mail-from you@example.org --mail-rcpt %[1]s -T -\n",
		escape(q.Account), addrs["smtp"])
	if addr := addrs["pop3"]; addr != "" {
		fmt.Fprintf(w, "Read it:\n  curl -sS -u '%s:%s' pop3://%s/1\n", escape(q.Account), password, addr)
	}
	fmt.Fprintf(w, "\nCtrl-C stops the server; `%s` starts it again.\n", escape(a.again(q.Data)))
	fmt.Fprintf(w, "Started in %d ms.\n", time.Since(q.Began).Milliseconds())
}
