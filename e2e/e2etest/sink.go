package e2etest

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// Sink is a next hop: another host's SMTP server, which keeps what it is given.
type Sink struct {
	Addr string
	// Rcpt, if set, answers RCPT, and Gate is called before each message is accepted.
	Rcpt func(to string) error
	Gate func()

	mu       sync.Mutex
	messages []Sunk
}

// Sunk is one message that the sink has accepted.
type Sunk struct {
	From    string
	To      []string
	Content []byte
	At      time.Time
}

// NewSink starts one, which ends with the test.
func NewSink(t testing.TB) *Sink {
	k := new(Sink)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Check(t, err)
	k.Addr = l.Addr().String()
	k.Serve(t, l)
	return k
}

// Serve takes mail on a listener of the test's until it ends.
func (k *Sink) Serve(t testing.TB, l net.Listener) {
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &sinkSession{k: k}, nil }))
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

type sinkSession struct {
	k *Sink
	m Sunk
}

func (s *sinkSession) Reset()        { s.m = Sunk{} }
func (s *sinkSession) Logout() error { return nil }

func (s *sinkSession) Mail(from string, _ *smtp.MailOptions) error {
	s.m.From = from
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.k.Rcpt != nil {
		if err := s.k.Rcpt(to); err != nil {
			return err
		}
	}
	s.m.To = append(s.m.To, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) (err error) {
	if s.m.Content, err = io.ReadAll(r); err != nil {
		return err
	}
	if s.k.Gate != nil {
		s.k.Gate()
	}
	s.m.At = time.Now()
	s.k.mu.Lock()
	s.k.messages = append(s.k.messages, s.m)
	s.k.mu.Unlock()
	return nil
}

// All returns what has come so far.
func (k *Sink) All() []Sunk {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Sunk(nil), k.messages...)
}

// Take returns what has come so far, and forgets it.
func (k *Sink) Take() []Sunk {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.messages
	k.messages = nil
	return list
}

// Arrived waits until n messages have come.
func (k *Sink) Arrived(t testing.TB, n int) []Sunk {
	t.Helper()
	Eventually(t, fmt.Sprintf("%d messages at the next hop", n), func() bool { return len(k.All()) >= n })
	return k.All()
}
