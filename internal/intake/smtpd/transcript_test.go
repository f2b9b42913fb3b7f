package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/intake/intaketest"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/submit"
)

// A transcript is a dialogue that must happen as written. Its lines:
//
//	# …              a comment
//	! option VALUE   sets up the world, before the dialogue: see setUp
//	c: text          the client sends text and CRLF; lines without an answer between them go in one write
//	c~ "text"        the client sends a Go string as it is; also: c~ N "text" for N times
//	s: text          the server sends this line; * stands for anything
//	s! closed        the server has closed the connection
//	s! tls           the client takes its side of a TLS handshake
//	q: from to…      the queue has one new message with this envelope, in angle brackets
//	q? key=value …   of the message q: showed: envid, ret, orcpt, notify, body, utf8, tlsonly, protocol, refused
//	q| text          and this next line of content; * stands for anything
//	q- …             there is no new message in the queue
//	r: text          the record of the dialogue has this next line
type transcript struct {
	t     *testing.T
	w     *world
	conn  net.Conn
	in    *bufio.Reader
	send  strings.Builder
	last  intaketest.Message
	lines []string

	records fs.FS    // of "! record"
	record  []string // its lines that were not yet seen
}

// recorded compares the record's next line, without its stamp and session.
func (x *transcript) recorded(want string) error {
	if x.record == nil {
		f, err := x.records.OpenFile("r.txt", os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		p, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		x.record = strings.Split(string(p), "\n")
	}
	_, line, _ := strings.Cut(x.record[0], " ")
	_, line, _ = strings.Cut(line, " ")
	x.record = x.record[1:]
	if !glob(want, line) {
		return fmt.Errorf("the record has %q", line)
	}
	return nil
}

func TestDialoguesHappenAsWritten(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x := &transcript{t: t, w: newWorld()}
			for n, line := range strings.Split(string(text), "\n") {
				if err := x.step(line); err != nil {
					t.Fatalf("%s:%d: %s\n%v", file, n+1, line, err)
				}
			}
			x.flush()
			if x.conn != nil {
				x.conn.Close()
			}
			if m := x.w.queue.Take(); len(m) > 0 {
				t.Errorf("%d messages are left that the transcript does not name", len(m))
			}
		})
	}
}

func (x *transcript) step(line string) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	if len(line) < 2 {
		return errors.New("want a line of the kinds above")
	}
	kind, rest := line[:2], strings.TrimPrefix(line[2:], " ")
	if kind[0] != '!' && x.conn == nil {
		x.conn = x.w.session(context.Background(), x.t, x.w.server(x.t))
		x.conn.SetDeadline(time.Now().Add(time.Minute))
		x.in = bufio.NewReader(x.conn)
	}
	switch kind {
	case "! ":
		return x.setUp(line[2:])
	case "c:":
		x.send.WriteString(rest + "\r\n")
		return nil
	case "c~":
		return x.raw(rest)
	}
	if err := x.flush(); err != nil {
		return err
	}
	switch line {
	case "s! closed":
		return x.closed()
	case "s! tls":
		c := tls.Client(x.conn, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			return err
		}
		x.conn, x.in = c, bufio.NewReader(c)
		return nil
	}
	switch kind {
	case "r:":
		return x.recorded(rest)
	case "s:":
		got, err := x.in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasSuffix(got, "\r\n") || !glob(rest, strings.TrimSuffix(got, "\r\n")) {
			return fmt.Errorf("the server said %q", got)
		}
		return nil
	case "q:":
		return x.queued(rest)
	case "q?":
		return x.envelope(rest)
	case "q|":
		if len(x.lines) == 0 {
			return errors.New("the message has ended")
		}
		got := x.lines[0]
		x.lines = x.lines[1:]
		if !glob(rest, got) {
			return fmt.Errorf("the message has %q", got)
		}
		return nil
	case "q-":
		if m := x.w.queue.Take(); len(m) > 0 {
			return fmt.Errorf("there is a message: %q", m[0].Body)
		}
		return nil
	}
	return errors.New("want a line of the kinds above")
}

// setUp changes the world: a key of Options, policy.Options or submit.Options with its value, or one
// of the words below.
func (x *transcript) setUp(line string) error {
	key, value, _ := strings.Cut(line, " ")
	w := x.w
	switch key {
	case "mode":
		w.options.Mode = map[string]Mode{"submission": Submission, "lmtp": LMTP}[value]
		w.deps.Auth = fakeAuth{}
	case "tls":
		w.deps.TLS = func() *tls.Config { return serverTLS() }
	case "tls-gone":
		w.deps.TLS = func() *tls.Config { return nil }
	case "with-auth":
		w.options.Auth = true
		w.deps.Auth = fakeAuth{}
	case "client":
		w.client = netip.MustParseAddr(value)
	case "full":
		w.full = reason.DiskFull
	case "busy":
		w.deps.Busy = func() error { return reason.LoadTooHigh }
	case "rules": // lines of tcprules, separated by " / "; "access" before them for sendmail's
		value, access := strings.CutPrefix(value, "access ")
		file := filepath.Join(x.t.TempDir(), "rules")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(value, " / ", "\n")+"\n"), 0o600); err != nil {
			return err
		}
		if access {
			file = "access:" + file
		}
		w.rules.Rules = append(w.rules.Rules, file)
	case "record": // dialogues of all clients are written down; "r: text" is the record's next line
		root, err := osfs.New(x.t.TempDir())
		if err != nil {
			return err
		}
		x.records = root
		book := record.New(root, clock.NewFake(intaketest.Epoch))
		x.t.Cleanup(func() { book.Close() })
		w.deps.Record = book
		return book.Add(record.Rule{ID: "r", Client: w.client.String(), Until: intaketest.Epoch.Add(time.Hour), MaxSize: 1 << 20})
	case "ptr": // NAME: the client's name by DNS
		w.ptr = value
		w.rules.ReverseNames = true
	case "lists": // an entry of dnsbl.lists; every address is listed by names that begin with "bl."
		w.lists = append(w.lists, value)
	case "lists-closed": // a list that gives no answer refuses for now
		w.closed = true
	case "quota-permanent": // full@example.test is refused for good
		e := *reason.QuotaExceeded
		e.Class, e.Code, e.Enhanced = reason.Permanent, 552, "5.2.2"
		w.quota = &e
	case "etrn":
		w.deps.ETRN = func(_ context.Context, _ *submit.Source, domain string) (int, error) {
			switch domain {
			case "example.test":
				return 3, nil
			case "again.test":
				return -1, nil
			case "empty.test":
				return 0, nil
			case "broken.test":
				return 0, reason.QueueUnavailable
			}
			return 0, reason.EtrnRefused.With(domain)
		}
	default:
		for _, o := range []any{&w.options, &w.policy, &w.submit} {
			if ok, err := set(o, key, value); ok {
				return err
			}
		}
		return errors.New("no such option")
	}
	return nil
}

func set(options any, key, value string) (bool, error) {
	v := reflect.ValueOf(options).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("toml") != key {
			continue
		}
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f = value
		case *bool:
			*f = true
		case *[]string:
			*f = strings.Fields(value)
		case *time.Duration:
			d, err := time.ParseDuration(value)
			*f = d
			return true, err
		default:
			n, err := strconv.ParseInt(value, 10, 64)
			v.Field(i).SetInt(n)
			return true, err
		}
		return true, nil
	}
	return false, nil
}

func (x *transcript) raw(s string) error {
	times := 1
	if n, rest, ok := strings.Cut(s, " \""); ok && n != "" && n[0] != '"' {
		var err error
		if times, err = strconv.Atoi(n); err != nil {
			return err
		}
		s = `"` + rest
	}
	text, err := strconv.Unquote(s)
	x.send.WriteString(strings.Repeat(text, times))
	return err
}

func (x *transcript) flush() error {
	if x.send.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(x.conn, x.send.String())
	x.send.Reset()
	return err
}

func (x *transcript) closed() error {
	if b, err := x.in.ReadByte(); err == nil {
		rest, _ := x.in.Peek(x.in.Buffered())
		return fmt.Errorf("the server said %q", string(b)+string(rest))
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

func (x *transcript) queued(want string) error {
	m := x.w.queue.Take()
	if len(m) != 1 {
		return fmt.Errorf("%d messages in the queue", len(m))
	}
	x.last = m[0]
	x.lines = strings.Split(strings.TrimSuffix(x.last.Body, "\n"), "\n")
	got := "<" + x.last.Envelope.From.Quoted() + ">"
	for _, r := range x.last.Envelope.Recipients {
		got += " <" + r.To.Quoted() + ">"
	}
	if got != want {
		return fmt.Errorf("the envelope is %s", got)
	}
	body := []byte(x.last.Body)
	lines := int64(strings.Count(x.last.Body, "\n"))
	if x.last.Envelope.Size != int64(len(body)) || x.last.Envelope.CRLFSize != int64(len(body))+lines {
		return fmt.Errorf("sizes %d, %d of %d bytes in %d lines", x.last.Envelope.Size, x.last.Envelope.CRLFSize, len(body), lines)
	}
	return nil
}

func (x *transcript) envelope(want string) error {
	e := x.last.Envelope
	r := e.Recipients[0]
	got := map[string]string{
		"envid": e.EnvID, "ret": strconv.Itoa(int(e.Ret)), "orcpt": r.ORcpt, "notify": strconv.Itoa(int(r.Notify)),
		"body": map[mail.BodyType]string{mail.Body8Bit: "8"}[e.Body], "utf8": strconv.FormatBool(e.UTF8), "tlsonly": strconv.FormatBool(e.TLSOnly),
		"protocol": e.Protocol, "helo": e.HELO, "account": e.Account, "client": e.Client.String(), "eight": strconv.FormatBool(e.Eight),
	}
	for _, r := range e.Recipients {
		if r.Refused != nil {
			got["refused"] += string(r.Refused.Reason) + ";"
		}
	}
	for pair := range strings.FieldsSeq(want) {
		if k, v, _ := strings.Cut(pair, "="); got[k] != v {
			return fmt.Errorf("%s is %q", k, got[k])
		}
	}
	return nil
}

// glob matches with * for anything.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for i, p := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(s, p)
		}
		at := strings.Index(s, p)
		if at < 0 {
			return false
		}
		s = s[at+len(p):]
	}
	return s == ""
}
