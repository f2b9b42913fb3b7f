// Package serial holds serialmail's programs, which send the messages of a Maildir to one host
// over one connection: maildirserial, its clients serialsmtp and serialqmtp, and maildirsmtp and
// maildirqmtp, which are both at once (qmail reference 16).
//
// A message is removed once the other side has taken it. A connection that breaks leaves
// everything it has not answered for the next run.
package serial

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/tools/box"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Controls reads a control file's line; missing ones are the default of the name (qmail
// reference 2.2).
type Controls func(ctx context.Context, e *tool.Env, name string) (string, error)

// Programs returns the family's entries.
func Programs(q tool.Queue, c Controls) []tool.Program {
	s := suite{queue: q, controls: c}
	return []tool.Program{
		{Name: "maildirserial", Short: "send a Maildir's messages through a client", Run: s.maildirserial},
		{Name: "maildirsmtp", Short: "send a Maildir's messages to a host over SMTP", Run: s.maildirsmtp},
		{Name: "maildirqmtp", Short: "send a Maildir's messages to a host over QMTP", Run: s.maildirqmtp},
		{Name: "serialsmtp", Short: "send messages over SMTP on descriptors 6 and 7", Run: serialsmtp},
		{Name: "serialqmtp", Short: "send messages over QMTP on descriptors 6 and 7", Run: serialqmtp},
	}
}

type suite struct {
	queue    tool.Queue
	controls Controls
}

// client sends the messages named on in, each name ended by a NUL, and reports on out. Its exit
// code 100 ends the run.
type client func(ctx context.Context, e *tool.Env, in io.Reader, out io.Writer) (code int, crashed bool)

// run is one run of maildirserial.
type run struct {
	suite
	e        *tool.Env // its Dir is the Maildir
	prefix   string
	client   client
	bounce   bool
	lifetime time.Duration // 0: for ever

	dead map[string]bool // messages that stay
}

func (s suite) maildirserial(ctx context.Context, e *tool.Env) int {
	const usage = "[ -b ] [ -t lifetime ] dir prefix client [ arg ... ]"
	opts, rest, ok := tool.GetOpt(e.Args[1:], "bt:")
	if !ok || len(rest) < 3 {
		return e.UsageError(usage)
	}
	r := &run{suite: s, prefix: rest[1], client: command(rest[2:])}
	for _, o := range opts {
		switch o.Name {
		case 'b':
			r.bounce = true
		case 't':
			n, _ := tool.ScanUint(o.Value)
			r.lifetime = time.Duration(min(n, 1<<31)) * time.Second
		}
	}
	return r.run(ctx, e, rest[0])
}

// twoWeeks is how long maildirsmtp and maildirqmtp try.
const twoWeeks = 14 * 24 * time.Hour

func (s suite) maildirsmtp(ctx context.Context, e *tool.Env) int {
	if len(e.Args) != 5 {
		return e.UsageError("dir prefix host helohost")
	}
	r := &run{suite: s, prefix: e.Args[2], bounce: true, lifetime: twoWeeks}
	r.client = dialled(e.Args[3], "25", "serialsmtp", func(c *tool.Env, l *link, in io.Reader, out io.Writer) int {
		return sendSMTP(c, l, e.Args[2], e.Args[4], in, out)
	})
	return r.run(ctx, e, e.Args[1])
}

func (s suite) maildirqmtp(ctx context.Context, e *tool.Env) int {
	if len(e.Args) != 4 {
		return e.UsageError("dir prefix host")
	}
	r := &run{suite: s, prefix: e.Args[2], bounce: true, lifetime: twoWeeks}
	r.client = dialled(e.Args[3], "209", "serialqmtp", func(c *tool.Env, l *link, in io.Reader, out io.Writer) int {
		return sendQMTP(c, l, e.Args[2], in, out)
	})
	return r.run(ctx, e, e.Args[1])
}

// command runs an external client.
func command(argv []string) client {
	return func(ctx context.Context, e *tool.Env, in io.Reader, out io.Writer) (int, bool) {
		c, err := e.Command(ctx, argv)
		if err == nil {
			c.Stdin, c.Stdout = in, out
			err = c.Start()
		}
		if err != nil {
			return e.Fatal(tool.Temporary, "unable to run ", argv[0], ": ", err), false
		}
		return tool.ExitCode(c.Wait())
	}
}

// run sends round by round until nothing is left that a client could take.
func (r *run) run(ctx context.Context, e *tool.Env, dir string) int {
	in := *e
	in.Dir = e.Path(dir)
	if st, err := os.Stat(in.Dir); err != nil {
		return e.Fatal(tool.Temporary, "unable to chdir to ", dir, ": ", err)
	} else if !st.IsDir() {
		return e.Fatal(tool.Temporary, "unable to chdir to ", dir, ": ", error(syscall.ENOTDIR))
	}
	r.e, r.dead = &in, map[string]bool{}
	for idle := 0; idle < 3; idle++ {
		names, code := r.scan()
		if code != tool.OK {
			return code
		}
		if len(names) == 0 {
			if len(r.dead) > 0 {
				return tool.Temporary
			}
			return tool.OK
		}
		results, code := r.round(ctx, names)
		if code != tool.OK {
			return code
		}
		if results > 0 {
			idle = -1
		}
	}
	return e.Fatal(tool.Temporary, "making no progress, giving up")
}

// scan returns the messages that are to be sent, the oldest first.
func (r *run) scan() ([]string, int) {
	box.Clean(r.e.Dir, r.e.Time())
	list, err := box.Scan(r.e.Dir, r.e.Time(), "new", "cur")
	if err != nil {
		return nil, r.e.Fatal(tool.Temporary, "unable to scan $MAILDIR: ", err)
	}
	var names []string
	for _, m := range list {
		if r.dead[m.Name] || !r.fits(m.Name) {
			continue
		}
		names = append(names, m.Name)
	}
	return names, tool.OK
}

// fits says whether a message's recipient begins with the prefix.
func (r *run) fits(name string) bool {
	if r.prefix == "" {
		return true
	}
	f, err := os.Open(r.e.Path(name))
	if err != nil {
		r.e.Warn("unable to open ", name, ": ", err)
		return false
	}
	defer f.Close()
	h, err := readHead(bufio.NewReader(f))
	if err != nil && !errors.Is(err, errFormat) {
		r.e.Warn("unable to read ", name, ": ", err)
	}
	return err == nil && strings.HasPrefix(h.recipient, r.prefix)
}

// round runs the client over the names and obeys its reports. It returns how many there were.
func (r *run) round(ctx context.Context, names []string) (results int, code int) {
	in := strings.NewReader(strings.Join(names, "\x00") + "\x00")
	pr, pw := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var crashed bool
	wg.Go(func() {
		code, crashed = r.client(ctx, r.e, in, pw)
		pw.Close()
	})
	results, err := r.reports(ctx, pr, names)
	pr.Close()
	wg.Wait()
	switch {
	case err != nil:
		return results, r.e.Fatal(tool.Temporary, "unable to read from client: ", err)
	case crashed:
		return results, r.e.Fatal(tool.Temporary, "client crashed")
	case code == tool.Permanent:
		return results, tool.Permanent // the client has said why
	}
	return results, tool.OK
}

// maxReport bounds a client's report, in bytes; what is longer is cut.
const maxReport = 4096

// reports reads FILE NUL, K, Z or D, and a line of text.
func (r *run) reports(ctx context.Context, from io.Reader, names []string) (n int, err error) {
	in := bufio.NewReaderSize(from, maxReport)
	for {
		name, err := in.ReadString(0)
		if err == io.EOF {
			return n, nil // a report that is cut short is none
		}
		if err != nil {
			return n, err
		}
		status, err := in.ReadByte()
		if err != nil {
			return n, ignoreEOF(err)
		}
		text, err := in.ReadString('\n')
		if err != nil {
			return n, ignoreEOF(err)
		}
		n++
		name = strings.TrimSuffix(name, "\x00")
		if !slices.Contains(names, name) { // a client's word removes nothing that it was not given
			r.e.Warn("client reports on ", name, ", which it was not given")
			continue
		}
		text = tool.Printable(strings.TrimSuffix(text, "\n"))
		r.report(ctx, name, status, text[:min(len(text), maxReport)])
	}
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// report obeys one report.
func (r *run) report(ctx context.Context, name string, status byte, text string) {
	if status == 'K' {
		r.e.Info(name, " succeeded: ", text)
		if err := os.Remove(r.e.Path(name)); err != nil {
			r.e.Warn("message will be delivered twice! unable to unlink ", name, ": ", err)
			r.dead[name] = true
		}
		return
	}
	old := false
	if r.lifetime > 0 && status != 'D' {
		st, err := os.Stat(r.e.Path(name))
		if err != nil {
			r.e.Warn("assuming message is still alive; unable to stat ", name, ": ", err)
		} else if r.e.Time().Sub(st.ModTime()) > r.lifetime {
			status, old = 'D', true
		}
	}
	switch {
	case status == 'D' && r.bounce:
		r.e.Info(name, " bounced: ", text)
		if r.giveUp(ctx, name, text, old) {
			return
		}
	case status == 'D':
		r.e.Info(name, " failed: ", text)
	default:
		r.e.Info(name, " failed temporarily: ", text)
	}
	r.dead[name] = true
}

// giveUp bounces a message and removes it; false means that it stays.
func (r *run) giveUp(ctx context.Context, name, why string, old bool) bool {
	f, err := os.Open(r.e.Path(name))
	if err != nil {
		r.e.Warn("unable to read ", name, ": ", err)
		return false
	}
	defer f.Close()
	qp, err := r.returnToSender(ctx, f, why, old)
	switch {
	case errors.Is(err, errTriple):
		r.e.Info("discarding ", name, ": triple bounce")
	case errors.Is(err, errFormat):
		r.e.Warn("unable to bounce ", name, ": bad file format")
		return false
	case err != nil:
		r.e.Warn("unable to bounce ", name, ": ", err)
		return false
	default:
		r.e.Info("returned ", name, ": qp ", qp)
	}
	if err := os.Remove(r.e.Path(name)); err != nil {
		r.e.Warn("message has been bounced but not removed! unable to unlink ", name, ": ", err)
		return false
	}
	return true
}

var (
	errFormat = errors.New("the file does not begin with Return-Path and Delivered-To lines")
	errTriple = errors.New("triple bounce")
)

// head is what a delivery wrote before a message.
type head struct {
	sender, recipient string
	size              int64 // bytes of the two lines
}

// maxHeadLine bounds the two lines, in bytes: an address has at most 1003.
const maxHeadLine = 4096

// readHead reads the two lines.
func readHead(r *bufio.Reader) (h head, err error) {
	line := func(before, after string) string {
		if err != nil {
			return ""
		}
		var b []byte
		b, err = r.ReadSlice('\n')
		if err == io.EOF || errors.Is(err, bufio.ErrBufferFull) || len(b) > maxHeadLine {
			err = errFormat
		}
		s := string(b)
		h.size += int64(len(s))
		rest, ok := strings.CutPrefix(s, before)
		rest, ok2 := strings.CutSuffix(rest, after)
		if err == nil && (!ok || !ok2 || strings.IndexByte(rest, 0) >= 0) {
			err = errFormat
		}
		return rest
	}
	h.sender = line("Return-Path: <", ">\n")
	h.recipient = line("Delivered-To: ", "\n")
	return h, err
}

// open opens a message and reads its head.
func open(e *tool.Env, name string) (*os.File, *bufio.Reader, head, error) {
	f, err := os.Open(e.Path(name))
	if err != nil {
		return nil, nil, head{}, err
	}
	r := bufio.NewReaderSize(f, 64<<10)
	h, err := readHead(r)
	if err != nil {
		f.Close()
		return nil, nil, head{}, err
	}
	return f, r, h, nil
}

// reporter writes a client's reports.
type reporter struct {
	out io.Writer
	ip  string
}

// write reports on a message: K, Z or D and a text of at most 2000 printable bytes.
func (p *reporter) write(name string, status byte, text string) error {
	b := []byte(string(status) + text)
	b = b[:min(len(b), 2000)]
	for i, c := range b {
		if c < 32 || c > 126 {
			b[i] = '?'
		}
	}
	_, err := fmt.Fprintf(p.out, "%s\x00%s\n", name, b)
	return err
}
