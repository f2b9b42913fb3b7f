package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

const domain = "example.test"

// server is one running program with its data folder.
type server struct {
	e2etest.Server
	offset string // --clock-offset
}

// setup is how a server is made.
type setup struct {
	tag        string            // build tag of the binary
	dir        string            // made if missing; "" is a fresh folder that is removed
	single     bool              // one process, also as root
	forTesting bool              // the clock may be moved
	config     map[string]string // "group.key" to its TOML value, over the tests' own
	env        []string          // of the process, besides the test's
}

// eachLayout runs a test with roles apart, where that can be, and in one process.
func eachLayout(t *testing.T, test func(t *testing.T, o setup)) {
	e2etest.EachLayout(t, func(t *testing.T, single bool) {
		t.Parallel()
		test(t, setup{single: single})
	})
}

// newServer sets a server up by quickstart and waits until it listens.
func newServer(t testing.TB, o setup) *server {
	t.Helper()
	s := bare(t, o.tag, o.dir)
	s.Env, s.Addr = o.env, map[string]string{}
	check(t, os.MkdirAll(s.Data, 0o755), s.writeConfig(o))
	var args []string
	if o.forTesting {
		args = []string{"--for-testing"}
	}
	s.Quickstart(domain, args...)
	return s
}

// bare is a server that has not been set up.
func bare(t testing.TB, tag, dir string) *server {
	t.Helper()
	if dir == "" {
		dir = newFolder(t)
	}
	return &server{Server: e2etest.Server{T: t, Bin: binary(t, tag), Data: dir}}
}

// newFolder is a folder that every uid can pass.
func newFolder(t testing.TB) string {
	t.Helper()
	return e2etest.Folder(t, "")
}

// writeConfig writes the tests' configuration. Nothing in it reaches beyond loopback, and
// load by other tests turns no mail away.
func (s *server) writeConfig(o setup) error {
	keys := map[string]string{
		"host":                              `"mail.example.test"`,
		"route.default_domain":              strconv.Quote(domain),
		"dns.server":                        strconv.Quote(freeAddr(s.T)), // nobody answers there
		"dns.timeout":                       `"200ms"`,
		"floors.refuse_load":                "-1",
		"process.queue_load":                "-1",
		"queue.log":                         strconv.Itoa(16 << 20), // it comes round, and costs the disk little
		"process.single":                    strconv.FormatBool(o.single),
		"submission.plain_auth_on_loopback": "true",
		"pop3.plaintext_on_loopback":        "true",
	}
	for _, name := range []string{"smtp", "submission", "submissions", "pop3", "pop3s", "metrics"} {
		s.Addr[name] = freeAddr(s.T)
		keys[name+".listen"] = fmt.Sprintf("[%q]", s.Addr[name])
	}
	maps.Copy(keys, o.config)
	return os.WriteFile(filepath.Join(s.Data, "postilion.toml"), tomlOf(keys), 0o644)
}

// tomlOf writes keys of the form [group.[group.]]key.
func tomlOf(keys map[string]string) []byte {
	groups := map[string][]string{}
	for k, v := range keys {
		group := k[:max(strings.LastIndexByte(k, '.'), 0)]
		groups[group] = append(groups[group], fmt.Sprintf("%s = %s\n", k[len(group):], v))
	}
	var b bytes.Buffer
	write := func(group string) {
		slices.Sort(groups[group])
		for _, line := range groups[group] {
			b.WriteString(strings.TrimPrefix(line, "."))
		}
	}
	write("")
	for group := range groups {
		if group != "" {
			fmt.Fprintf(&b, "\n[%s]\n", group)
			write(group)
		}
	}
	return b.Bytes()
}

// ports are those that freeAddr gives, block after block. They stay below the ports that systems give to clients, so
// that nobody takes a server's port while it is down; a block is this process's, while others run these tests as well,
// because it listens on the first port of it until it ends. Of a block every second port is given: the next one
// is free too, for a trial.
var ports struct {
	sync.Mutex
	block, next int
	held        []net.Listener
}

func freeAddr(t testing.TB) string {
	t.Helper()
	const first, last, size = 12000, 32000, 100
	listen := func(n int) (string, net.Listener) {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(n))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return "", nil
		}
		return addr, l
	}
	ports.Lock()
	defer ports.Unlock()
	for ports.block < last {
		if ports.next == ports.block+size || ports.next == 0 {
			ports.block = max(ports.block+size, first)
			ports.next = ports.block
			_, l := listen(ports.block)
			if l == nil {
				ports.next = ports.block + size // another's
				continue
			}
			ports.held = append(ports.held, l)
		}
		ports.next += 2
		if ports.next == ports.block+size {
			continue
		}
		if addr, l := listen(ports.next); l != nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// serve starts the server again after a stop, a kill or a cut, and waits for its greeting.
func (s *server) serve() {
	s.T.Helper()
	if err := s.tryServe(patience); err != nil {
		s.T.Fatalf("%v; its log:\n%s", err, s.Log.Tail())
	}
}

func (s *server) tryServe(wait time.Duration) error {
	args := []string{"serve", "--data", s.Data}
	if s.offset != "" {
		args = append(args, "--clock-offset", s.offset)
	}
	go io.Copy(io.Discard, s.Launch(args...))
	return s.WaitUp(wait)
}

// wrapped runs a program where the server runs.
func (s *server) wrapped(argv ...string) (string, error) {
	argv = slices.Concat(s.Wrap, argv)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

// addAccount adds an account and returns its password.
func (s *server) addAccount(address string) string {
	s.T.Helper()
	var added struct{ Password string }
	s.Ask(&added, "account", "add", address)
	return added.Password
}

// queued is what `queue list` tells of a message.
type queued struct {
	ID         string
	From       string
	Held       bool
	Recipients []struct {
		To, State, Reason, Error string
		Attempts                 int
	}
}

func (s *server) queue(filter ...string) []queued {
	s.T.Helper()
	var list []queued
	s.Ask(&list, append([]string{"queue", "list", "--limit", "0"}, filter...)...)
	return list
}

// deferred waits until n messages are in the queue, each of which was tried and waits for its next turn. What is still
// being tried is not tried again by a flush.
func (s *server) deferred(n int) {
	s.T.Helper()
	eventually(s.T, "what was tried waits for its next turn", func() bool {
		list := s.queue()
		for _, m := range list {
			for _, r := range m.Recipients {
				if r.State != "waiting" || r.Attempts == 0 {
					return false
				}
			}
		}
		return len(list) == n
	})
}

// drain waits until the queue is empty.
func (s *server) drain() {
	s.T.Helper()
	eventually(s.T, "the queue is empty", s.empty)
}

// empty reports whether the queue is known to be empty.
func (s *server) empty() bool {
	out, err := s.Run("queue", "list", "--limit", "1", "--json")
	return err == nil && strings.TrimSpace(out) == "[]"
}

// about returns the lines of a log that name a message's id, which is a word of text.
func about(log, text string) string {
	var found strings.Builder
	for word := range strings.FieldsSeq(text) {
		if len(word) < 20 {
			continue
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, word) {
				found.WriteString(line)
			}
		}
	}
	return found.String()
}
