package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stats", Short: "Count messages, bytes and connections by mailer, as mailstats does", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := verbs.Counters(c.Context(), a.data)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(s)
			}
			var failed error
			err = a.show(nil, func(w io.Writer) { failed = s.WriteMailstats(w) })
			if err == nil {
				err = failed
			}
			return err
		},
	}
}
