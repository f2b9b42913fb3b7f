// Package ezmlm holds the programs by which .qmail files run mailing lists (qmail reference 23). They
// are the edge of package list: options, environment, descriptor 0, exit codes. Several of them read
// the same message one after the other, so each begins at its start; each exits 0 to let the next go
// on, 99 when nothing is left to do, 100 to refuse, 111 to be asked again.
package ezmlm

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/list"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns this family's programs. They queue what they send by queue.
func Programs(queue tool.Queue) []tool.Program {
	p := func(name, short, usage string, run func(*call) int) tool.Program {
		return tool.Program{Name: name, Short: short, Usage: usage, Run: func(ctx context.Context, e *tool.Env) int {
			// What lists write is read by web servers and by the owner's other programs, as ezmlm's is.
			e.SetUmask(0o022)
			return run(&call{ctx: ctx, e: e, queue: queue, usage: usage})
		}}
	}
	return []tool.Program{
		p("ezmlm-make", "make a mailing list's folder and its .qmail links", makeUsage, makeList),
		p("ezmlm-sub", "put addresses on a mailing list", "dir [ sublist ] [ box@host ... ]", sub),
		p("ezmlm-unsub", "take addresses off a mailing list", "dir [ sublist ] [ box@host ... ]", unsub),
		p("ezmlm-list", "list the addresses on a mailing list", "[-nN] dir [ sublist ]", listAddresses),
		p("ezmlm-issubn", "succeed if $SENDER is on one of the lists", "[-nN] dir [ sublist ... ]", isSubscriber),
		p("ezmlm-checksub", "refuse a post whose sender is not on one of the lists", "[ -m message ] [-nN] dir [ sublist ... ]", checkSub),
		p("ezmlm-reject", "refuse posts that are no messages for a list", "[-bBcCfFhHqQsStT] [ dir ]", reject),
		p("ezmlm-send", "send a post to the subscribers", "[-cClLqQrR] [ -H header ] dir", send),
		p("ezmlm-store", "send a post, or ask the moderators or its author first", "[-bBcCmMpPrRsSyY] dir", store),
		p("ezmlm-gate", "send posts of known senders, hand others to the moderators", "[-cCmMpPrRsSyY] dir [ sublist ... ]", gate),
		p("ezmlm-moderate", "carry out what a moderator decided about a post", "[-cCmMrR] dir", moderate),
		p("ezmlm-confirm", "send a post that its author has confirmed", "[-cCmMrR] dir [ program ... ]", confirm),
		p("ezmlm-clean", "give back posts that nobody decided about", "[-mMrR] dir", clean),
		p("ezmlm-weed", "drop what is no bounce and no mail of a person", "", weed),
		p("ezmlm-return", "handle what came back from a subscriber", "[-dD] dir", returned),
		p("ezmlm-warn", "warn, and then probe, subscribers whose mail came back", "[-dD] [ -l secs ] [ -t days ] dir", warn),
		p("ezmlm-manage", "carry out what was sent to a command's address", manageUsage, manage),
		p("ezmlm-request", "carry out a command in the subject of a mail to LIST-request", "dir", request),
		p("ezmlm-split", "hand requests on to the sublist of the address's domain", "[-dD] dir [ splitfile ]", split),
		p("ezmlm-get", "send messages of the archive, its index, a thread, or a digest", getUsage, get),
		p("ezmlm-idx", "make the index of the archive anew", "[ -f ] dir", reindex),
		p("ezmlm-tstdig", "succeed if a digest is due", "[ -k kbytes ] [ -m messages ] [ -t hours ] dir", testDigest),
	}
}

// call is one run of a program.
type call struct {
	ctx   context.Context
	e     *tool.Env
	queue tool.Queue
	usage string

	opts []tool.Option
	args []string // without options
	list *list.Folder
	said bool // the code is final: what there was to say has been said
}

// open parses the options and opens the list's folder, the first argument. It returns ok = false
// with the exit code.
func (c *call) open(letters string) (code int, ok bool) {
	if !c.options(letters) || len(c.args) == 0 {
		return c.e.UsageError(c.usage), false
	}
	if err := c.openFolder(); err != nil {
		return c.fail(err), false
	}
	return tool.OK, true
}

func (c *call) options(letters string) (ok bool) {
	c.opts, c.args, ok = tool.GetOpt(c.e.Args[1:], letters)
	return ok
}

// on reports which of an option's two letters came last, or def without.
func (c *call) on(letter rune, def bool) bool {
	for _, o := range c.opts {
		if o.Name|0x20 == letter|0x20 {
			def = o.Name == letter
		}
	}
	return def
}

// value returns an option's argument.
func (c *call) value(letter rune) (value string, given bool) {
	for _, o := range c.opts {
		if o.Name == letter {
			value, given = o.Value, true
		}
	}
	return value, given
}

// systemDir is where lists look for settings and texts that they have not.
const systemDir = "/etc/ezmlm/default"

func (c *call) openFolder() (err error) {
	dir := c.args[0]
	c.args = c.args[1:]
	fsys, err := osfs.New(c.e.Path(dir))
	if err != nil {
		return &list.Error{Text: "unable to change directory to " + dir + ": " + tool.ErrText(err), Cause: err}
	}
	o := list.Options{FS: fsys, Dir: dir, Now: c.e.Time, Other: osfs.New, Wait: c.e.Sleep}
	if system, err := osfs.New(c.e.Getenv("POSTILION_ROOT") + systemDir); err == nil {
		o.System = system
	}
	c.list, err = list.Open(o)
	return err
}

// fail writes why, and returns the exit code that it calls for.
func (c *call) fail(err error) int {
	code := tool.Temporary
	if e, ok := errors.AsType[*list.Error](err); ok && e.Permanent {
		code = tool.Permanent
	}
	return c.e.Fatal(code, err)
}

// sender returns the envelope sender, below what forwarders put around it.
func (c *call) sender() (sender string, given bool) {
	s, ok := c.e.Lookup("SENDER")
	return list.RealSender(s), ok
}

// needSender is sender, where one there must be.
func (c *call) needSender() (sender string, err error) {
	s, ok := c.sender()
	if !ok {
		return "", &list.Error{Permanent: true, Text: "SENDER not set"}
	}
	return s, nil
}

// send is a list.Queue.
func (c *call) send(ctx context.Context, from string, to []string, content io.Reader) (string, error) {
	id, fail := c.queue(ctx, c.e, from, to, content)
	if fail == "" {
		return id, nil
	}
	if fail[0] == 'D' {
		return "", &list.Error{Permanent: true, Text: fail[1:]}
	}
	return "", &list.Error{Text: "temporary qmail-queue error: " + fail[1:]}
}

// queued notes what the queue calls a message.
func (c *call) queued(id string) { c.e.Info("qp ", id) }

// message returns descriptor 0 at its start.
func (c *call) message() (io.ReadSeeker, error) {
	m, err := c.e.Seekable()
	if err != nil {
		return nil, &list.Error{Text: "unable to read input: " + tool.ErrText(err), Cause: err}
	}
	return m, nil
}

// table returns a set of addresses.
func (c *call) table(name string) (*list.Table, error) { return c.list.Table(name) }

// inAny reports whether the address is in one of the tables.
func (c *call) inAny(names []string, address string) (bool, error) {
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		t, err := c.table(name)
		if err != nil {
			return false, err
		}
		if found, err := t.FindSender(address); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// isTable reports whether an argument names a table rather than an address.
func isTable(arg string) bool { return !strings.Contains(arg, "@") || strings.HasPrefix(arg, "/") }

// itself runs another program of the family on the same message and returns its exit code.
func (c *call) itself(run func(*call) int, name string, args ...string) int {
	e := *c.e
	e.Args = append([]string{name}, args...)
	return run(&call{ctx: c.ctx, e: &e, queue: c.queue})
}

// passOn returns the options among letters that were given, to give to another program.
func (c *call) passOn(letters string) (args []string) {
	for _, o := range c.opts {
		if strings.ContainsRune(letters, o.Name) {
			args = append(args, "-"+string(o.Name))
		}
	}
	return slices.Compact(args)
}
