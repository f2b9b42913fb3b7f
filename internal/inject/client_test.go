package inject

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// brief is how long programs of these tests wait for a server that is silent.
const brief = 50 * time.Millisecond

// listen serves each connection by serve; nil never answers. It returns a client, which waits briefly for nobody.
func listen(t *testing.T, serve func(net.Conn)) *Client {
	t.Helper()
	c := &Client{Socket: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if serve == nil {
		c.Timeout = brief
		return c
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc)
			}()
		}
	}()
	return c
}

// toTheEnd reads a call up to its end.
func toTheEnd(nc net.Conn) {
	r := NewReader(nc)
	for {
		if kind, _, err := r.Next(); err != nil || kind == FrameEnd {
			return
		}
	}
}

func send(c *Client) (Answer, error) {
	return c.Send(context.Background(), &Envelope{To: []Recipient{{To: "joe@example.test"}}}, strings.NewReader("x\n"), nil)
}

func TestNoCallWaitsForAHungServer(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(*Client) error{
		"send":  func(c *Client) error { _, err := send(c); return err },
		"names": func(c *Client) error { _, err := c.Names(context.Background()); return err },
		"ask":   func(c *Client) error { _, err := c.Ask(context.Background(), VerbQueue, "", nil); return err },
		"smtp": func(c *Client) error {
			return c.SMTP(context.Background(), "sendmail", strings.NewReader("EHLO x\r\n"), nil)
		},
		"a long message": func(c *Client) error {
			_, err := c.Send(context.Background(), &Envelope{}, strings.NewReader(strings.Repeat("x\n", 1<<20)), nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := listen(t, nil)
			err := call(c)
			if e, ok := errors.AsType[*Error](err); !ok || !e.Slow || e.Doubt != "" || err.Error() != "the mail server does not answer on "+c.Socket {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAFiltersTimeIsGranted(t *testing.T) {
	t.Parallel()
	for wait := brief; ; wait *= 4 {
		c := listen(t, func(nc net.Conn) {
			toTheEnd(nc)
			nc.Write(IntentFrame(&Intent{ID: "m1", Within: time.Minute}))
			<-time.After(3 * wait) // longer than the program waits without
			nc.Write(AnswerFrame(&Answer{ID: "m1", Code: 250}))
		})
		c.Timeout = wait
		a, err := send(c)
		if e, ok := errors.AsType[*Error](err); ok && e.Slow && e.Doubt == "" && wait < time.Minute {
			continue // not even the intent came in time: the machine has much to do
		}
		if err != nil || !a.OK() || a.ID != "m1" {
			t.Errorf("%+v %v", a, err)
		}
		return
	}
}

func TestAServerThatDiesWhileItCommitsLeavesDoubt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		intent bool
		doubt  string
	}{{false, ""}, {true, "m1"}} {
		c := listen(t, func(nc net.Conn) {
			toTheEnd(nc)
			if tt.intent {
				nc.Write(IntentFrame(&Intent{ID: "m1"}))
			}
		})
		_, err := send(c)
		if e, ok := errors.AsType[*Error](err); !ok || e.Slow || e.Doubt != tt.doubt || !strings.HasPrefix(err.Error(), "the mail server hung up on "+c.Socket) {
			t.Errorf("%v: %v", tt.intent, err)
		}
	}
}

func TestWhatAnIntentSaysIsBounded(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]Intent{
		"m1":                                  {ID: "m1"},
		"m1\x00within_ms=1500":                {ID: "m1", Within: 1500 * time.Millisecond},
		"m1\x00within_ms=-3":                  {ID: "m1"},
		"m1\x00within_ms=9223372036854775807": {ID: "m1", Within: maxWithin},
		"m1\x00within_ms=1e3\x00within=\x00=": {ID: "m1"},
		"":                                    {},
	} {
		if got := parseIntent([]byte(payload)); got != want {
			t.Errorf("%q: %+v, want %+v", payload, got, want)
		}
	}
}
