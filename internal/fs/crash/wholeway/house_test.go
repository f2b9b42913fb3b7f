package wholeway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/intake/smtpd"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/queue/queuetest"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
)

// fact is what somebody outside of the house saw, who does not forget with the power.
type fact struct {
	what string // accepted, ran, far
	key  string // of the parcel
	copy id.ID  // of far: the message
}

// house is a server on one disk: queue/, mail/ with ann's Maildir, home/ of the system's user joe.
type house struct {
	files    fs.FS
	clock    clock.Clock
	tell     func(fact)
	remote   func(job *deliver.Job, r deliver.Recipient) *reason.Error // nil takes all
	store    *pebblestore.Store
	dispatch *dispatch.Dispatcher
	smtp     *smtpd.Server
	end      context.CancelFunc
	ended    chan error
}

const ann = 1 // her account

func (h *house) open() (err error) {
	if h.clock == nil {
		h.clock = clock.System{}
	}
	dir, err := h.files.Sub("queue")
	if err != nil {
		return err
	}
	h.store, err = pebblestore.Open(context.Background(), pebblestore.Options{
		FS: dir, Clock: h.clock, ReserveBytes: -1, MemTable: 64 << 10, LogBytes: 256 << 10, BlockCache: 1 << 20, LogFiles: -1,
		RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	rules, err := policy.New(policy.Options{RelayNetworks: []string{"127.0.0.0/8"}})
	if err != nil {
		return errors.Join(err, h.store.Close())
	}
	ids := id.Source{Clock: h.clock}
	intake := submit.New(submit.Options{Host: "mx.here.test"}, submit.Deps{Queue: h.store, Router: routes{}, Policy: rules, Clock: h.clock, IDs: ids})
	if h.smtp, err = smtpd.New(smtpd.Options{Host: "mx.here.test"}, smtpd.Deps{Submit: intake, Clock: h.clock}); err != nil {
		return errors.Join(err, h.store.Close())
	}
	mails, err := h.files.Sub("mail")
	if err != nil {
		return errors.Join(err, h.store.Close())
	}
	h.dispatch, err = dispatch.New(dispatch.Options{}, dispatch.Deps{
		Store: h.store, Router: routes{}, Bouncer: &bounce.Builder{Name: "mx.here.test"}, Clock: h.clock, IDs: ids,
		Mailbox: local.New(local.Options{}, local.Deps{FS: mails, Barrier: &fs.Barrier{FS: mails}, Directory: accounts{}, Clock: h.clock, Runas: joe{h.files, h.tell}}),
		Remote:  target(h.far),
	})
	if err != nil {
		return errors.Join(err, h.store.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.end, h.ended = cancel, make(chan error, 1)
	go func() { h.ended <- h.dispatch.Run(ctx) }()
	return nil
}

func (h *house) close() error {
	h.end()
	return errors.Join(<-h.ended, h.store.Close())
}

// drain waits until nothing is left in the queue, having what was deferred tried again at once.
func (h *house) drain() error {
	deadline := time.After(time.Minute)
	for {
		s := h.dispatch.Stats(0)
		if s.Loaded && s.Messages == 0 {
			return nil
		}
		h.dispatch.Flush()
		select {
		case <-deadline:
			return errors.New("the queue does not become empty")
		case <-time.After(300 * time.Microsecond):
		}
	}
}

// far is the other hosts: gone@far.test is refused for good.
func (h *house) far(job *deliver.Job, r deliver.Recipient) deliver.Verdict {
	if r.To.Local == "gone" {
		return deliver.Verdict{Err: &reason.Error{Class: reason.Permanent, Code: 550, Enhanced: "5.1.1", Reason: "remote-refused", Remote: "550 5.1.1 nobody of that name"}}
	}
	if h.remote != nil {
		if err := h.remote(job, r); err != nil {
			return deliver.Verdict{Err: err}
		}
	}
	body, err := job.Body()
	if err != nil {
		return deliver.Verdict{Err: reason.MessageUnreadable.Because(err)}
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return deliver.Verdict{Err: reason.MessageUnreadable.Because(err)}
	}
	key, whole := parcelOf(string(text))
	if !whole {
		key += " in pieces"
	}
	h.tell(fact{"far", key, job.Envelope.ID})
	return deliver.Verdict{}
}

// session is a client: it hands messages in until one is not acknowledged, and returns how many were.
func (h *house) session(list []parcel) (acknowledged int) {
	client, server := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer server.Close()
		h.smtp.Serve(context.Background(), &serve.Conn{Conn: server, ID: id.Source{}.New(), Started: time.Now(),
			Client: netip.MustParseAddrPort("127.0.0.1:4711"), Server: netip.MustParseAddrPort("127.0.0.1:25")})
	}()
	defer func() { client.Close(); <-ended }()
	client.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(client)
	say := func(line, want string) bool {
		if line != "" {
			if _, err := io.WriteString(client, line+"\r\n"); err != nil {
				return false
			}
		}
		for {
			answer, err := in.ReadString('\n')
			if err != nil || !strings.HasPrefix(answer, want) {
				return false
			}
			if len(answer) > 3 && answer[3] == ' ' {
				return true
			}
		}
	}
	if !say("", "220") || !say("EHLO client.test", "250") {
		return 0
	}
	for i, p := range list {
		if !say("MAIL FROM:<"+p.from+">", "250") {
			return i
		}
		for _, to := range p.to {
			if !say("RCPT TO:<"+to+">", "250") {
				return i
			}
		}
		if !say("DATA", "354") || !say(strings.ReplaceAll(p.text(), "\n", "\r\n")+".", "250") {
			return i
		}
		h.tell(fact{what: "accepted", key: p.key})
	}
	return len(list)
}

// parcel is a message with a key to know it by.
type parcel struct {
	key, from string
	to        []string
	lines     int
}

func (p parcel) text() string {
	return "X-Parcel: " + p.key + "\nSubject: a parcel\n\n" + strings.Repeat("a line of parcel "+p.key+"\n", p.lines) + "the end of " + p.key + "\n"
}

// parcelOf returns whose text is in a message, and whether all of it is.
func parcelOf(text string) (key string, whole bool) {
	_, rest, ok := strings.Cut(text, "X-Parcel: ")
	if !ok {
		return "", false
	}
	key, _, _ = strings.Cut(rest, "\n")
	n := strings.Count(text, "a line of parcel "+key+"\n")
	for _, p := range parcels("") {
		if strings.HasPrefix(key, p.key) && n == p.lines && strings.Contains(text, "the end of "+key+"\n") {
			return key, true
		}
	}
	return key, false
}

// parcels are one of each kind; try makes the keys those of one more try to hand them in.
func parcels(try string) []parcel {
	return []parcel{
		{"maildir" + try, "ann@here.test", []string{"joe@here.test"}, 20},
		{"mbox" + try, "ann@here.test", []string{"joe-mbox@here.test"}, 150},
		{"all" + try, "ann@here.test", []string{"joe-all@here.test"}, 30},
		{"large" + try, "ann@here.test", []string{"ann@here.test", "ok@far.test"}, 3500}, // to a spool file
		{"bounce" + try, "ann@here.test", []string{"gone@far.test"}, 5},
		{"alias" + try, "ann@here.test", []string{"list@here.test"}, 10},
	}
}

// routes knows ann, the system's user joe, a list, and other hosts.
type routes struct{}

func (routes) Route(ctx context.Context, to mail.Address) (route.Route, error) {
	user, ext, _ := strings.Cut(to.Local, "-")
	switch {
	case to.Domain != "here.test":
		return route.Route{Kind: route.Remote, Final: to, Next: route.NextHop{Domain: to.Domain}}, nil
	case to.Local == "ann":
		a, _ := accounts{}.Account(ctx, ann)
		return route.Route{Kind: route.Mailbox, Local: true, Final: to, Account: a}, nil
	case to.Local == "list":
		return route.Route{Kind: route.Forward, Local: true, Final: to, Targets: []mail.Address{{Local: "ann", Domain: "here.test"}, {Local: "b", Domain: "far.test"}}}, nil
	case user == "joe":
		u := &route.User{Name: "joe", UID: 1000, GID: 1000, Home: "/home", Ext: ext, Local: to.Local, Host: to.Domain}
		if ext != "" {
			u.Dash = "-"
		}
		return route.Route{Kind: route.SystemUser, Local: true, Final: to, User: u}, nil
	}
	return route.Route{Kind: route.Refused, Err: reason.MailboxUnknown.With(to.String())}, nil
}

// accounts is the directory: ann.
type accounts struct{}

func (accounts) Find(context.Context, string, []string) (directory.Found, error) {
	return directory.Found{}, directory.ErrNotFound
}

func (accounts) Account(context.Context, uint64) (*directory.Account, error) {
	return &directory.Account{ID: ann, Address: mail.Address{Local: "ann", Domain: "here.test"}, Mailbox: "ann"}, nil
}

// joe is a runas service for the one user.
type joe struct {
	files fs.FS
	tell  func(fact)
}

var joesFiles = map[string]string{
	".qmail": "./Maildir/\n", ".qmail-mbox": "./Mailbox\n", ".qmail-all": "./Maildir/\n./Mailbox\n|program\n&a@far.test\n",
}

func (j joe) Files(context.Context, runas.User) (fs.FS, error) { return j.files.Sub("home") }
func (j joe) SyncAll() error                                   { return j.files.SyncAll() }

func (joe) Hold(context.Context, runas.User, runas.Search) (*runas.Held, error) {
	return nil, errors.ErrUnsupported
}

func (joe) Search(_ context.Context, _ runas.User, q runas.Search) (runas.Found, error) {
	f := runas.Found{Home: fs.FileMode(0o700), Mode: 0o600, Exist: make([]bool, len(q.Exist))}
	for _, name := range q.Names {
		if text, ok := joesFiles[name]; ok {
			f.Name, f.Content, f.Size = name, []byte(text), int64(len(text))
			break
		}
	}
	return f, nil
}

func (j joe) Run(_ context.Context, _ runas.User, c runas.Command) (runas.Result, error) {
	text, err := io.ReadAll(c.Stdin)
	if err != nil {
		return runas.Result{}, err
	}
	key, whole := parcelOf(string(text))
	if !whole {
		key += " in pieces"
	}
	j.tell(fact{what: "ran", key: key})
	return runas.Result{}, nil
}

// target is a deliver.Target that asks a function for each recipient.
type target func(job *deliver.Job, r deliver.Recipient) deliver.Verdict

func (f target) Deliver(_ context.Context, job *deliver.Job) []deliver.Verdict {
	out := make([]deliver.Verdict, len(job.Recipients))
	for i, r := range job.Recipients {
		out[i] = f(job, r)
	}
	return out
}

// prepare makes what an installation has.
func prepare(files fs.FS) error {
	for _, dir := range []string{"queue", "mail", "home/Maildir/tmp", "home/Maildir/new", "home/Maildir/cur"} {
		if err := files.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return files.SyncAll()
}

// found is how often each parcel is in one place.
type found map[string]int

// inMaildir counts the parcels of a Maildir, and the bounces that name one. Whatever is visible must be whole.
func inMaildir(files fs.FS, dir string) (parcels, bounces found, err error) {
	parcels, bounces = found{}, found{}
	entries, err := files.ReadDir(dir + "/new")
	if errors.Is(err, fs.ErrNotExist) {
		return parcels, bounces, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		text, err := content(files, dir+"/new/"+e.Name())
		if err != nil {
			return nil, nil, err
		}
		key, whole := parcelOf(text)
		switch {
		case strings.HasPrefix(text, "Return-Path: <>\n") && strings.Contains(text, "gone@far.test"):
			bounces[key]++
		case !whole:
			return nil, nil, fmt.Errorf("%s shows a message in pieces: %.80q", dir, text)
		default:
			parcels[key]++
		}
	}
	return parcels, bounces, nil
}

// inMbox counts the parcels that are whole. A piece may be there; it reaches into no other message.
func inMbox(files fs.FS, name string) (found, error) {
	text, err := content(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return found{}, nil
	}
	parcels := found{}
	for m := range strings.SplitSeq("\n\n"+text, "\n\nFrom ann@here.test ") {
		if key, whole := parcelOf(m + "\n"); whole {
			parcels[key]++
		}
	}
	return parcels, err
}

func content(files fs.FS, name string) (string, error) {
	f, err := files.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

// left counts the messages that the queue holds.
func left(files fs.FS) (n int, err error) {
	dir, err := files.Sub("queue")
	if err != nil {
		return 0, err
	}
	store, err := pebblestore.Open(context.Background(), pebblestore.Options{FS: dir, ReserveBytes: -1, MemTable: 64 << 10, LogBytes: 256 << 10, BlockCache: 1 << 20, LogFiles: -1})
	if err != nil {
		return 0, err
	}
	err = queuetest.Visit(store, func(queue.Claimed) { n++ })
	return n, errors.Join(err, store.Close())
}

// facts collects what was seen.
type facts struct {
	mu   sync.Mutex
	list []fact
}

func (f *facts) add(x fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, x)
}

// pause gives a disk that fails for a while time to be looked at again.
func (h *house) pause(try int) {
	if try > 0 {
		time.Sleep(time.Millisecond)
	}
}
