package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/qmail/analog"
	"github.com/postilion/postilion/internal/trace/journal"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) reportCommand() *cobra.Command {
	var since, form string
	c := &cobra.Command{
		Use: "report NAME [FILE...]", Short: "Report on deliveries, senders, hosts, delays as qmailanalog does", Args: cobra.MinimumNArgs(1), ValidArgsFunction: oneOf(append(analog.Names(), "matchup")),
		Long: "Report on this server's own mail, or on logs: of qmail-send, with whatever stamps, of sendmail and of Postfix.\n" +
			"\"-\" is the standard input. Reports: " + strings.Join(analog.Names(), ", ") + "; matchup prints what they are made of.",
		Example: "  postilion report overall --since 24h\n  postilion report failures /var/log/qmail/current\n  postilion report rhosts --form postfix /var/log/mail.log",
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if name != "matchup" && !slices.Contains(analog.Names(), name) {
				return usageError{fmt.Errorf("there is no report %q: want matchup, %s", name, strings.Join(analog.Names(), ", "))}
			}
			if form != "" && !slices.Contains(analog.Forms(), form) {
				return usageError{fmt.Errorf("--form %q: want %s", form, strings.Join(analog.Forms(), ", "))}
			}
			var age time.Duration
			if since != "" {
				var err error
				if age, err = config.ParseDuration(since); err != nil || age <= 0 {
					return usageError{fmt.Errorf("--since %q: want a duration such as 24h or 7d", since)}
				}
			}
			return a.report(c.Context(), name, form, age, args[1:])
		},
	}
	c.Flags().StringVar(&since, "since", "", "of this server's own mail, only what happened since so long ago, such as 24h or 7d")
	c.Flags().StringVar(&form, "form", "qmail", "the logs' form: "+strings.Join(analog.Forms(), ", "))
	completeFlag(c, "form", analog.Forms())
	return c
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
	matched, matchedW := io.Pipe()
	go func() { matchedW.CloseWithError(analog.Match(form, lines, matchedW)) }()
	defer matched.Close()
	records := &analog.Counter{R: matched}
	if err := a.writeReport(name, records); err != nil {
		return err
	}
	if len(files) > 0 && records.Records == 0 {
		fmt.Fprintf(a.err, "postilion: no finished delivery is in %s, read as a log of %s; --form names other forms\n", escape(strings.Join(files, ", ")), form)
	}
	return nil
}

// writeReport writes a report of matchup's records: what logs of others say is kept from the terminal.
func (a *app) writeReport(name string, records io.Reader) error {
	if a.json {
		d, err := analog.ReadData(name, records)
		if err != nil {
			return err
		}
		return a.printJSON(d)
	}
	text, textW := io.Pipe()
	go func() {
		var err error
		if name == "matchup" {
			_, err = io.Copy(textW, records)
		} else {
			_, err = analog.Write(name, records, textW)
		}
		textW.CloseWithError(err)
	}()
	defer text.Close()
	w := bufio.NewWriter(a.out)
	for r := bufio.NewReader(text); ; {
		line, err := r.ReadString('\n')
		if body, ended := strings.CutSuffix(line, "\n"); line != "" {
			w.WriteString(escape(body))
			if ended {
				w.WriteByte('\n')
			}
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return errors.Join(err, w.Flush())
		}
	}
}

// logOf writes the files one after the other, or without any this server's own log.
func (a *app) logOf(ctx context.Context, since time.Duration, files []string, w io.Writer) error {
	if len(files) == 0 {
		var q journal.Query
		if since > 0 {
			q.From = a.now(ctx).Add(-since)
		}
		return verbs.QmailLog(ctx, a.data, q, w)
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
