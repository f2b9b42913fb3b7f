package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/qmail/analog"
	"github.com/postilion/postilion/internal/service"
	"github.com/postilion/postilion/internal/trace/journal"
)

func (a *app) reportCommand() *cobra.Command {
	var since time.Duration
	var form string
	c := &cobra.Command{
		Use: "report NAME [FILE...]", Short: "Report on deliveries, senders, hosts, delays as qmailanalog does", Args: cobra.MinimumNArgs(1),
		Long: "Report on this server's own mail, or on logs: of qmail-send, with whatever stamps, of sendmail and of Postfix.\n" +
			"\"-\" is the standard input. Reports: " + strings.Join(analog.Names(), ", ") + "; matchup prints what they are made of.",
		Example: "  postilion report overall --since 24h\n  postilion report failures /var/log/qmail/current\n  postilion report rhosts --form postfix /var/log/mail.log",
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if name != "matchup" && !known(analog.Names(), name) {
				return usageError{fmt.Errorf("there is no report %q: want matchup, %s", name, strings.Join(analog.Names(), ", "))}
			}
			if form != "" && !known(analog.Forms(), form) {
				return usageError{fmt.Errorf("--form %q: want %s", form, strings.Join(analog.Forms(), ", "))}
			}
			return a.report(c.Context(), name, form, since, args[1:])
		},
	}
	c.Flags().DurationVar(&since, "since", 0, "of this server's own mail, only what happened since so long ago")
	c.Flags().StringVar(&form, "form", "qmail", "the logs' form: "+strings.Join(analog.Forms(), ", "))
	return c
}

func known(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// report runs log, matchup and report in a row.
func (a *app) report(ctx context.Context, name, form string, since time.Duration, files []string) error {
	log, logW := io.Pipe()
	go func() { logW.CloseWithError(a.logOf(ctx, since, files, logW)) }()
	defer log.Close()
	lines := analog.NewLines(log)
	lines.Now, lines.Zone = time.Now(), time.Local
	if len(files) == 0 {
		form = "qmail"
	}
	if name == "matchup" {
		return analog.Match(form, lines, a.out)
	}
	matched, matchedW := io.Pipe()
	go func() { matchedW.CloseWithError(analog.Match(form, lines, matchedW)) }()
	defer matched.Close()
	_, err := analog.Write(name, matched, a.out)
	return err
}

// logOf writes the files one after the other, or without any this server's own log.
func (a *app) logOf(ctx context.Context, since time.Duration, files []string, w io.Writer) error {
	if len(files) == 0 {
		var q journal.Query
		if since > 0 {
			q.From = time.Now().Add(-since)
		}
		return service.QmailLog(ctx, a.data, q, w)
	}
	for _, name := range files {
		if err := a.copyFile(name, w); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) copyFile(name string, w io.Writer) error {
	if name == "-" {
		_, err := io.Copy(w, a.in)
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
