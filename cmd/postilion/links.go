package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/tools"
	"github.com/postilion/postilion/internal/tools/links"
)

func (a *app) linksCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "links", Short: "The small programs' names: sendmail, qmail-inject, forward, ...",
		Long: "The small programs are one program, postilion-tools, which acts as what it is called. These verbs make the\n" +
			"names, as symbolic links, and tell which of the system's own names lead to another mail system.",
	}
	c.AddCommand(a.linksInstall(), a.linksCheck(), a.linksRemove())
	return c
}

// toolNames returns the names given, or all, and the program they lead to.
func toolNames(program string, names []string) (chosen []string, target string, err error) {
	all, err := toolLinks(program)
	if err != nil {
		return nil, "", err
	}
	chosen = slices.Sorted(maps.Keys(all))
	target = all[chosen[0]]
	if target, err = filepath.Abs(target); err != nil {
		return nil, "", err
	}
	for _, n := range names {
		if _, known := all[n]; !known {
			return nil, "", usageError{fmt.Errorf("there is no small program %q; `postilion-tools --list` names them", n)}
		}
	}
	if len(names) > 0 {
		chosen = names
	}
	return chosen, target, nil
}

func programFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "programs", "", "the postilion-tools that the links lead to (default: beside this program)")
}

func (a *app) linksInstall() *cobra.Command {
	var o links.Options
	var program string
	c := &cobra.Command{
		Use: "install DIR [NAME...]", Short: "Make the links in a folder: all of them, or those named", Args: cobra.MinimumNArgs(1),
		Long: "Make the links in a folder. A file that has one of the names is in the way; with --force it is set\n" +
			"aside as NAME" + links.Aside + ", and `links remove` puts it back.",
		Example: "  postilion links install /usr/local/bin\n  postilion links install --force /usr/sbin sendmail",
		RunE: func(c *cobra.Command, args []string) (err error) {
			o.Dir = args[0]
			if o.Names, o.Target, err = toolNames(program, args[1:]); err != nil {
				return err
			}
			done, err := links.Install(o)
			return a.showChanges(done, err)
		},
	}
	c.Flags().BoolVar(&o.Force, "force", false, "set aside what is in the way")
	programFlag(c, &program)
	return c
}

func (a *app) linksRemove() *cobra.Command {
	var program string
	c := &cobra.Command{
		Use: "remove DIR [NAME...]", Short: "Remove the links of a folder, and put back what they took the place of", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			names, target, err := toolNames(program, args[1:])
			if err != nil {
				return err
			}
			done, err := links.Remove(args[0], target, names)
			return a.showChanges(done, err)
		},
	}
	programFlag(c, &program)
	return c
}

// showChanges prints what was done, also before an error.
func (a *app) showChanges(done []links.Change, err error) error {
	shown := a.show(done, func(w io.Writer) {
		for _, c := range done {
			if c.Done == "kept" {
				continue
			}
			line := c.Done + " " + escape(c.Path)
			if c.Note != "" {
				line += ": " + escape(c.Note)
			}
			fmt.Fprintln(w, line)
		}
		if err == nil && !slices.ContainsFunc(done, func(c links.Change) bool { return c.Done != "kept" }) {
			fmt.Fprintln(w, "nothing to do")
		}
	})
	if err != nil {
		return err
	}
	return shown
}

func (a *app) linksCheck() *cobra.Command {
	var program string
	c := &cobra.Command{
		Use: "check", Short: "Tell where the system's names of mail programs lead; exit 1 if not here", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, target, err := toolNames(program, nil)
			if err != nil {
				return err
			}
			var names []string
			for _, p := range tools.Programs() {
				names = append(names, p.Name)
			}
			found := links.Check(os.Getenv("POSTILION_ROOT"), target, names)
			if err := a.show(found, func(w io.Writer) { a.printFindings(w, found) }); err != nil {
				return err
			}
			if slices.ContainsFunc(found, func(f links.Finding) bool { return !f.Ours }) {
				return errSilent
			}
			return nil
		},
	}
	programFlag(c, &program)
	return c
}

func (a *app) printFindings(w io.Writer, found []links.Finding) {
	if len(found) == 0 {
		fmt.Fprintln(w, "there is no sendmail, mailq, newaliases or /var/qmail/bin: `postilion links install DIR` makes them")
		return
	}
	var rows [][]string
	for _, f := range found {
		state, leads := "another program", f.Leads
		switch {
		case f.Ours:
			state = "ours"
		case f.Wrong != "":
			state, leads = f.Wrong, f.Via
		case f.Via != "" && f.Via != f.Leads:
			leads += " (by way of " + f.Via + ")"
		}
		rows = append(rows, []string{f.Path, state, leads})
	}
	a.table(w, []string{"PATH", "STATE", "LEADS TO"}, rows)
}
