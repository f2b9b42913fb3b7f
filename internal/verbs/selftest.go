package verbs

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// Result is one case of Selftest.
type Result struct {
	Case string `json:"case"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// selftestWait bounds how long a case waits for its message.
const selftestWait = 20 * time.Second

// selftest is a run of the cases with an account of its own.
type selftest struct {
	cfg     *config.Config
	stores  *Stores
	queue   *Queue
	account *directory.Account
	results []Result
}

// Selftest sends messages through the running server as qmail's TEST.deliver and
// TEST.receive ask: into a mailbox here, to nobody here, with a sender that does not exist
// either, and over SMTP. It makes an account for this, and removes it and its mail again. A role that is not up, or does not
// answer any more, ends it: the error names that role.
func Selftest(ctx context.Context, c *config.Config) ([]Result, error) {
	running, err := datafolder.Running(ctx, c.Data)
	if err != nil {
		return nil, err
	}
	if !running {
		return nil, fmt.Errorf("%w: %s", control.ErrNotRunning, c.Data)
	}
	if err := allUp(ctx, c.Data); err != nil {
		return nil, err
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	var watches sync.WaitGroup
	defer watches.Wait()
	defer giveUp(nil)
	for _, r := range role.All() {
		watches.Go(func() {
			keepAsking(ctx, giveUp, r, func(ctx context.Context) error { return rolecall.Alive(ctx, c.Data, r.AdminSocket()) })
		})
	}
	t := &selftest{cfg: c}
	if err = t.run(ctx); rolecall.IsHung(context.Cause(ctx)) {
		err = context.Cause(ctx)
	}
	return t.results, err
}

// allUp tells of the roles that are not at work: a case would wait for what nobody does.
func allUp(ctx context.Context, data string) error {
	s, err := status(ctx, data)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range s.Roles {
		switch r.State {
		case "stopped", "paused":
			errs = append(errs, fmt.Errorf("role %[1]s is %[2]s: `postilion continue %[1]s` sets it to work again", r.Name, r.State))
		case "down", "flapping":
			errs = append(errs, fmt.Errorf("role %[1]s is %[2]s: `postilion status` tells how it ended last, the log why", r.Name, r.State))
		}
	}
	return errors.Join(errs...)
}

// status asks the running server how it is.
func status(ctx context.Context, data string) (control.Status, error) {
	cl := control.Client(data, control.Supervisor)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, rolecall.Patience)
	defer cancel()
	return rpc.Do[none, control.Status](ctx, cl, control.MethodStatus, none{})
}

// keepAsking asks a role whether it answers until ctx ends, and gives up with its name when it does not any more.
func keepAsking(ctx context.Context, giveUp context.CancelCauseFunc, r role.Role, ask func(context.Context) error) {
	for ctx.Err() == nil {
		if err := rolecall.StillAnswers(ctx, r, ask); err != nil && ctx.Err() == nil {
			giveUp(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(askEvery):
		}
	}
}

// askEvery is the time between two questions.
const askEvery = 2 * time.Second

func (t *selftest) run(ctx context.Context) (err error) {
	if t.stores, err = OpenStores(ctx, t.cfg.Data); err != nil {
		return err
	}
	defer t.stores.Close()
	if t.queue, err = OpenQueue(ctx, t.cfg.Data); err != nil {
		return err
	}
	defer t.queue.Close()
	if err := t.makeAccount(ctx); err != nil {
		return err
	}
	defer t.clear(ctx)
	t.deliver(ctx)
	t.receive(ctx)
	return nil
}

// selftestQuota is what the account gets in a domain where each needs a quota, in bytes.
const selftestQuota = 1 << 20

func (t *selftest) makeAccount(ctx context.Context) error {
	domains, err := t.stores.Directory.Domains(ctx)
	if err != nil {
		return err
	}
	var full error // of a domain that may hold no more
	for _, d := range domains {
		if d.AliasOf != "" || d.Disabled || d.CatchAll != "" {
			continue
		}
		local := "selftest-" + strings.ToLower(id.Source{}.New().String())
		t.account = &directory.Account{Address: mail.Address{Local: local, Domain: d.Name}}
		if d.QuotaBytes > 0 {
			t.account.QuotaBytes = min(d.QuotaBytes, selftestQuota)
		}
		err := t.stores.Directory.PutAccount(ctx, t.account, true)
		if _, limited := errors.AsType[*directory.InvalidError](err); !limited {
			return err
		}
		full = err
	}
	if full != nil {
		return full
	}
	return errors.New("no domain without a catch-all to test with; add one with `postilion domain add`")
}

// clearWait bounds how long a test clears up, however it ended.
const clearWait = 10 * time.Second

// clear takes back what a test has made: of a case that failed, such as a relay that should have been refused,
// the message may still wait in the queue. A role that the test was given up for is not waited for.
func (t *selftest) clear(ctx context.Context) {
	hung, _ := errors.AsType[rolecall.Hung](context.Cause(ctx))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearWait)
	defer cancel()
	me := t.account.Address.String()
	if hung.Role != role.Queue {
		for _, f := range []dispatch.Filter{{From: me}, {To: me}} {
			_, _ = t.queue.Act(ctx, f, dispatch.Action{Verb: dispatch.Delete}, func(int) {})
		}
	}
	// What is left of a test that was interrupted is an account without a password.
	if hung.Role != role.Directory && hung.Role != role.Auth {
		_ = t.stores.Directory.RemoveAccount(ctx, t.account.Address)
	}
	box := filepath.Join(t.cfg.Data, "mail", filepath.FromSlash(t.account.Mailbox))
	_ = os.RemoveAll(box)
	_ = os.Remove(filepath.Dir(box)) // the account's folder, when nothing else is in it
}

func (t *selftest) add(name string, err error, good string) {
	r := Result{Case: name, OK: err == nil, Text: good}
	if err != nil {
		r.Text = err.Error()
	}
	t.results = append(t.results, r)
}

func (t *selftest) nobody() mail.Address {
	return mail.Address{Local: "nobody-" + t.account.Address.Local, Domain: t.account.Address.Domain}
}

// deliver puts messages into the queue directly, as local programs do (TEST.deliver).
func (t *selftest) deliver(ctx context.Context) {
	me := t.account.Address
	mark, err := t.enqueue(ctx, me, me)
	if err == nil {
		err = t.arrives(ctx, mark)
	}
	t.add("local-local", err, "delivered into the mailbox of "+me.String())
	mark, err = t.enqueue(ctx, me, t.nobody())
	if err == nil {
		err = t.arrives(ctx, mark)
	}
	t.add("local-error", err, "bounced to the sender")
	mark, err = t.enqueue(ctx, mail.Address{}, me)
	if err == nil {
		err = t.arrives(ctx, mark)
	}
	t.add("bounce to a mailbox", err, "delivered")
	if err = t.postmaster(ctx); err == nil {
		_, err = t.enqueue(ctx, t.nobody(), t.nobody())
	}
	t.add("double bounce", err, "handed to the postmaster of this host")
}

// postmaster tells when nobody would get what bounces twice: it would wait in the queue.
func (t *selftest) postmaster(ctx context.Context) error {
	own := new(netx.OwnAddrs)
	router, err := route.New(t.cfg.Route, t.stores.Directory, own.Contains)
	if err != nil {
		return err
	}
	to := mail.Address{Local: cmp.Or(t.cfg.Bounce.DoubleTo, "postmaster"), Domain: cmp.Or(t.cfg.Bounce.DoubleHost, t.cfg.Host)}
	r, err := router.Route(ctx, to)
	if err == nil && r.Kind == route.Refused {
		err = fmt.Errorf("%s; make that account, or an alias of that name", r.Err.Text(reason.English))
	}
	return err
}

// receive hands messages in over SMTP (TEST.receive).
func (t *selftest) receive(ctx context.Context) {
	addr, err := t.smtpAddr(ctx)
	if err != nil {
		t.add("SMTP service", err, "")
		return
	}
	mark := newMark()
	err = t.send(ctx, addr, t.account.Address.String(), mark)
	if err == nil {
		err = t.arrives(ctx, mark)
	}
	t.add("SMTP to a mailbox", err, "delivered")
	for name, to := range map[string]string{"SMTP to an unknown mailbox": t.nobody().String(), "SMTP to another host": "nobody@selftest.invalid"} {
		err := t.send(ctx, addr, to, newMark())
		switch {
		case err == nil:
			err = errors.New("it was accepted")
			if name == "SMTP to another host" {
				err = errors.New("it was accepted: this host relays for " + addr)
			}
		case strings.HasPrefix(err.Error(), "5"):
			t.add(name, nil, "refused: "+err.Error())
			continue
		}
		t.add(name, err, "")
	}
}

// smtpAddr is where the running server takes mail from other hosts.
func (t *selftest) smtpAddr(ctx context.Context) (string, error) {
	s, err := status(ctx, t.cfg.Data)
	if err != nil {
		return "", err
	}
	for _, l := range s.Listeners {
		if l.Name == "smtp" {
			host, port, err := net.SplitHostPort(l.Addr)
			if err == nil && net.ParseIP(host).IsUnspecified() {
				host = "127.0.0.1"
			}
			return net.JoinHostPort(host, port), err
		}
	}
	return "", errors.New("the smtp service is off")
}

func newMark() string { return "selftest " + id.Source{}.New().String() }

func message(from, to, mark string) []byte {
	return fmt.Appendf(nil, "From: <%s>\nTo: <%s>\nSubject: %s\n\nA message of `postilion selftest`.\n", from, to, mark)
}

func (t *selftest) enqueue(ctx context.Context, from, to mail.Address) (mark string, err error) {
	mark = newMark()
	body := message(from.String(), to.String(), mark)
	env := &mail.Envelope{ID: id.Source{}.New(), Accepted: time.Now().UTC(), From: from, Recipients: []mail.Recipient{{To: to}},
		Protocol: "LOCAL", Size: int64(len(body)), CRLFSize: int64(len(body) + bytes.Count(body, []byte("\n")))}
	cl := adminClient(t.cfg.Data, role.Queue)
	defer cl.Close()
	d, err := seam.Enqueuer{Client: cl}.Begin(ctx, env)
	if err != nil {
		return mark, err
	}
	defer d.Abort()
	if _, err := d.Write(body); err != nil {
		return mark, err
	}
	return mark, d.Commit(ctx)
}

// send hands a message in, within selftestWait.
func (t *selftest) send(ctx context.Context, addr, to, mark string) error {
	ctx, cancel := context.WithTimeout(ctx, selftestWait)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(nc, host)
	if err != nil {
		return err
	}
	defer c.Close()
	from := t.account.Address.String()
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(bytes.ReplaceAll(message(from, to, mark), []byte("\n"), []byte("\r\n"))); err != nil {
		return err
	}
	return errors.Join(w.Close(), c.Quit())
}

// arrives waits until a message that holds the mark is in the account's mailbox.
func (t *selftest) arrives(ctx context.Context, mark string) error {
	dir := filepath.Join(t.cfg.Data, "mail", filepath.FromSlash(t.account.Mailbox), "new")
	end := time.Now().Add(selftestWait)
	for time.Now().Before(end) {
		names, _ := filepath.Glob(filepath.Join(dir, "*")) // the pattern is right
		for _, name := range names {
			if found, err := holds(name, mark); err == nil && found {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("it did not arrive within %s; see `postilion queue list` and the log", selftestWait)
}

func holds(name, mark string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.Contains(lines.Text(), mark) {
			return true, nil
		}
	}
	return false, lines.Err()
}
