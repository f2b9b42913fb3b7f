package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) addressCommand() *cobra.Command {
	group := &cobra.Command{Use: "address", Short: "Find out what an address is"}
	var from, client string
	test := &cobra.Command{
		Use: "test ADDRESS", Short: "Explain where mail to an address would go, without sending any", Args: cobra.ExactArgs(1),
		Long: "Explain where mail to an address would go, every step with the file and line that decided, down to the\n" +
			"instructions of a user's .qmail file. Nothing is sent. With --from and --client also whether the server\n" +
			"would take it. The exit code is 1 for what is refused, 4 for what has to wait.",
		RunE: func(c *cobra.Command, args []string) error {
			q, err := question(args[0], from, client, c.Flags().Changed("from"))
			if err != nil {
				return err
			}
			return a.testAddress(c, args[0], q)
		},
	}
	test.Flags().StringVar(&from, "from", "", "whose message it is; empty is the null sender")
	test.Flags().StringVar(&client, "client", "", "the address of the client that hands it in")
	group.AddCommand(test)
	return group
}

func question(to, from, client string, withFrom bool) (verbs.Question, error) {
	q := verbs.Question{To: mail.ParseAddress(to), From: mail.ParseAddress(from), WithFrom: withFrom}
	if to == "" {
		return q, usageError{errors.New("the address is empty; want one such as joe@example.test")}
	}
	if client == "" {
		return q, nil
	}
	addr, err := netip.ParseAddr(strings.Trim(client, "[]"))
	if err != nil {
		return q, usageError{fmt.Errorf("--client %q: want an IP address", client)}
	}
	q.Client = addr
	return q, nil
}

func (a *app) testAddress(c *cobra.Command, address string, q verbs.Question) error {
	f, err := a.readConfig()
	if err != nil {
		return err
	}
	return a.withStores(c.Context(), func(s *verbs.Stores) error {
		x, err := s.Explain(c.Context(), f.Config, q)
		if err != nil {
			return err
		}
		if err := a.show(explained(address, x), func(w io.Writer) { printExplained(w, address, x) }); err != nil {
			return err
		}
		return verdict(x)
	})
}

// verdict gives the exit code: what is refused or has to wait has been told.
func verdict(x *verbs.Explanation) error {
	var e *reason.Error
	switch {
	case x.Err != nil:
		e = reason.As(x.Err)
	case x.Route.Kind == route.Refused:
		e = x.Route.Err
	case x.Refusal != nil:
		e = x.Refusal
	default:
		e, _ = errors.AsType[*reason.Error](x.PlanErr)
	}
	switch {
	case e == nil:
		return nil
	case e.Class == reason.Temporary:
		return fmt.Errorf("%w%w", errSilent, e)
	}
	return errSilent
}

// explained is what --json prints.
func explained(address string, x *verbs.Explanation) map[string]any {
	r := &x.Route
	m := map[string]any{"address": address, "kind": r.Kind.String(), "local": r.Local, "final": r.Final.String(), "steps": orEmpty(r.Steps),
		"sentence": route.Sentence(address, r, x.Err)}
	switch {
	case x.Err != nil:
		m["kind"] = "deferred"
		putError(m, "error", reason.As(x.Err))
	case r.Kind == route.Mailbox:
		m["account"], m["folder"] = r.Account.Address.String(), r.Folder
	case r.Kind == route.Forward:
		targets := []string{}
		for _, t := range r.Targets {
			targets = append(targets, t.String())
		}
		m["targets"], m["owner"] = targets, r.Owner.String()
	case r.Kind == route.Remote:
		m["next"] = map[string]any{"domain": r.Next.Domain, "host": r.Next.Host, "port": r.Next.Port, "tls": r.Next.TLS.String()}
	case r.Kind == route.SystemUser:
		u := r.User
		m["user"] = map[string]any{"name": u.Name, "uid": u.UID, "gid": u.GID, "home": u.Home, "dash": u.Dash, "ext": u.Ext, "local": u.Local, "host": u.Host}
		m["deliveries"] = orEmpty(x.Deliveries)
		if x.PlanErr != nil {
			putError(m, "deliveries_error", reason.As(x.PlanErr))
		}
	case r.Kind == route.Refused:
		putError(m, "error", r.Err)
		m["text"] = r.Err.Text(reason.English)
	}
	if x.Policy != nil {
		m["policy"] = x.Policy
	}
	if x.Refusal != nil {
		putError(m, "refusal", x.Refusal)
	}
	return m
}

func putError(m map[string]any, key string, e *reason.Error) {
	m[key] = e
	if e.Cause != nil {
		m[key+"_cause"] = e.Cause.Error()
	}
}

func printExplained(w io.Writer, address string, x *verbs.Explanation) {
	n := printSteps(w, 0, x.Policy)
	n = printSteps(w, n, x.Route.Steps)
	printSteps(w, n, x.Deliveries)
	fmt.Fprintln(w, escape(route.Sentence(address, &x.Route, x.Err)))
	if x.PlanErr != nil {
		e, ok := errors.AsType[*reason.Error](x.PlanErr)
		switch {
		case !ok:
			fmt.Fprintf(w, "%s\n", escape(x.PlanErr.Error()))
		case e.Class == reason.Temporary:
			fmt.Fprintf(w, "but it has to wait there: %s\n", escape(e.Error()))
		default:
			fmt.Fprintf(w, "but it is refused: %d %s %s\n", e.Code, e.Enhanced, escape(e.Text(reason.English)))
		}
	}
	if x.Refusal != nil && x.Refusal != x.Route.Err {
		fmt.Fprintf(w, "the server does not take it: %d %s %s\n", x.Refusal.Code, x.Refusal.Enhanced, escape(x.Refusal.Text(reason.English)))
	}
}

// printSteps prints steps numbered from the one behind n, and returns the last number.
func printSteps(w io.Writer, n int, steps []route.Step) int {
	for _, s := range steps {
		n++
		fmt.Fprintf(w, "%2d. %s", n, escape(s.What))
		if s.Result != "" {
			fmt.Fprintf(w, ": %s", escape(s.Result))
		}
		if s.Where != "" {
			fmt.Fprintf(w, "  (%s)", escape(s.Where))
		}
		fmt.Fprintln(w)
	}
	return n
}
