package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write the manual pages of all verbs into a folder", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			header := &doc.GenManHeader{Title: "POSTILION", Section: "8", Source: "Postilion " + version, Manual: "Postilion"}
			if err := doc.GenManTree(c.Root(), header, args[0]); err != nil {
				return err
			}
			return a.done("the manual pages are in %s", args[0])
		},
	}
}
