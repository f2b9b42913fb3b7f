package submit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/qq"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// This file gives a message to a program in place of the queue (QMAILQUEUE; qmail reference 5.4):
// content on its descriptor 0, envelope on 1, a text for refusals on 6. What the program wants
// to go on it hands to qmail-queue, which finds back here through the ticket in its environment; then its
// exit code 0 is as good as a commit. A program has its time and a bound on what it says. It is started when the whole message is here:
// no client keeps one waiting.

// Filters runs filters. Its fields are set before the first message; it is safe for concurrent use.
type Filters struct {
	Env        []string // of every filter: PATH, and where the local socket is
	Dir        string   // what relative names are relative to; "" is /var/qmail
	MaxRunning int      // at the same time; 0 means 100
	Spool      string   // folder for what is larger than 64 KiB, until all of it is here; "" is the system's for such files

	// Told is called for each filter that would have been run: none is then, since what it hands on may go elsewhere. nil runs them.
	Told func(command string)

	once   sync.Once
	places chan struct{} // has one for each that runs

	mu   sync.Mutex
	open map[string]*Source // by ticket
}

const (
	filterWait   = 30 * time.Second // for one of the places
	filterStderr = 1000             // bytes kept of what a filter says
	filterLinger = 2 * time.Second  // for its descriptors to close once it has ended
)

// filter returns the filter that a message is to pass; "" for none.
func (t *Transaction) filter() string {
	switch {
	case t.src.Filtered || !t.src.Client.IsValid():
		return ""
	case t.src.Grant != nil && t.src.Grant.Filter != "":
		return t.src.Grant.Filter
	}
	return t.s.o.Filter
}

// Filtering returns how long a filter may take for the message, with the wait for its place; 0 where none is asked.
func (t *Transaction) Filtering() time.Duration {
	if t.filter() == "" {
		return 0
	}
	return filterWait + t.filterTime()
}

// filterTime is how long a filter may run.
func (t *Transaction) filterTime() time.Duration {
	return cmp.Or(max(t.s.o.FilterTime, 0), 5*time.Minute)
}

// beginDraft starts the queue's draft, or one for a filter.
func (t *Transaction) beginDraft(ctx context.Context) (queue.Draft, error) {
	command := t.filter()
	if command == "" {
		return t.s.d.Queue.Begin(ctx, &t.env)
	}
	f := t.s.d.Filters
	if f == nil {
		return nil, reason.FilterFailed.With("filters cannot be run here")
	}
	if f.Told != nil {
		f.Told(command)
		return t.s.d.Queue.Begin(ctx, &t.env)
	}
	return f.begin(command, t.filterTime(), t.src, &t.env)
}

// enter waits for a place.
func (f *Filters) enter(ctx context.Context) error {
	f.once.Do(func() { f.places = make(chan struct{}, cmp.Or(f.MaxRunning, 100)) })
	timer := time.NewTimer(filterWait)
	defer timer.Stop()
	select {
	case f.places <- struct{}{}:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return reason.FilterFailed.With("too many filters are running")
}

// leave gives a place back.
func (f *Filters) leave() { <-f.places }

// issue makes the ticket of a message.
func (f *Filters) issue(src *Source, message id.ID) (ticket string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := *src
	own.ID = message
	ticket = rand.Text()
	if f.open == nil {
		f.open = map[string]*Source{}
	}
	f.open[ticket] = &own
	return ticket
}

// end makes a ticket worthless.
func (f *Filters) end(ticket string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, ticket)
}

// Ticket returns who handed in the message that a filter was given, for what it hands on: not to be
// filtered again. The first message keeps its id.
func (s *Submitter) Ticket(ticket string) (*Source, bool) {
	f := s.d.Filters
	if f == nil {
		return nil, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.open[ticket]
	if known == nil {
		return nil, false
	}
	src := *known
	known.ID = id.ID{}
	// Sender and recipients were judged when they came. What they are now, the operator's program
	// answers for: trouble with them is bounced.
	src.Local, src.Late, src.Complete, src.Grant, src.AccountID = true, true, false, nil, 0
	src.Filtered, src.Invoked = true, "from network"
	return &src, true
}

// filtering is a message on its way through a filter: a queue.Draft.
type filtering struct {
	f     *Filters
	src   *Source
	env   *mail.Envelope
	args  []string
	limit time.Duration
	body  spool
	ended bool
}

// filterRun is a filter at work.
type filterRun struct {
	limit    time.Duration
	cmd      *exec.Cmd
	content  *os.File // the program's descriptor 0
	envelope *os.File // its descriptor 1
	custom   chan string
	said     *head
}

var _ queue.Draft = (*filtering)(nil)

// begin takes a message for a filter.
func (f *Filters) begin(command string, limit time.Duration, src *Source, env *mail.Envelope) (queue.Draft, error) {
	args := strings.Fields(command)
	if len(args) == 0 {
		return nil, reason.FilterFailed.With("the filter has no name")
	}
	if !filepath.IsAbs(args[0]) {
		dir := cmp.Or(f.Dir, "/var/qmail")
		args[0] = filepath.Join(dir, args[0])
	}
	if err := unix.Access(args[0], unix.X_OK); err != nil { // told before the message is sent in vain
		return nil, noProgram(&os.PathError{Op: "run", Path: args[0], Err: err})
	}
	return &filtering{f: f, src: src, env: env, args: args, limit: limit, body: spool{dir: f.Spool}}, nil
}

func noProgram(err error) error {
	return reason.FilterFailed.With(trimCode(qq.Text(qq.NoProgram, ""))).Because(err)
}

// clientEnv is what a filter is told of the client, as tcpserver does (qmail reference 4.1).
func clientEnv(src *Source) []string {
	env := []string{"PROTO=TCP", "TCPREMOTEIP=" + src.Client.Unmap().String()}
	for name, value := range map[string]string{"TCPREMOTEHOST": src.RemoteHost, "TCPREMOTEINFO": src.RemoteInfo, "POSTILION_HELO": src.HELO, "POSTILION_ACCOUNT": src.Account} {
		if value != "" {
			env = append(env, name+"="+smtp.Text(value, 1000))
		}
	}
	if src.Grant != nil {
		env = append(env, src.Grant.Env...)
	}
	return env
}

// start starts the program with its pipes.
func (d *filterRun) start(args, env []string) error {
	var all []*os.File
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			all = append(all, r, w)
		}
		return r, w, err
	}
	in, content, err := pipe()
	var list, envelope, custom, told *os.File
	if err == nil {
		list, envelope, err = pipe()
	}
	if err == nil {
		custom, told, err = pipe()
	}
	if err == nil {
		d.cmd = &exec.Cmd{Path: args[0], Args: args, Env: env, Dir: "/", Stdin: in, Stdout: list, Stderr: d.said,
			ExtraFiles: []*os.File{nil, nil, nil, told}, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, WaitDelay: filterLinger}
		err = d.cmd.Start()
	}
	if err != nil {
		for _, f := range all {
			f.Close()
		}
		return err
	}
	for _, f := range []*os.File{in, list, told} {
		f.Close()
	}
	d.content, d.envelope = content, envelope
	go func() {
		p, _ := io.ReadAll(io.LimitReader(custom, qq.MaxCustom+1))
		custom.Close() // a program that says more gets EPIPE
		d.custom <- string(p)
	}()
	return nil
}

// Write implements queue.Draft.
func (d *filtering) Write(p []byte) (int, error) {
	n, err := d.body.Write(p)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return n, reason.DiskFull.Because(err)
	case err != nil:
		return n, reason.LocalError.Because(err)
	}
	return n, nil
}

// Abort implements queue.Draft.
func (d *filtering) Abort() {
	d.ended = true
	d.body.close()
}

// Commit implements queue.Draft: the filter has answered for the message.
func (d *filtering) Commit(ctx context.Context) error {
	if d.ended {
		return reason.FilterFailed.With("the filter was ended")
	}
	defer d.Abort()
	if err := d.f.enter(ctx); err != nil {
		return err
	}
	defer d.f.leave()
	ticket := d.f.issue(d.src, d.env.ID)
	defer d.f.end(ticket)
	r := &filterRun{limit: d.limit, custom: make(chan string, 1), said: new(head)}
	if err := r.start(d.args, slices.Concat(clientEnv(d.src), d.f.Env, []string{inject.TicketVariable + "=" + ticket})); err != nil {
		return noProgram(err)
	}
	defer r.abort()
	return r.pass(&d.body, d.env)
}

// pass gives the program content and envelope, and returns its verdict.
func (d *filterRun) pass(content io.WriterTo, env *mail.Envelope) error {
	end := time.Now().Add(d.limit)
	d.content.SetWriteDeadline(end)
	switch _, err := content.WriteTo(d.content); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reason.FilterFailed.With(trimCode(qq.Text(qq.Timeout, "")))
	case err != nil && !errors.Is(err, syscall.EPIPE): // one that does not read on has decided already
		return reason.LocalError.Because(err)
	}
	d.content.Close()
	list := qq.AppendEnvelope(nil, env.From.String())
	for i := range env.Recipients {
		if env.Recipients[i].Refused == nil {
			list = qq.AppendRecipient(list, env.Recipients[i].To.String())
		}
	}
	d.envelope.SetWriteDeadline(end)
	_, err := d.envelope.Write(append(list, 0))
	d.envelope.Close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return reason.FilterFailed.With(trimCode(qq.Text(qq.Timeout, "")))
	}
	return d.verdict(d.wait())
}

// wait returns the exit code, -1 for a death by signal, qq.Timeout when the time has passed.
func (d *filterRun) wait() int {
	timedOut := make(chan struct{})
	timer := time.AfterFunc(d.limit, func() {
		close(timedOut)
		d.kill()
	})
	_ = d.cmd.Wait() // its exit code says it
	if !timer.Stop() {
		<-timedOut
		// One that had ended by itself left something behind that held its descriptors.
		if d.cmd.ProcessState == nil || !d.cmd.ProcessState.Exited() {
			return qq.Timeout
		}
	}
	if d.cmd.ProcessState == nil {
		return qq.Bug
	}
	return d.cmd.ProcessState.ExitCode()
}

// verdict maps an exit code (qmail reference 5.3).
func (d *filterRun) verdict(exit int) error {
	if exit == qq.OK {
		return nil
	}
	custom := ""
	select {
	case custom = <-d.custom:
	case <-time.After(filterLinger): // something it left behind holds the descriptor
	}
	text := qq.Text(exit, custom)
	words, status := cutCode(text[1:])
	words = smtp.Text(words, 300)
	said := smtp.Text(text[1:], 300) // as qmail-smtpd would answer it
	e := reason.FilterFailed.With(words, said)
	if text[0] == 'D' {
		e = reason.FilterRefused.With(words, said)
	}
	if status != "" && (status[0] == '5') == (e.Class == reason.Permanent) {
		e.Enhanced = status
	}
	return e.Because(fmt.Errorf("filter %s: exit %d: %s", d.cmd.Path, exit, smtp.Text(d.said.String(), filterStderr)))
}

// cutCode splits "text (#5.3.0)" as qmail's texts end.
func cutCode(s string) (text, status string) {
	text, rest, ok := strings.Cut(s, " (#")
	if status = strings.TrimSuffix(rest, ")"); !ok || !strings.HasSuffix(rest, ")") || len(status) != len("5.3.0") {
		return s, ""
	}
	return text, status
}

// trimCode is a text of qq without its letter and code.
func trimCode(s string) string {
	text, _ := cutCode(s[1:])
	return text
}

func (d *filterRun) kill() { _ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) }

// abort ends a program that has not ended: its envelope has no NUL.
func (d *filterRun) abort() {
	d.content.Close()
	d.envelope.Close()
	if d.cmd.ProcessState == nil {
		d.kill()
		go d.cmd.Wait()
	}
}

// head keeps the beginning of what a program says.
type head struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b.Write(p[:min(len(p), filterStderr-h.b.Len())])
	return len(p), nil
}

// String returns what was kept.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}
