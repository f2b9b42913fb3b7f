package main

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/service"
)

func (a *app) addressCommand() *cobra.Command {
	group := &cobra.Command{Use: "address", Short: "Find out what an address is"}
	group.AddCommand(&cobra.Command{
		Use: "test ADDRESS", Short: "Explain where mail to an address would go, without sending any", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.readConfig()
			if err != nil {
				return err
			}
			return a.withStores(c.Context(), func(s *service.Stores) error {
				own := new(netx.OwnAddrs)
				router, err := route.New(f.Route, s.Directory, func(x netip.Addr) bool { return own.Contains(x) })
				if err != nil {
					return err
				}
				r, err := router.Route(c.Context(), mail.ParseAddress(args[0]))
				if err != nil {
					return err
				}
				return a.show(routeResult(args[0], &r), func(w io.Writer) { a.printRoute(w, args[0], &r) })
			})
		},
	})
	return group
}

var kinds = map[route.Kind]string{route.Refused: "refused", route.Mailbox: "mailbox", route.Forward: "forward", route.Remote: "remote"}

func routeResult(address string, r *route.Route) map[string]any {
	m := map[string]any{"address": address, "kind": kinds[r.Kind], "local": r.Local, "final": r.Final.String(), "steps": orEmpty(r.Steps)}
	switch r.Kind {
	case route.Mailbox:
		m["account"], m["folder"] = r.Account.Address.String(), r.Folder
	case route.Forward:
		var targets []string
		for _, t := range r.Targets {
			targets = append(targets, t.String())
		}
		m["targets"] = targets
	case route.Remote:
		m["next"] = map[string]any{"domain": r.Next.Domain, "host": r.Next.Host, "port": r.Next.Port, "tls": r.Next.TLS.String()}
	case route.Refused:
		m["error"] = r.Err
		m["text"] = r.Err.Text(reason.English)
	}
	return m
}

func (a *app) printRoute(w io.Writer, address string, r *route.Route) {
	for i, s := range r.Steps {
		fmt.Fprintf(w, "%2d. %s: %s", i+1, escape(s.What), escape(s.Result))
		if s.Where != "" {
			fmt.Fprintf(w, "  (%s)", escape(s.Where))
		}
		fmt.Fprintln(w)
	}
	switch r.Kind {
	case route.Mailbox:
		fmt.Fprintf(w, "%s goes into the mailbox of %s", escape(address), escape(r.Account.Address.String()))
		if r.Folder != "" {
			fmt.Fprintf(w, ", folder %s", escape(r.Folder))
		}
		fmt.Fprintln(w)
	case route.Forward:
		fmt.Fprintf(w, "%s goes on to", escape(address))
		for _, t := range r.Targets {
			fmt.Fprintf(w, " %s", escape(t.String()))
		}
		fmt.Fprintln(w)
	case route.Remote:
		where := "the MX hosts of " + r.Next.Domain
		if r.Next.Host != "" {
			where = r.Next.Host
		}
		fmt.Fprintf(w, "%s goes to %s, TLS %s\n", escape(address), escape(where), r.Next.TLS)
	case route.Refused:
		fmt.Fprintf(w, "%s is refused: %d %s %s\n", escape(address), r.Err.Code, r.Err.Enhanced, escape(r.Err.Text(reason.English)))
	}
}
