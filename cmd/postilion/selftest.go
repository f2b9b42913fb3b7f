package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) selftestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "selftest", Short: "Send test messages through the running server and tell what became of each (TEST.deliver, TEST.receive)",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := a.readConfig()
			if err != nil {
				return err
			}
			finish := a.busy("sending test messages")
			results, err := verbs.Selftest(c.Context(), f.Config)
			finish()
			if err != nil {
				return err
			}
			failed := 0
			for _, r := range results {
				if !r.OK {
					failed++
				}
			}
			err = a.show(results, func(w io.Writer) {
				var rows [][]string
				for _, r := range results {
					verdict := "ok"
					if !r.OK {
						verdict = "FAILED"
					}
					rows = append(rows, []string{verdict, r.Case, r.Text})
				}
				a.table(w, []string{"RESULT", "CASE", "WHAT HAPPENED"}, rows)
			})
			if err == nil && failed > 0 {
				err = fmt.Errorf("%d of %d cases failed%s", failed, len(results), a.heldBack(c.Context()))
			}
			return err
		},
	}
}

// heldBack tells what keeps a running server from delivering at all, as status does.
func (a *app) heldBack(ctx context.Context) (why string) {
	s, err := ask[none, control.Status](ctx, a, control.MethodStatus, none{})
	if err != nil {
		return ""
	}
	if s.Paused {
		why += "; deliveries are paused: `postilion continue` lets them start"
	}
	for _, n := range s.Notes {
		why += "; " + n
	}
	return why
}

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FOLDER", Short: "Copy queue, directory, passwords and configuration, also while the server runs", Args: cobra.ExactArgs(1),
		Long: "Copy what the server keeps, apart from mailboxes, into a new folder. A server that is started on the copy\n" +
			"holds every message until `postilion queue release --all`. Mailboxes are files: copy mail/ with any tool.",
		RunE: func(c *cobra.Command, args []string) error {
			finish := a.busy("copying")
			err := verbs.Backup(c.Context(), a.data, a.config, args[0])
			finish()
			if err != nil {
				return err
			}
			if _, err := os.Stat(a.config); errors.Is(err, os.ErrNotExist) {
				return a.done("the backup is in %s, but for the configuration: there is no %s; name it with --config", args[0], a.config)
			}
			return a.done("the backup is in %s", args[0])
		},
	}
}
