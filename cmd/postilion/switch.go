package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/migrate/takeover"
	"github.com/postilion/postilion/internal/tools"
)

func (a *app) switchCommand() *cobra.Command {
	group := &cobra.Command{Use: "switch", Short: "Take over from an old mail system, and go back",
		Long: "Set the programs, links and boot start of qmail, sendmail or Postfix aside, so that programs of this host hand\n" +
			"their mail to this server, and put everything back exactly. What is set aside is renamed to\n" +
			".before-postilion.NAME in its folder; a journal in the data folder tells what was done. A switch that was cut\n" +
			"short is carried on by running it again."}
	var root, old, programs string
	flags := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&root, "root", "", "the root folder of the host (default /)")
		c.Flags().StringVar(&old, "old-qmail", "", "the folder of a qmail whose bin is set aside too (default: that of the key qmail, if it is set)")
		c.Flags().StringVar(&programs, "programs", "", "the postilion-tools that the links lead to (default: beside this program)")
		return c
	}
	options := func() (takeover.Options, error) {
		o := takeover.Options{Root: root, Data: a.data, Qmail: old, Run: a.runOld, Now: time.Now}
		if f, err := a.readConfig(); err == nil && o.Qmail == "" {
			o.Qmail = f.Qmail
		}
		var err error
		if root != "" {
			if o.Root, err = filepath.Abs(root); err != nil {
				return o, err
			}
		}
		o.Links, err = toolLinks(programs)
		return o, err
	}
	var how switchFlags
	over := flags(&cobra.Command{
		Use: "over", Short: "Set the old system aside", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			o, err := options()
			if err != nil {
				return err
			}
			return a.switchOver(o, how)
		},
	})
	over.Flags().BoolVar(&how.dry, "dry-run", false, "tell what would be done and do nothing")
	over.Flags().BoolVar(&how.yes, "yes", false, "do not ask")
	back := flags(&cobra.Command{
		Use: "back", Short: "Put the old system back", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.hasPortsToGive(c.Context()); err != nil {
				return err
			}
			j, err := takeover.Back(takeover.Options{Data: a.data, Run: a.runOld})
			switch {
			case err != nil:
				return err
			case j.State == takeover.Never:
				return a.done("nothing was switched over from %s", a.data)
			}
			if err := a.done("%d steps are undone: the old system is as it was", len(j.Plan.Steps)); err != nil || a.json {
				return err
			}
			if _, err := os.Stat(filepath.Join(a.data, "queue")); err == nil { // it has served
				fmt.Fprintln(a.out, "note: messages that wait in this server's queue stay there: see `postilion queue list`")
				fmt.Fprintln(a.out, "note: messages that `postilion migrate queue` took are still in the old queue too, and go out from there again")
			}
			return nil
		},
	})
	group.AddCommand(over, back, a.switchStatusCommand())
	return group
}

func (a *app) switchStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Tell whether the old system is set aside", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			j, err := takeover.Read(a.data)
			if err != nil {
				return err
			}
			return a.show(j, func(w io.Writer) {
				if j.State == takeover.Never {
					fmt.Fprintln(w, "nothing is set aside")
					return
				}
				fmt.Fprintf(w, "%s since %s\n", j.State, j.Began.Local().Format(time.DateTime))
				printPlan(w, &j.Plan)
			})
		},
	}
}

// hasPortsToGive refuses to go back on the host itself while this server runs: the old one would be started, find its
// ports taken, and say so in its own log at best.
func (a *app) hasPortsToGive(ctx context.Context) error {
	j, err := takeover.Read(a.data)
	if err != nil || j.State == takeover.Never || filepath.Join("/", j.Root) != "/" {
		return err
	}
	if running, err := datafolder.Running(ctx, a.data); err != nil || !running {
		return err
	}
	return errors.New("this server is running and has the ports of the old system; stop it for good first, as by `systemctl disable --now postilion` or `svc -d`; nothing was changed")
}

// switchFlags say how the old system is set aside.
type switchFlags struct {
	dry bool // in words alone
	yes bool // without asking
}

func (a *app) switchOver(o takeover.Options, how switchFlags) error {
	before, err := takeover.Read(o.Data)
	if err != nil {
		return err
	}
	if before.State == takeover.IsOver {
		return a.done("the old system is set aside since %s", before.Began.Local().Format(time.DateTime))
	}
	plan := &before.Plan
	if before.State == takeover.Never {
		if plan, err = takeover.Make(o); err != nil {
			return err
		}
	}
	if how.dry {
		return a.show(plan, func(w io.Writer) { printPlan(w, plan) })
	}
	if err := a.confirm(how.yes, "%d programs, links and start files are set aside or made", len(plan.Steps)); err != nil {
		return err
	}
	j, err := takeover.Over(o)
	if err != nil {
		return err
	}
	return a.show(j, func(w io.Writer) {
		printPlan(w, &j.Plan)
		fmt.Fprintf(w, "the old system is set aside; start this one with `postilion serve`, go back with `postilion switch back`\n")
	})
}

func printPlan(w io.Writer, p *takeover.Plan) {
	run := func(argv []string) {
		if len(argv) > 0 {
			fmt.Fprintf(w, "run %s (on the host itself)\n", escape(strings.Join(argv, " ")))
		}
	}
	for _, c := range p.Commands {
		run(c.First)
	}
	for _, s := range p.Steps {
		fmt.Fprintln(w, escape(s.String()))
	}
	for _, c := range p.Commands {
		run(c.Over)
	}
	for _, r := range p.Remarks {
		fmt.Fprintf(w, "note: %s\n", escape(r))
	}
}

// runOld runs a program that stops or starts the old system. One that is not installed has
// nothing to stop.
func (a *app) runOld(argv []string) error {
	if _, err := os.Stat("/run/systemd/system"); err != nil && argv[0] == "systemctl" {
		return nil // its files are there, but it is not what runs this host: sd_booted(3)
	}
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdout, c.Stderr = a.err, a.err
	err := c.Run()
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// A service that does not run says so by its exit code, as daemontools does for a folder that
	// nothing supervises: what counts is that it is not started again.
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		fmt.Fprintf(a.err, "postilion: note: %s: %s\n", escape(argv[0]), err)
		return nil
	}
	return err
}

// toolsBeside returns the postilion-tools beside this program; "" where there is none.
func toolsBeside() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	program := filepath.Join(filepath.Dir(exe), "postilion-tools")
	if _, err := os.Stat(program); err != nil {
		return ""
	}
	return program
}

// toolLinks returns the small programs' names with the program that each link leads to.
func toolLinks(program string) (map[string]string, error) {
	if program == "" {
		if program = toolsBeside(); program == "" {
			return nil, errors.New("there is no postilion-tools beside this program, which the links are to lead to: name it with --programs")
		}
	}
	links := map[string]string{}
	for _, p := range tools.Programs() {
		links[p.Name] = program
	}
	return links, nil
}
