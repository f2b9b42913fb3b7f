package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) queueHosts() *cobra.Command {
	return &cobra.Command{
		Use: "hosts", Short: "List other hosts that do not answer, as qmail-tcpto does; `flush` forgets them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.as.address != "" {
				return reason.AdminOwnerOnly.With("queue hosts")
			}
			h, err := verbs.Hosts(c.Context(), a.data)
			if err != nil {
				return err
			}
			return a.show(h, func(w io.Writer) { a.printHosts(w, h) })
		},
	}
}

func (a *app) printHosts(w io.Writer, h verbs.FailingHosts) {
	if len(h.Destinations)+len(h.Addresses) == 0 {
		fmt.Fprintln(w, "all hosts that were tried lately answered")
		return
	}
	until := func(t time.Time) string {
		if t.IsZero() {
			return "now"
		}
		return t.Local().Format(time.DateTime)
	}
	var rows [][]string
	for _, d := range h.Destinations {
		rows = append(rows, []string{d.Name, strconv.Itoa(d.Tasks), strconv.Itoa(d.Failures), until(d.Until), d.Error})
	}
	if rows != nil {
		a.table(w, []string{"DESTINATION", "MESSAGES", "FAILURES", "TRIED AGAIN", "ERROR"}, rows)
	}
	if len(h.Addresses) == 0 {
		return
	}
	if rows != nil {
		fmt.Fprintln(w)
		rows = nil
	}
	for _, d := range h.Addresses {
		rows = append(rows, []string{d.Addr.String(), strconv.Itoa(d.Count), d.TimedOut.Local().Format(time.DateTime), until(d.Until)})
	}
	a.table(w, []string{"ADDRESS", "TIME-OUTS", "LAST", "TRIED AGAIN"}, rows)
}
