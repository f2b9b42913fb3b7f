package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// sink is the next hop: another host's SMTP server, which keeps what it is given.
type sink struct {
	addr string
	// rcpt, if set, answers RCPT, and gate is called before each message is accepted.
	rcpt func(to string) error
	gate func()

	mu       sync.Mutex
	messages []sunk
}

// sunk is one message that the sink has accepted.
type sunk struct {
	from    string
	to      []string
	content []byte
	at      time.Time
}

func newSink(t testing.TB) *sink {
	k := new(sink)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	k.addr = l.Addr().String()
	k.serve(t, l)
	return k
}

func (k *sink) serve(t testing.TB, l net.Listener) {
	server := smtp.NewServer(k)
	server.Domain = "sink.example"
	server.EnableSMTPUTF8 = true
	server.MaxLineLength = 1 << 20 // messages with longer lines than RFC 5321's are passed on
	server.ErrorLog = silent{}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// silent is a log for what the killed server's connections look like.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

func (k *sink) NewSession(*smtp.Conn) (smtp.Session, error) { return &sinkSession{k: k}, nil }

type sinkSession struct {
	k *sink
	m sunk
}

func (s *sinkSession) Reset()        { s.m = sunk{} }
func (s *sinkSession) Logout() error { return nil }

func (s *sinkSession) Mail(from string, _ *smtp.MailOptions) error {
	s.m.from = from
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.k.rcpt != nil {
		if err := s.k.rcpt(to); err != nil {
			return err
		}
	}
	s.m.to = append(s.m.to, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) (err error) {
	if s.m.content, err = io.ReadAll(r); err != nil {
		return err
	}
	if s.k.gate != nil {
		s.k.gate()
	}
	s.m.at = time.Now()
	s.k.mu.Lock()
	s.k.messages = append(s.k.messages, s.m)
	s.k.mu.Unlock()
	return nil
}

// all returns what has come so far.
func (k *sink) all() []sunk {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]sunk(nil), k.messages...)
}

// take returns what has come so far, and forgets it.
func (k *sink) take() []sunk {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.messages
	k.messages = nil
	return list
}

// arrived waits until n messages have come.
func (k *sink) arrived(t testing.TB, n int) []sunk {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages at the next hop", n), func() bool { return len(k.all()) >= n })
	return k.all()
}

// parcel is a message of a test under load: its number, and a body whose sum it carries.
func parcel(id string, size int) []byte {
	line := strings.Repeat(id+" ", 72/(len(id)+1)) + "\r\n"
	body := bytes.Repeat([]byte(line), size/len(line)+1)
	sum := sha256.Sum256(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
	return fmt.Appendf(nil, "X-Parcel: %s %x\r\nFrom: <sender@else.example>\r\nSubject: parcel\r\n\r\n%s", id, sum, body)
}

// opened returns the id of a parcel, or "" of another message. The error tells of one
// that is not whole.
func opened(m []byte) (string, error) {
	m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
	header, body, _ := bytes.Cut(m, []byte("\n\n"))
	label := field(header, "X-Parcel")
	if label == "" {
		return "", nil
	}
	id, want, _ := strings.Cut(label, " ")
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != want {
		return id, fmt.Errorf("parcel %s is not whole: %d bytes of body", id, len(body))
	}
	return id, nil
}

// field returns the first field of a name in a header with LF line ends.
func field(header []byte, name string) string {
	for line := range strings.Lines(string(header)) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// delivery is one parcel for one recipient, or its bounce.
type delivery struct{ id, to string }

// bounced stands for the recipient of a parcel that is to come back.
const bounced = "a bounce"

// returned returns the id of the parcel that a bounce brings back, or "".
func returned(m []byte) string {
	_, original, found := bytes.Cut(m, []byte("\nX-Parcel: "))
	id, _, _ := bytes.Cut(original, []byte(" "))
	if !found {
		return ""
	}
	return string(id)
}

// maildirs returns how often each parcel lies in a mailbox of the server, as a reader
// of Maildirs sees it.
func (s *server) maildirs() (map[delivery]int, error) {
	found := map[delivery]int{}
	err := filepath.WalkDir(filepath.Join(s.Data, "mail"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if dir := filepath.Base(filepath.Dir(path)); dir != "new" && dir != "cur" {
			return nil
		}
		m, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(m, []byte("Return-Path: <")) {
			return fmt.Errorf("%s shows %d bytes that are no message: %.60q", path, len(m), m)
		}
		id, err := opened(m)
		if id != "" {
			found[delivery{id, field(m, "Delivered-To")}]++
		} else if id := returned(m); id != "" {
			found[delivery{id, bounced}]++
		}
		return err
	})
	return found, err
}
