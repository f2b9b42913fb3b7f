package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/control/handed"
)

// handedCommands are what tcpserver, inetd and systemd's units with Accept=yes start for a connection,
// in the place of qmail-smtpd and qmail-pop3d.
func (a *app) handedCommands() []*cobra.Command {
	verb := func(use, short, def string) *cobra.Command {
		name := def
		c := &cobra.Command{
			Use: use, Short: short, Args: cobra.NoArgs,
			Long: short + ".\n\nThe connection on descriptor 0 is handed to the running server, with its limits, rules and log, and this\n" +
				"program ends with the session. Whoever starts it must do so as root or the data folder's owner.",
			Example: "  tcpserver -v -R -H -l0 0 smtp postilion " + use,
			RunE: func(c *cobra.Command, _ []string) error {
				return handed.Over(c.Context(), a.data, name, os.Stdin)
			},
		}
		c.Flags().StringVar(&name, "service", def, "the service that takes it")
		return c
	}
	return []*cobra.Command{
		verb("smtpd", "Serve one connection that tcpserver or inetd accepted over SMTP", "smtp"),
		verb("pop3d", "Serve one connection that tcpserver or inetd accepted over POP3", "pop3"),
	}
}
