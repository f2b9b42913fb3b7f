// Postilion is a whole mail system in one program. This package only wires: each file
// holds one group of verbs, which call internal/verbs and print what it says.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
)

// version is set by the linker for releases.
var version = "0.1.0-dev"

// Exit codes, as `postilion help exit-codes` tells them.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitTemporary  = 4
	exitConfig     = 5
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	a := &app{in: in, out: out, err: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	err = a.aboutRole(ctx, err)
	if errors.Is(err, fs.ErrPermission) && os.Getuid() != 0 {
		err = fmt.Errorf("%w: try as root, or as the user who runs the server", err)
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintf(errOut, "postilion: %s\n", escapeLines(err.Error()))
	}
	return exitCode(err)
}

// errSilent ends a command that has said already what is wrong.
var errSilent = errors.New("failed")

// usageError is a mistake in the command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// errNoConfig marks an error that says already that there is no configuration.
var errNoConfig = silent{}

type silent struct{}

func (silent) Error() string { return "" }

func exitCode(err error) int {
	var usage usageError
	var problems config.Problems
	r, isReason := errors.AsType[*reason.Error](err)
	_, isHung := errors.AsType[hungError](err)
	_, isInvalid := errors.AsType[*directory.InvalidError](err)
	switch {
	case errors.As(err, &usage) || isInvalid:
		return exitUsage
	case errors.As(err, &problems) || errors.Is(err, errNoConfig):
		return exitConfig
	case errors.Is(err, control.ErrNotRunning):
		return exitNotRunning
	case isReason && r.Class == reason.Temporary, isHung, rolecall.IsHung(err):
		return exitTemporary
	}
	return exitFailure
}

// flagMistake says what a flag's value should have been, where package strconv has words for programmers.
func flagMistake(err error) string {
	what, _, _ := strings.Cut(err.Error(), ": strconv.")
	var number *strconv.NumError
	switch {
	case !errors.As(err, &number):
		return what
	case number.Func == "ParseBool":
		return what + ": want true or false"
	case errors.Is(number, strconv.ErrRange):
		return what + ": want a number that is nearer to 0"
	}
	return what + ": want a whole number"
}

// root makes the whole tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "postilion",
		Short: "A whole mail system in one program",
		Long: "Postilion takes mail in over SMTP, keeps it safe, delivers it here and to other hosts,\n" +
			"and lets people read it. `postilion quickstart DOMAIN` sets a server up and runs it.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.locate() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%s; see `%s --help`", flagMistake(err), c.CommandPath())}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.data, "data", "", "the data folder (default $POSTILION_DATA, or "+datafolder.Default()+")")
	f.StringVar(&a.config, "config", "", "the configuration file (default postilion.toml in the data folder)")
	f.StringVar(&a.qmail, "qmail", "", "run on this qmail `folder` as it stands, as the key of that name does")
	f.StringArrayVar(&a.set, "set", nil, "set a key of the configuration, as `key=value`; goes before the file")
	f.BoolVar(&a.json, "json", false, "print JSON")
	root.AddCommand(
		a.quickstartCommand(), a.serveCommand(), a.roleCommand(),
		a.statusCommand(), a.stopCommand(), a.restartCommand(), a.reloadCommand(), a.pauseCommand(), a.continueCommand(), a.flushCommand(),
		a.domainCommand(), a.accountCommand(), a.aliasCommand(), a.blockCommand(), a.recordCommand(),
		a.queueCommand(), a.addressCommand(), a.messageCommand(), a.quotaCommand(), a.configCommand(), a.statsCommand(),
		a.selftestCommand(), a.backupCommand(), a.explainCommand(), a.toolCommand(), a.linksCommand(), a.reportCommand(), a.migrateCommand(), a.switchCommand(),
		a.versionCommand(), a.manCommand(), exitCodesTopic(),
	)
	root.AddCommand(a.handedCommands()...)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	strict(root)
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = helpTopic
		}
	}
	return root
}

// helpTopic refuses a topic that is none, for which cobra would show the program's own help.
func helpTopic(c *cobra.Command, args []string) error {
	if _, rest, err := c.Root().Find(args); err != nil || len(rest) > 0 {
		return usageError{fmt.Errorf("there is no help on %q; see `%s --help`", strings.Join(args, " "), c.Root().Name())}
	}
	return nil
}

// strict makes groups of verbs refuse an unknown one with a hint, and turns wrong
// arguments into usage errors.
func strict(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			switch {
			case err != nil && check(c, nil) == nil && check(c, []string{"x"}) != nil: // cobra takes them for verbs
				err = fmt.Errorf("want no arguments, have %d: %q", len(args), args)
			case err == nil && slices.Contains(args, ""): // a variable of a script that is not set, which some verb would take for all
				err = errors.New("an argument is empty")
			}
			if err != nil {
				return usageError{fmt.Errorf("%w; usage: %s", err, c.UseLine())}
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			var names []string
			for _, s := range c.Commands() {
				if !s.Hidden {
					names = append(names, s.Name())
				}
			}
			hint := ""
			if near := config.Nearest(args[0], names); near != "" {
				hint = fmt.Sprintf("; did you mean %s?", near)
			}
			return usageError{fmt.Errorf("there is no verb %q%s; see `%s --help`", args[0], hint, c.CommandPath())}
		}
		c.Args = cobra.ArbitraryArgs
	}
	for _, s := range c.Commands() {
		strict(s)
	}
}

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the program's exit codes mean", Long: `Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  no server runs on the data folder
  4  failed for now: trying again later can help
  5  the configuration is wrong`}
}
