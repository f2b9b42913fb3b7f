package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/verbs"
)

// The verbs that change the queue: what is done to messages one by one or by filter, archives in and out, pauses.

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
	return a.withQueue(ctx, func(q *verbs.Queue) error {
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
		var done dispatch.Acted
		for _, action := range b.actions {
			if messages == 0 {
				break // and the queue is not looked through again
			}
			if done, err = q.Act(ctx, b.filter, action, step); err != nil {
				return err
			}
		}
		finish()
		if a.json {
			return a.printJSON(map[string]any{"done": true, "matched": messages, "changed": done.Changed, "running": done.Running})
		}
		return a.done("%d of %d messages %s%s%s", done.Changed, messages, b.past, underWay(b.actions[0].Verb, done), a.later(ctx, b.actions[0].Verb, done))
	})
}

// underWay says what becomes of messages that were to be stopped while a delivery of them is under way.
func underWay(v dispatch.Verb, done dispatch.Acted) string {
	if done.Running == 0 {
		return ""
	}
	some := ""
	if done.Running < done.Changed {
		some = fmt.Sprintf(", %d of them", done.Running)
	}
	switch v {
	case dispatch.Bounce:
		return some + " unless the delivery under way succeeds"
	case dispatch.Delete:
		return fmt.Sprintf("; %d of them may still arrive: the delivery under way goes on", done.Running)
	}
	return some + " once the delivery under way has ended"
}

// later tells what keeps a server from doing at once what a verb asks for.
func (a *app) later(ctx context.Context, v dispatch.Verb, done dispatch.Acted) string {
	if done.Changed == done.Running || v != dispatch.Retry && v != dispatch.Bounce || a.as.address != "" {
		return ""
	}
	s, err := ask[none, control.Status](ctx, a, control.MethodStatus, none{})
	if err != nil {
		if v == dispatch.Bounce && errors.Is(err, control.ErrNotRunning) {
			return "; senders are told when the server runs"
		}
		return ""
	}
	what, unless := "senders are told", ""
	if v == dispatch.Retry { // which is known in memory alone
		what, unless = "that comes", ", unless the server is restarted before"
	}
	if s.Paused {
		return "; deliveries are paused: " + what + " after `postilion continue`" + unless
	}
	for _, r := range s.Roles {
		if held, _ := r.Facts["held_back"].(bool); held {
			return "; deliveries are held back by the load: " + what + " when they go on" + unless
		}
	}
	return ""
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
	c.Flags().StringVar(&group, "new-group", "", "the group they go to; one that dispatch.groups does not name has no limit")
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
			return a.withQueue(c.Context(), func(q *verbs.Queue) error {
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
			return a.withQueue(c.Context(), func(q *verbs.Queue) error {
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
					return errors.Join(err, os.Remove(args[0])) // it is ours: no other was there
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
		Use: "import FILE", Short: "Put messages of a tar file that export wrote into the queue, with their age; - is the standard input", Args: cobra.ExactArgs(1),
		Long: "Put messages of a tar file that export wrote into the queue, with their age; - is the standard input. The whole\n" +
			"file is checked first: nothing of one that is damaged or cut off is put into the queue.",
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := datafolder.Running(c.Context(), a.data); err != nil {
				return err
			}
			file, size, err := a.archiveFile(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			name := args[0]
			if name == "-" {
				name = "the standard input"
			}
			return a.withQueue(c.Context(), func(q *verbs.Queue) error {
				step, finish := a.progress("KiB", 2*size) // it is read twice
				imported, err := q.Import(c.Context(), countedFile{countedReader{file, step}, file})
				finish()
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if a.json {
					return a.printJSON(map[string]any{"done": true, "imported": imported})
				}
				return a.done("%d messages were put into the queue; those that were there already stay as they are", imported)
			})
		},
	}
}

// archiveFile opens a file to be read twice, size KiB long: what comes by a pipe is kept in an unnamed file.
func (a *app) archiveFile(name string) (file *os.File, size int, err error) {
	in := a.in
	if name != "-" {
		if file, err = os.Open(name); err != nil {
			return nil, 0, err
		}
		st, err := file.Stat()
		if err == nil && (st.Mode().IsRegular() || st.IsDir()) {
			return file, int((st.Size() + 1023) / 1024), nil
		}
		defer file.Close()
		if err != nil {
			return nil, 0, err
		}
		in = file
	}
	kept, err := os.CreateTemp(a.data, "import-*.tar")
	if err != nil {
		return nil, 0, err
	}
	finish := a.busy("reading the archive")
	n, err := io.Copy(kept, in)
	finish()
	if err = errors.Join(err, os.Remove(kept.Name())); err == nil {
		_, err = kept.Seek(0, io.SeekStart)
	}
	if err != nil {
		kept.Close()
		return nil, 0, err
	}
	return kept, int((n + 1023) / 1024), nil
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
			return a.withQueue(c.Context(), func(q *verbs.Queue) error {
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
