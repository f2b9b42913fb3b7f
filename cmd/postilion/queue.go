package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	"github.com/postilion/postilion/internal/service"
)

// withQueue opens the queue for one verb.
func (a *app) withQueue(ctx context.Context, use func(q *service.QueueAdmin) error) error {
	q, err := a.openQueue(ctx)
	if err != nil {
		return err
	}
	return errors.Join(use(q), q.Close())
}

func (a *app) openQueue(ctx context.Context) (*service.QueueAdmin, error) {
	if a.as.address == "" {
		return service.OpenQueue(ctx, a.data)
	}
	who, err := a.asWho()
	if err != nil {
		return nil, err
	}
	return service.OpenQueueAs(ctx, a.data, who)
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
			return a.withQueue(c.Context(), func(q *service.QueueAdmin) error {
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
			return a.withQueue(c.Context(), func(q *service.QueueAdmin) error {
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

// queueVerb does a verb to messages, after saying how many there are.
func (a *app) queueVerb(verb dispatch.Verb, short, past string) *cobra.Command {
	var f filterFlags
	c := &cobra.Command{
		Use: string(verb) + " [ID...]", Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			filter, err := f.filter(args)
			if err != nil {
				return err
			}
			return a.act(c.Context(), bulk{f: &f, filter: filter, ids: args, what: string(verb), past: past, actions: []dispatch.Action{{Verb: verb}}})
		},
	}
	f.registerBulk(c)
	return c
}

// bulk is something that is done to messages.
type bulk struct {
	f          *filterFlags
	filter     dispatch.Filter
	ids        []string
	what, past string // "hold", "are held"
	actions    []dispatch.Action
}

// act says how many messages match, asks where they were not named one by one, and changes them.
func (a *app) act(ctx context.Context, b bulk) error {
	if !b.f.all && reflect.DeepEqual(b.filter, dispatch.Filter{}) {
		return usageError{errors.New("which messages? Name ids, a filter such as --to or --domain, or --all")}
	}
	return a.withQueue(ctx, func(q *service.QueueAdmin) error {
		finish := a.busy("counting messages")
		messages, recipients, err := q.Count(ctx, b.filter)
		finish()
		if err != nil {
			return err
		}
		if len(b.ids) > 0 && messages == 0 {
			return fmt.Errorf("%s: %w", strings.Join(b.ids, " "), queue.ErrNotFound)
		}
		if len(b.ids) == 0 && messages > 0 {
			if err := a.confirm(b.f.yes, "%s: %d messages with %d recipients match", b.what, messages, recipients); err != nil {
				return err
			}
		}
		step, finish := a.progress(b.what+": messages", messages*len(b.actions))
		defer finish()
		n := 0
		for _, action := range b.actions {
			if messages == 0 {
				break // and the queue is not looked through again
			}
			if n, err = q.Act(ctx, b.filter, action, step); err != nil {
				return err
			}
		}
		finish()
		if a.json {
			return a.printJSON(map[string]any{"done": true, "matched": messages, "changed": n})
		}
		return a.done("%d of %d messages %s", n, messages, b.past)
	})
}

// queueSet changes messages' priority or group.
func (a *app) queueSet() *cobra.Command {
	var f filterFlags
	var priority int8
	var group string
	c := &cobra.Command{
		Use: "set [ID...]", Short: "Change the priority or the group of messages", Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			filter, err := f.filter(args)
			if err != nil {
				return err
			}
			var actions []dispatch.Action
			if c.Flags().Changed("priority") {
				actions = append(actions, dispatch.Action{Verb: dispatch.Priority, Priority: priority})
			}
			if c.Flags().Changed("new-group") {
				actions = append(actions, dispatch.Action{Verb: dispatch.Group, Group: group})
			}
			if actions == nil {
				return usageError{errors.New("want --priority, --new-group or both")}
			}
			return a.act(c.Context(), bulk{f: &f, filter: filter, ids: args, what: "set", past: "are changed", actions: actions})
		},
	}
	f.registerBulk(c)
	c.Flags().Int8Var(&priority, "priority", 0, "-128 to 127: 0 is normal; higher goes first")
	c.Flags().StringVar(&group, "new-group", "", "the group they go to")
	return c
}

func (a *app) queueEdit() *cobra.Command {
	var n int
	c := &cobra.Command{
		Use: "edit ID NEW-ADDRESS", Short: "Give a recipient another address", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			message, err := id.Parse(args[0])
			if err != nil {
				return usageError{err}
			}
			to, err := parseAddress(args[1])
			if err != nil {
				return err
			}
			return a.withQueue(c.Context(), func(q *service.QueueAdmin) error {
				if !c.Flags().Changed("recipient") {
					m, err := q.Show(c.Context(), message)
					if err != nil {
						return missing(args[0], err)
					}
					if n, err = onlyRecipient(m); err != nil {
						return err
					}
				}
				if err := q.Edit(c.Context(), message, n, to); err != nil {
					return missing(args[0], err)
				}
				return a.done("recipient %d of %s is %s", n, message, to)
			})
		},
	}
	c.Flags().IntVar(&n, "recipient", 0, "the recipient's number, as show tells it; needed where several are left")
	return c
}

// onlyRecipient returns the number of a message's recipient where one is left: which of several is meant is for
// the operator to say, or the mail of one goes to the new address of another.
func onlyRecipient(m dispatch.Info) (int, error) {
	var left []dispatch.Recipient
	for _, r := range m.Recipients {
		if r.State == "waiting" || r.State == "running" {
			left = append(left, r)
		}
	}
	switch {
	case m.More == 0 && len(left) == 1:
		return left[0].N, nil
	case m.More == 0 && len(left) == 0:
		return 0, nil // whoever edits it says so
	}
	const most = 5
	var names []string
	for _, r := range left[:min(len(left), most)] {
		names = append(names, fmt.Sprintf("%d is %s", r.N, r.To))
	}
	if m.More > 0 || len(left) > most {
		names = append(names, "…")
	}
	return 0, usageError{fmt.Errorf("which recipient? Name one by --recipient: %s", strings.Join(names, ", "))}
}

func (a *app) queueExport() *cobra.Command {
	var f filterFlags
	c := &cobra.Command{
		Use: "export FILE [ID...]", Short: "Copy messages into a tar file; - is the standard output", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			filter, err := f.filter(args[1:])
			if err != nil {
				return err
			}
			return a.withQueue(c.Context(), func(q *service.QueueAdmin) error {
				step, finish := a.progress("KiB", 0)
				defer finish()
				if args[0] == "-" {
					_, err := q.Export(c.Context(), filter, counting{a.out, step})
					return err
				}
				file, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return err
				}
				w := bufio.NewWriter(file)
				n, err := q.Export(c.Context(), filter, counting{w, step})
				if err = errors.Join(err, w.Flush(), file.Sync(), file.Close()); err != nil {
					return err
				}
				finish()
				return a.done("%d messages are in %s", n, args[0])
			})
		},
	}
	f.register(c)
	return c
}

func (a *app) queueImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Put messages of a tar file that export wrote into the queue, with their age", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, size := a.in, 0
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
				if st, err := file.Stat(); err == nil && st.Mode().IsRegular() {
					size = int((st.Size() + 1023) / 1024)
				}
			}
			return a.withQueue(c.Context(), func(q *service.QueueAdmin) error {
				step, finish := a.progress("KiB", size)
				imported, err := q.Import(c.Context(), bufio.NewReaderSize(countedReader{in, step}, 64<<10))
				finish()
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				if a.json {
					return a.printJSON(map[string]any{"done": true, "imported": imported})
				}
				return a.done("%d messages were put into the queue; those that were there already stay as they are", imported)
			})
		},
	}
}

// queueStats is what --json prints: times are in seconds, as everywhere.
type queueStats struct {
	dispatch.Stats
	Nanoseconds *int  `json:"oldest_age,omitempty"` // hides that of Stats
	Oldest      int64 `json:"oldest_seconds"`
}

func (a *app) queueStats() *cobra.Command {
	return &cobra.Command{
		Use: "stats", Short: "Sum the queue up, as qmail-qstat does, with the busiest destinations", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withQueue(c.Context(), func(q *service.QueueAdmin) error {
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

func (a *app) queueScope(use, short string, pause bool) *cobra.Command {
	var s dispatch.Scope
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (s.Domain == "") == (s.Group == "") {
				return usageError{errors.New("want --domain or --group; `postilion " + use + "` is for everything")}
			}
			if err := checkDestination(s.Domain); err != nil {
				return err
			}
			return a.withQueue(c.Context(), func(q *service.QueueAdmin) error {
				if err := q.PauseScope(c.Context(), s, pause); err != nil {
					return err
				}
				return a.done("%s%s is %s", s.Domain, s.Group, map[bool]string{true: "paused", false: "continued"}[pause])
			})
		},
	}
	c.Flags().StringVar(&s.Domain, "domain", "", "a destination's domain")
	c.Flags().StringVar(&s.Group, "group", "", "a queue group")
	return c
}
