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
	"strings"
	"sync"
	"syscall"
	"time"

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
// exit code 0 is as good as a commit. A program has its time and a bound on what it says.

// Filters runs filters. Its fields are set before the first message; it is safe for concurrent use.
type Filters struct {
	Env        []string // of every filter: PATH, and where the local socket is
	Dir        string   // what relative names are relative to; "" is /var/qmail
	MaxRunning int      // at the same time; 0 means 100

	mu      sync.Mutex
	running int
	open    map[string]*Source // by ticket
}

const (
	filterStderr = 1000            // bytes kept of what a filter says
	filterLinger = 2 * time.Second // for its descriptors to close once it has ended
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

// Filtering returns how long a filter may take for the message; 0 where none is asked.
func (t *Transaction) Filtering() time.Duration {
	if t.filter() == "" {
		return 0
	}
	return cmp.Or(max(t.s.o.FilterTime, 0), 5*time.Minute)
}

// beginDraft starts the queue's draft, or a filter.
func (t *Transaction) beginDraft(ctx context.Context) (queue.Draft, error) {
	command := t.filter()
	if command == "" {
		return t.s.d.Queue.Begin(ctx, &t.env)
	}
	f := t.s.d.Filters
	if f == nil {
		return nil, reason.FilterFailed.With("filters cannot be run here")
	}
	return f.start(command, t.Filtering(), t.src, &t.env)
}

// issue makes the ticket of a message.
func (f *Filters) issue(src *Source, message id.ID) (ticket string, err error) {
	most := cmp.Or(f.MaxRunning, 100)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running >= most {
		return "", reason.FilterFailed.With("too many filters are running")
	}
	f.running++
	own := *src
	own.ID = message
	ticket = rand.Text()
	if f.open == nil {
		f.open = map[string]*Source{}
	}
	f.open[ticket] = &own
	return ticket, nil
}

// end makes a ticket worthless.
func (f *Filters) end(ticket string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[ticket] != nil {
		f.running--
		delete(f.open, ticket)
	}
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
	f        *Filters
	env      *mail.Envelope
	ticket   string
	limit    time.Duration
	cmd      *exec.Cmd
	content  *os.File // the program's descriptor 0
	envelope *os.File // its descriptor 1
	custom   chan string
	said     *head
	ended    bool
}

var _ queue.Draft = (*filtering)(nil)

// start runs a filter.
func (f *Filters) start(command string, limit time.Duration, src *Source, env *mail.Envelope) (d *filtering, err error) {
	args := strings.Fields(command)
	if len(args) == 0 {
		return nil, reason.FilterFailed.With("the filter has no name")
	}
	if !filepath.IsAbs(args[0]) {
		dir := cmp.Or(f.Dir, "/var/qmail")
		args[0] = filepath.Join(dir, args[0])
	}
	ticket, err := f.issue(src, env.ID)
	if err != nil {
		return nil, err
	}
	d = &filtering{f: f, env: env, ticket: ticket, limit: limit, custom: make(chan string, 1), said: new(head)}
	if err := d.run(args, append(clientEnv(src), append(f.Env, inject.TicketVariable+"="+ticket)...)); err != nil {
		f.end(ticket)
		return nil, reason.FilterFailed.With(trimCode(qq.Text(qq.NoProgram, ""))).Because(err)
	}
	return d, nil
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

// run starts the program with its pipes.
func (d *filtering) run(args, env []string) error {
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

// Write implements queue.Draft. A filter that does not read on has decided already.
func (d *filtering) Write(p []byte) (int, error) {
	d.content.SetWriteDeadline(time.Now().Add(d.limit))
	switch _, err := d.content.Write(p); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.Abort()
		return 0, reason.FilterFailed.With(trimCode(qq.Text(qq.Timeout, "")))
	}
	return len(p), nil
}

// Commit implements queue.Draft: the filter has answered for the message.
func (d *filtering) Commit(context.Context) error {
	if d.ended {
		return reason.FilterFailed.With("the filter was ended")
	}
	defer d.Abort()
	d.content.Close()
	list := qq.AppendEnvelope(nil, d.env.From.String())
	for i := range d.env.Recipients {
		if d.env.Recipients[i].Refused == nil {
			list = qq.AppendRecipient(list, d.env.Recipients[i].To.String())
		}
	}
	d.envelope.SetWriteDeadline(time.Now().Add(d.limit))
	_, err := d.envelope.Write(append(list, 0))
	d.envelope.Close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return reason.FilterFailed.With(trimCode(qq.Text(qq.Timeout, "")))
	}
	return d.verdict(d.wait())
}

// wait returns the exit code, -1 for a death by signal, qq.Timeout when the time has passed.
func (d *filtering) wait() int {
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
func (d *filtering) verdict(exit int) error {
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

func (d *filtering) kill() { _ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) }

// Abort implements queue.Draft: the envelope ends without its NUL, and so does the program.
func (d *filtering) Abort() {
	if d.ended {
		return
	}
	d.ended = true
	d.f.end(d.ticket)
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
