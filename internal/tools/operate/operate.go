// Package operate holds the programs by which an operator of a qmail host looks at the queue and
// runs the server: qmail-qread, qmail-qstat, qmail-tcpto, qmail-tcpok and qmailctl (qmail
// reference 11.6, 13, 26). They ask the running server; without one they say so and exit 111.
package operate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/tools/injection"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "qmail-qread", Short: "list the queue's messages and their recipients", Run: injection.Qread},
		{Name: "qmail-qstat", Short: "count the queue's messages", Run: qstat},
		{Name: "qmail-tcpto", Short: "list other hosts' addresses that time out", Run: tcpto},
		{Name: "qmail-tcpok", Short: "forget which addresses time out", Run: tcpok},
		{Name: "qmailctl", Short: "start, stop and look at the server, as Life with qmail has it", Run: qmailctl},
	}
}

// qstat counts messages. There is none that is not yet preprocessed: what is queued is routed at
// once.
func qstat(ctx context.Context, e *tool.Env) int {
	n := 0
	a, err := injection.Queue(ctx, e, func(*injection.Waiting) { n++ })
	switch {
	case err != nil:
		return e.Fatal(tool.Temporary, err)
	case !a.OK():
		return e.Fatal(tool.Temporary, a.Text)
	}
	_, err = fmt.Fprintf(e.Out(), "messages in queue: %d\nmessages in queue but not yet preprocessed: 0\n", n)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}

// none is a request or an answer without content.
type none struct{}

// answerTime is how long the server may take to answer.
const answerTime = 30 * time.Second

// dataFolder is the server's, as inject.Locate finds its socket.
func dataFolder(e *tool.Env) string {
	if d := e.Getenv(inject.DataVariable); d != "" {
		return e.Path(d)
	}
	return e.Getenv(inject.RootVariable) + "/var/lib/postilion"
}

// ask calls a method of one of the server's sockets.
func ask[Req, Resp any](ctx context.Context, e *tool.Env, socket, method string, req Req) (Resp, error) {
	cl := control.Client(dataFolder(e), socket)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return rpc.Do[Req, Resp](ctx, cl, method, req)
}

// The role that connects to other hosts, and what it is asked: seam.MethodDead and MethodForget,
// whose package is too heavy for here.
const (
	remoteSocket = "remote-admin"
	methodDead   = "remote.dead"
	methodForget = "remote.forget"
)

// dead is an address that timed out lately: remote.Dead.
type dead struct {
	Addr     netip.Addr `json:"address"`
	TimedOut time.Time  `json:"timed_out"`
	Count    int        `json:"timeouts"`
}

func tcpto(ctx context.Context, e *tool.Env) int {
	list, err := ask[none, []dead](ctx, e, remoteSocket, methodDead, none{})
	if err != nil {
		return unreachable(e, err)
	}
	for _, d := range list {
		if d.Count > 0 {
			fmt.Fprintf(e.Out(), "%s timed out %d seconds ago; # recent timeouts: %d\n",
				d.Addr, max(0, e.Time().Unix()-d.TimedOut.Unix()), d.Count)
		}
	}
	return tool.OK
}

func tcpok(ctx context.Context, e *tool.Env) int {
	if _, err := ask[none, none](ctx, e, remoteSocket, methodForget, none{}); err != nil {
		return unreachable(e, err)
	}
	return tool.OK
}

// unreachable says that the server did not do what was asked.
func unreachable(e *tool.Env, err error) int {
	if errors.Is(err, context.DeadlineExceeded) {
		return e.Fatal(tool.Temporary, "the server does not answer")
	}
	return e.Fatal(tool.Temporary, err)
}
