package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/verbs"
)

// withQueue opens the queue for one verb.
func (a *app) withQueue(ctx context.Context, use func(q *verbs.Queue) error) error {
	q, err := a.openQueue(ctx)
	if err != nil {
		return err
	}
	return errors.Join(use(q), q.Close())
}

func (a *app) openQueue(ctx context.Context) (*verbs.Queue, error) {
	if a.as.address == "" {
		return verbs.OpenQueue(ctx, a.data)
	}
	who, err := a.asWho()
	if err != nil {
		return nil, err
	}
	return verbs.OpenQueueAs(ctx, a.data, who)
}

// states are those of recipients and messages that filters know.
var states = []string{"waiting", "running", "failed", "held"}

// filterFlags choose messages; ids can also be arguments.
type filterFlags struct {
	from, to, domain, reason, older, state, group, account string
	all, yes                                               bool
}

func (f *filterFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.to, "to", "", "recipient: an address, or *@DOMAIN")
	c.Flags().StringVar(&f.from, "from", "", "sender: an address, *@DOMAIN, or <> for bounces")
	c.Flags().StringVar(&f.domain, "domain", "", "the recipient's domain")
	c.Flags().StringVar(&f.reason, "reason", "", "reason of the last attempt, such as connect-failed")
	c.Flags().StringVar(&f.older, "older", "", "at least this old, such as 4h or 2d")
	c.Flags().StringVar(&f.state, "state", "", "waiting, running, failed or held")
	c.Flags().StringVar(&f.group, "group", "", "queue group")
	c.Flags().StringVar(&f.account, "account", "", "the account that sent it")
	c.Flags().BoolVar(&f.all, "all", false, "every message")
	completeFlag(c, "state", states)
	completeFlag(c, "reason", reason.IDs())
}

// registerBulk adds the flags of verbs that change many messages.
func (f *filterFlags) registerBulk(c *cobra.Command) {
	f.register(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
}

func (f *filterFlags) filter(args []string) (dispatch.Filter, error) {
	d := dispatch.Filter{From: f.from, To: f.to, Domain: f.domain, Reason: reason.ID(f.reason), State: f.state, Group: f.group, Account: f.account}
	for _, s := range args {
		v, err := id.Parse(s)
		if err != nil {
			return d, usageError{err}
		}
		d.IDs = append(d.IDs, v)
	}
	if f.older != "" {
		age, err := config.ParseDuration(f.older)
		if err != nil {
			return d, usageError{fmt.Errorf("--older: %w", err)}
		}
		if age < 0 {
			return d, usageError{fmt.Errorf("--older %s: want an age that is not negative", f.older)}
		}
		d.Older = age
	}
	if f.all && !reflect.DeepEqual(d, dispatch.Filter{}) {
		return d, usageError{errors.New("--all is every message: leave it out, or the ids and filters")}
	}
	return d, f.check()
}

// check refuses filters that no message can match, which would look like an empty queue.
func (f *filterFlags) check() error {
	for flag, pattern := range map[string]string{"--to": f.to, "--from": f.from} {
		if pattern != "" && pattern != "<>" && !strings.Contains(pattern, "@") {
			return usageError{fmt.Errorf("%s %q: want an address, or *@DOMAIN for all of a domain", flag, pattern)}
		}
	}
	if f.state != "" && !slices.Contains(states, f.state) {
		return usageError{fmt.Errorf("--state %q: want one of %s", f.state, strings.Join(states, ", "))}
	}
	if known := reason.IDs(); f.reason != "" && !slices.Contains(known, f.reason) {
		hint := ""
		if near := config.Nearest(f.reason, known); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return usageError{fmt.Errorf("--reason %q: there is no reason of that name%s", f.reason, hint)}
	}
	return checkDestination(f.domain)
}

// checkDestination checks the value of --domain: a name or an address literal.
func checkDestination(domain string) error {
	if domain == "" || strings.HasPrefix(domain, "[") {
		return nil
	}
	if _, err := directory.DomainKey(domain); err != nil {
		return usageError{fmt.Errorf("--domain: %w", err)}
	}
	return nil
}

func (a *app) queueCommand() *cobra.Command {
	group := &cobra.Command{Use: "queue", Short: "See and change the messages that wait"}
	group.AddCommand(a.queueList(), a.queueShow(), a.queueEdit(), a.queueExport(), a.queueImport(), a.queueStats(), a.queueHosts(),
		a.queueScope("pause", "Start no deliveries to a domain or of a group", true),
		a.queueScope("continue", "Start deliveries to a domain or of a group again", false))
	group.AddCommand(a.queueSet())
	for _, v := range []struct {
		verb  dispatch.Verb
		short string
		past  string
	}{
		{dispatch.Retry, "Try messages now", "are tried now"}, {dispatch.Hold, "Keep messages from being delivered", "are held"},
		{dispatch.Release, "Undo hold", "are released"}, {dispatch.Bounce, "Give messages up and tell their senders", "are bounced"},
		{dispatch.Delete, "Drop messages without a word", "are deleted"},
	} {
		group.AddCommand(a.queueVerb(v.verb, v.short, v.past))
	}
	return a.takeAs(group)
}

func (a *app) queueList() *cobra.Command {
	var f filterFlags
	var most int
	c := &cobra.Command{
		Use: "list [ID...]", Short: "List messages, oldest first", Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			filter, err := f.filter(args)
			if err != nil {
				return err
			}
			if most < 0 {
				return usageError{fmt.Errorf("--limit %d: want a number that is not negative", most)}
			}
			return a.withQueue(c.Context(), func(q *verbs.Queue) error {
				list := []dispatch.Info{}
				more := false
				err := q.Each(c.Context(), filter, func(m dispatch.Info) bool {
					if more = most > 0 && len(list) == most; !more {
						list = append(list, m)
					}
					return !more
				})
				if err != nil {
					return err
				}
				now := a.now(c.Context())
				return a.show(list, func(w io.Writer) { a.printQueue(w, list, now, more) })
			})
		},
	}
	f.register(c)
	c.Flags().IntVar(&most, "limit", 1000, "list at most so many messages; 0 lists all")
	return c
}

// printQueue shows messages as they are at now, the server's time.
func (a *app) printQueue(w io.Writer, list []dispatch.Info, now time.Time, more bool) {
	var rows [][]string
	for _, m := range list {
		from := "<" + m.From + ">"
		state := ""
		if m.Held {
			state = "held"
		}
		rows = append(rows, []string{m.ID.String(), ago(now.Sub(m.Accepted)), config.FormatSize(m.Size), from, "", state})
		for _, r := range m.Recipients {
			if r.State == "done" || r.State == "delivered" {
				continue
			}
			what := r.State
			switch {
			case r.State != "waiting" || r.Next.IsZero():
			case r.Next.After(now):
				what += ", next " + ago(now.Sub(r.Next))
			default:
				what += ", due"
			}
			if r.Error != "" {
				what += ": " + r.Error
			}
			rows = append(rows, []string{"", "", "", "", r.To, what})
		}
		if m.More > 0 {
			rows = append(rows, []string{"", "", "", "", fmt.Sprintf("and %d more", m.More), ""})
		}
	}
	a.table(w, []string{"ID", "AGE", "SIZE", "FROM", "TO", "STATE"}, rows)
	if more {
		fmt.Fprintf(w, "and more; see --limit\n")
	} else {
		fmt.Fprintf(w, "%d messages\n", len(list))
	}
}

func (a *app) queueShow() *cobra.Command {
	var content bool
	c := &cobra.Command{
		Use: "show ID", Short: "Show one message with its recipients", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			message, err := id.Parse(args[0])
			if err != nil {
				return usageError{err}
			}
			return a.withQueue(c.Context(), func(q *verbs.Queue) error {
				if content {
					return missing(args[0], q.Body(c.Context(), message, a.out))
				}
				m, err := q.Show(c.Context(), message)
				if err != nil {
					return missing(args[0], err)
				}
				return a.show(m, func(w io.Writer) { a.printMessage(w, m) })
			})
		},
	}
	c.Flags().BoolVar(&content, "content", false, "print the message's content as it is")
	return c
}

// missing names the message that an error is about.
func missing(message string, err error) error {
	if errors.Is(err, queue.ErrNotFound) {
		return fmt.Errorf("%s: %w", message, err)
	}
	return err
}

func (a *app) printMessage(w io.Writer, m dispatch.Info) {
	a.table(w, []string{"MESSAGE", m.ID.String()}, [][]string{
		{"from", "<" + m.From + ">"}, {"accepted", m.Accepted.Format(time.RFC3339)}, {"size", config.FormatSize(m.Size)},
		{"by", m.Protocol + " " + m.Client + " " + m.Account}, {"group", m.Group}, {"priority", strconv.Itoa(int(m.Priority))},
		{"held", strconv.FormatBool(m.Held)},
	})
	fmt.Fprintln(w)
	var rows [][]string
	for _, r := range m.Recipients {
		next := "-"
		if !r.Next.IsZero() {
			next = r.Next.Format(time.RFC3339)
		}
		rows = append(rows, []string{strconv.Itoa(r.N), r.To, r.State, strconv.Itoa(r.Attempts), next, r.Host, r.Error})
	}
	a.table(w, []string{"N", "TO", "STATE", "ATTEMPTS", "NEXT", "HOST", "LAST ERROR"}, rows)
	if m.More > 0 {
		fmt.Fprintf(w, "and %d more recipients\n", m.More)
	}
}

// queueStats is what --json prints: times are in seconds, as everywhere.
type queueStats struct {
	dispatch.Stats
	Nanoseconds *int  `json:"oldest_age,omitempty"` // hides that of Stats
	Oldest      int64 `json:"oldest_seconds"`
}

func pausedGroups(groups []dispatch.GroupStats) (names []string) {
	for _, g := range groups {
		if g.Paused {
			names = append(names, g.Name)
		}
	}
	return names
}

func (a *app) queueStats() *cobra.Command {
	return &cobra.Command{
		Use: "stats", Short: "Sum the queue up, as qmail-qstat does, with the busiest destinations", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withQueue(c.Context(), func(q *verbs.Queue) error {
				s, err := q.Stats(c.Context())
				if err != nil {
					return err
				}
				return a.show(queueStats{Stats: s, Oldest: int64(s.OldestAge.Seconds())}, func(w io.Writer) {
					oldest := ""
					if s.Messages > 0 {
						oldest = fmt.Sprintf(", the oldest %s old", ago(s.OldestAge))
					}
					fmt.Fprintf(w, "messages in queue: %d (%d recipients, %d held)%s\n", s.Messages, s.Recipients, s.Held, oldest)
					if s.Paused {
						fmt.Fprintf(w, "%s: deliveries do not start; `postilion continue` lets them\n", a.colour("yellow", "paused"))
					}
					fmt.Fprintf(w, "running: %d local, %d remote; due: %d\n", s.RunningLocal, s.RunningRemote, s.Ready)
					if len(s.PausedDomains) > 0 {
						fmt.Fprintf(w, "paused domains: %s\n", escape(strings.Join(s.PausedDomains, " ")))
					}
					if groups := pausedGroups(s.Groups); groups != nil {
						fmt.Fprintf(w, "paused groups: %s\n", escape(strings.Join(groups, " ")))
					}
					var rows [][]string
					for _, d := range s.Top {
						rows = append(rows, []string{d.Name, strconv.Itoa(d.Tasks), strconv.Itoa(d.Running), strconv.Itoa(d.Window), d.Error})
					}
					if rows != nil {
						a.table(w, []string{"DESTINATION", "MESSAGES", "RUNNING", "MAY RUN", "ERROR"}, rows)
					}
				})
			})
		},
	}
}
