package injection

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs/fstest"
	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/tools/tool"
)

// letter is what the fake server was handed.
type letter struct {
	call    string
	fields  inject.Fields
	from    string
	to      []string
	tofield []inject.Fields
	content string
}

// fakeServer takes messages, and answers with what it is told to.
type fakeServer struct {
	mu      sync.Mutex
	letters []letter
	answer  inject.Answer
	output  string // of questions
	steps   []inject.Step
}

func (s *fakeServer) serve(c net.Conn) {
	defer c.Close()
	r := inject.NewReader(c)
	var l letter
	for {
		kind, p, err := r.Next()
		if err != nil {
			return
		}
		switch kind {
		case inject.FrameCall:
			_, l.call, l.fields, _ = inject.ParseCall(p)
			switch l.call {
			case inject.VerbNames:
				c.Write(inject.NamesFrame(&inject.Names{Me: "mx.test"}))
				return
			case inject.VerbSMTP:
				c.Write([]byte("220 hello\r\n"))
				return
			}
		case inject.FrameFrom:
			l.from = string(p)
		case inject.FrameTo:
			a, f := inject.ParseFields(p)
			l.to, l.tofield = append(l.to, a), append(l.tofield, f)
		case inject.FrameData:
			l.content += string(p)
		case inject.FrameEnd:
			s.mu.Lock()
			s.letters = append(s.letters, l)
			a := s.answer
			s.mu.Unlock()
			if l.call != inject.VerbSend {
				c.Write(inject.AppendFrame(nil, inject.FrameData, s.output))
			}
			c.Write(inject.AnswerFrame(&a))
			for i := range s.steps {
				c.Write(inject.StepFrame(&s.steps[i]))
			}
			return
		}
	}
}

// world is one program's world: a fake server, control files, and what it prints.
type world struct {
	t           *testing.T
	server      *fakeServer
	dir, socket string
	env         []string
	out, errs   bytes.Buffer
	fd          func(int) *os.File
}

var noon = time.Date(2026, 11, 21, 19, 34, 36, 0, time.UTC)

// newWorld makes a world whose host is mx.test.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), server: &fakeServer{answer: inject.Answer{Code: 250, Enhanced: "2.0.0", ID: "06h01da6tg001ppncxwymf46pw"}}}
	w.socket = filepath.Join(w.dir, "s")
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.server.serve(c)
		}
	}()
	w.write("control/me", "mx.test\n")
	w.env = []string{"POSTILION_INJECT=" + w.socket, "POSTILION_QMAIL=" + w.dir, "USER=joe", "PATH=/usr/bin:/bin"}
	return w
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := fstest.WriteProgram(path, text); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// run runs a program and returns its exit code.
func (w *world) run(stdin string, args ...string) int {
	w.t.Helper()
	e := &tool.Env{Args: args, Stdin: strings.NewReader(stdin), Stdout: &w.out, Stderr: &w.errs, Environ: w.env,
		Now: func() time.Time { return noon }, Zone: time.FixedZone("EST", -5*3600), FD: w.fd}
	for _, p := range Programs() {
		if p.Name == args[0] {
			return p.Run(context.Background(), e)
		}
	}
	w.t.Fatalf("there is no program %s", args[0])
	return 0
}

// one returns the only letter.
func (w *world) one() letter {
	w.t.Helper()
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if len(w.server.letters) != 1 {
		w.t.Fatalf("%d letters; errors: %s", len(w.server.letters), w.errs.String())
	}
	return w.server.letters[0]
}
