package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) blockCommand() *cobra.Command {
	group := &cobra.Command{Use: "block", Short: "Keep clients and accounts out of every protocol"}
	var reason, expires string
	add := &cobra.Command{
		Use: "add ADDRESS|RANGE|ACCOUNT", Short: "Block a client, a range or an account", Args: cobra.ExactArgs(1),
		Example: "  postilion block add 192.0.2.0/24 --reason 'password guessing' --for 1d",
		RunE: func(c *cobra.Command, args []string) error {
			b := directory.Block{What: args[0], Reason: reason}
			if expires != "" {
				d, err := config.ParseDuration(expires)
				if err != nil || d <= 0 {
					return usageError{fmt.Errorf("--for %q: want a duration such as 1h or 7d", expires)}
				}
				b.Expires = a.now(c.Context()).Add(d).UTC().Truncate(time.Second)
			}
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				if err := s.Directory.PutBlock(c.Context(), b); err != nil {
					return err
				}
				return a.done("%s is blocked", args[0])
			})
		},
	}
	add.Flags().StringVar(&reason, "reason", "", "why; the client is told")
	add.Flags().StringVar(&expires, "for", "", "how long, such as 1h or 7d; default for ever")
	list := &cobra.Command{
		Use: "list", Short: "List blocks, and who must wait because of failed logins", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				blocks, err := s.Directory.Blocks(c.Context())
				if err != nil {
					return err
				}
				failures, err := s.Auth.Blocked(c.Context())
				if err != nil {
					return err
				}
				return a.printBlocks(blocks, failures)
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove ADDRESS|RANGE|ACCOUNT", Short: "Remove a block, or forget failed logins", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				blockErr := s.Directory.RemoveBlock(c.Context(), args[0])
				err := s.Auth.Unblock(c.Context(), args[0])
				if err != nil && blockErr != nil {
					if errors.Is(blockErr, directory.ErrNotFound) && errors.Is(err, directory.ErrNotFound) {
						return fmt.Errorf("%s is not blocked, nor must it wait; `postilion block list` tells who is", args[0])
					}
					return blockErr
				}
				return a.done("%s is not blocked any more", args[0])
			})
		},
	}
	group.AddCommand(add, list, remove)
	return group
}

func (a *app) printBlocks(blocks []directory.Block, failures []auth.BlockedBy) error {
	return a.show(map[string]any{"blocks": orEmpty(blocks), "failures": orEmpty(failures)}, func(w io.Writer) {
		var rows [][]string
		for _, b := range blocks {
			until := "for ever"
			if !b.Expires.IsZero() {
				until = b.Expires.Format(time.RFC3339)
			}
			rows = append(rows, []string{b.What, until, b.Reason})
		}
		for _, f := range failures {
			why := fmt.Sprintf("%d failed logins", f.Failures)
			if f.Client != "" {
				why += " from " + f.Client
			}
			if uid, ok := auth.LocalUser(f.What); ok {
				why += fmt.Sprintf(" by uid %d of this host", uid)
			}
			rows = append(rows, []string{f.What, f.Until.Format(time.RFC3339), why})
		}
		a.table(w, []string{"BLOCKED", "UNTIL", "REASON"}, rows)
	})
}
