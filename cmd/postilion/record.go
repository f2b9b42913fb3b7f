package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) recordCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "record", Short: "Write whole dialogues of sessions down, as recordio does",
		Long: "Dialogues of SMTP, LMTP, POP3 and of deliveries to other hosts are written into files below the data\n" +
			"folder: what came in (<) and went out (>), with messages, and without passwords. A recording concerns\n" +
			"sessions that begin after it was added, and ends with its time, with `record remove`, or with the server.",
	}
	var client, account, to, span, size string
	add := &cobra.Command{
		Use: "add", Short: "Record the sessions of a client, an account or a recipient", Args: cobra.NoArgs,
		Example: "  postilion record add --client 192.0.2.7 --for 10m\n  postilion record add --to joe@example.test --for 1h",
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := config.ParseDuration(span)
			if err != nil || d <= 0 {
				return usageError{fmt.Errorf("--for %q: want a duration such as 10m or 1h", span)}
			}
			n, err := config.ParseSize(size)
			if err != nil {
				return usageError{fmt.Errorf("--size %q: want a size such as 10MiB", size)}
			}
			var id [3]byte
			_, _ = rand.Read(id[:]) // it never fails
			r := record.Rule{ID: "r" + hex.EncodeToString(id[:]), Client: client, Account: account, To: to, Until: a.now(c.Context()).Add(d).UTC().Truncate(time.Second), MaxSize: n}
			if err := r.Check(); err != nil {
				return usageError{err}
			}
			if err := verbs.AddRecording(c.Context(), a.data, r); err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "recording %s until %s; see it with: postilion record show %s\n", r.ID, r.Until.Format(time.RFC3339), r.ID)
			})
		},
	}
	add.Flags().StringVar(&client, "client", "", "an address or range: of clients, or of hosts that mail goes to")
	add.Flags().StringVar(&account, "account", "", "the address of an account that logs in, or whose mail goes out")
	add.Flags().StringVar(&to, "to", "", "a recipient: joe@example.test, or *@example.test")
	add.Flags().StringVar(&span, "for", "10m", "how long")
	add.Flags().StringVar(&size, "size", "10MiB", "the most that each file may hold")
	list := &cobra.Command{
		Use: "list", Short: "List what is recorded", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := verbs.Recordings(c.Context(), a.data)
			if err != nil {
				return err
			}
			return a.show(all, func(w io.Writer) {
				var rows [][]string
				for _, r := range all {
					rows = append(rows, []string{r.ID, recordWhat(r.Rule), r.Until.Format(time.RFC3339), strconv.Itoa(r.Sessions), config.FormatSize(r.Size), strings.Join(r.Trouble, "; ")})
				}
				a.table(w, []string{"RECORDING", "OF", "UNTIL", "SESSIONS", "SIZE", "TROUBLE"}, rows)
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove ID", Short: "End a recording; its files stay", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := verbs.RemoveRecording(c.Context(), a.data, args[0])
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("there is no recording %s; `postilion record list` tells which there are", args[0])
			}
			return a.done("recording %s has ended", args[0])
		},
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Print what a recording holds, also of one that has ended", Args: cobra.ExactArgs(1),
		Example: "  postilion record show r4f2a1c | postilion-tools tai64nlocal",
		RunE:    func(_ *cobra.Command, args []string) error { return verbs.CopyRecording(a.data, args[0], a.out) },
	}
	group.AddCommand(add, list, remove, show)
	return group
}

// recordWhat says in a line whose sessions a rule concerns.
func recordWhat(r record.Rule) string {
	var words []string
	for _, w := range [][2]string{{"client", r.Client}, {"account", r.Account}, {"to", r.To}} {
		if w[1] != "" {
			words = append(words, w[0]+" "+w[1])
		}
	}
	return strings.Join(words, ", ")
}
