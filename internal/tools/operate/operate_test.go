package operate

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

// server answers on a socket of a data folder until the test ends.
func server(t *testing.T, data, socket string, methods map[string]rpc.Handler) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(data, control.RunFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", control.SocketPath(data, socket))
	if err != nil {
		t.Fatal(err)
	}
	s := &rpc.Server{Handlers: methods}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); l.Close(); <-done })
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "op") // socket names are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestTheMethodsAreTheSeams(t *testing.T) {
	t.Parallel()
	if methodDead != seam.MethodDead || methodForget != seam.MethodForget {
		t.Errorf("got %s and %s, want %s and %s", methodDead, methodForget, seam.MethodDead, seam.MethodForget)
	}
}

func TestTcptoListsAndTcpokForgets(t *testing.T) {
	t.Parallel()
	data, forgot := shortDir(t), false
	now := time.Unix(1000000000, 0)
	server(t, data, remoteSocket, map[string]rpc.Handler{
		methodDead: rpc.Handle(func(context.Context, none) ([]dead, error) {
			return []dead{{netip.MustParseAddr("192.0.2.1"), now.Add(-90 * time.Second), 2}, {netip.MustParseAddr("192.0.2.2"), now, 0}}, nil
		}),
		methodForget: rpc.Handle(func(context.Context, none) (none, error) { forgot = true; return none{}, nil }),
	})
	env := []string{"POSTILION_DATA=" + data}
	r := tooltest.Run(t, Programs(), "qmail-tcpto", tooltest.Call{Env: env, Now: now})
	if r.Code != 0 || r.Out != "192.0.2.1 timed out 90 seconds ago; # recent timeouts: 2\n" {
		t.Errorf("got %+v", r)
	}
	if r := tooltest.Run(t, Programs(), "qmail-tcpok", tooltest.Call{Env: env}); r.Code != 0 || !forgot {
		t.Errorf("got %+v, forgot: %v", r, forgot)
	}
}

func TestWithoutAServerTheySaySoAndExit111(t *testing.T) {
	t.Parallel()
	env := []string{"POSTILION_DATA=" + shortDir(t)}
	for _, call := range []string{"qmail-tcpto", "qmail-tcpok", "qmail-qread", "qmail-qstat", "qmailctl stat", "qmailctl stop", "qmailctl flush", "qmailctl pause", "qmailctl queue", "qmailctl hup"} {
		name, verb, _ := strings.Cut(call, " ")
		r := tooltest.Run(t, Programs(), name, tooltest.Call{Args: strings.Fields(verb), Env: env})
		if r.Code != 111 || !strings.Contains(r.Err, "running") {
			t.Errorf("%s: %+v", call, r)
		}
	}
}

func TestQmailctlSpeaksItsVocabulary(t *testing.T) {
	t.Parallel()
	data := shortDir(t)
	var asked []string
	note := func(name string) rpc.Handler {
		return rpc.Handle(func(context.Context, none) (none, error) { asked = append(asked, name); return none{}, nil })
	}
	server(t, data, control.Supervisor, map[string]rpc.Handler{
		control.MethodStop: note("stop"), control.MethodPause: note("pause"), control.MethodContinue: note("cont"),
		control.MethodFlush: rpc.Handle(func(context.Context, none) (int, error) { asked = append(asked, "flush"); return 3, nil }),
		control.MethodRestart: rpc.Handle(func(_ context.Context, role string) (none, error) {
			asked = append(asked, "restart"+role)
			return none{}, nil
		}),
		control.MethodReload: rpc.Handle(func(context.Context, none) (control.Reloaded, error) {
			asked = append(asked, "reload")
			return control.Reloaded{Changed: []string{"host"}}, nil
		}),
		control.MethodStatus: rpc.Handle(func(context.Context, none) (control.Status, error) {
			return control.Status{Paused: true, Roles: []control.Role{{Name: "queue", State: "up", PID: 12, Seconds: 56}}}, nil
		}),
	})
	run := func(verb string) tooltest.Result {
		return tooltest.Run(t, Programs(), "qmailctl", tooltest.Call{Args: []string{verb}, Env: []string{"POSTILION_DATA=" + data}})
	}
	for _, verb := range []string{"stop", "pause", "cont", "flush", "alrm", "doqueue", "restart", "reload", "hup", "start", "help"} {
		if r := run(verb); r.Code != 0 || r.Err != "" || r.Out == "" {
			t.Errorf("%s: %+v", verb, r)
		}
	}
	if got := strings.Join(asked, " "); got != "stop pause cont flush flush flush restart reload reload" {
		t.Errorf("asked %s", got)
	}
	if r := run("stat"); !strings.HasPrefix(r.Out, "queue: up (pid 12) 56 seconds, paused\n") {
		t.Errorf("stat: %+v", r)
	}
	if r := run("what"); r.Code != 1 || r.Err != "Usage: qmailctl {start|stop|restart|doqueue|flush|reload|stat|pause|cont|cdb|queue|help}\n" {
		t.Errorf("an unknown verb: %+v", r)
	}
}

func TestQmailctlCdbCompilesTcpSmtp(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(root+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/etc/tcp.smtp", []byte("127.:allow,RELAYCLIENT=\"\"\n:allow\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := tooltest.Run(t, Programs(), "qmailctl", tooltest.Call{Args: []string{"cdb"}, Env: []string{"POSTILION_ROOT=" + root}})
	if r.Code != 0 || r.Out != "Reloaded /etc/tcp.smtp.\n" {
		t.Errorf("got %+v", r)
	}
	if st, err := os.Stat(root + "/etc/tcp.smtp.cdb"); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
}
