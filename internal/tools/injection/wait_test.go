package injection

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/inject"
)

// hang puts a server into the world that takes connections and says nothing, or only that it commits.
func (w *world) hang(intent string) string {
	w.t.Helper()
	socket := filepath.Join(w.dir, "hung")
	l, err := net.Listen("unix", socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	if intent != "" {
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			r := inject.NewReader(c)
			for kind := byte(0); kind != inject.FrameEnd && err == nil; {
				kind, _, err = r.Next()
			}
			c.Write(inject.IntentFrame(&inject.Intent{ID: intent}))
			r.Next() // until the program goes
		}()
	}
	w.env = append(w.env, "POSTILION_INJECT="+socket)
	return socket
}

func TestProgramsWaitForAHungServerAsLongAsTheyAreTold(t *testing.T) {
	t.Parallel()
	const wait = "POSTILION_WAIT=50ms"
	for _, tt := range []struct {
		args   []string
		env    string
		intent string
		exit   int
		want   string // of standard error, S for the socket
	}{
		{[]string{"sendmail", "--wait", "50ms", "a@b.example"}, "", "", 75, "sendmail: fatal: connection to mail server timed out (#4.4.1): the mail server does not answer on S\n"},
		{[]string{"sendmail", "--wait=50ms", "a@b.example"}, "", "", 75, "sendmail: fatal: connection to mail server timed out (#4.4.1): the mail server does not answer on S\n"},
		{[]string{"sendmail", "a@b.example"}, wait, "m1", 75, "sendmail: fatal: connection to mail server timed out (#4.4.1): the mail server does not answer on S; " +
			"whether it has taken the message is in doubt: look for m1 in its queue or log before this is sent again\n"},
		{[]string{"qmail-inject", "a@b.example"}, wait, "", 111, "qmail-inject: fatal: connection to mail server timed out (#4.4.1): the mail server does not answer on S\n"},
		{[]string{"new-inject", "a@b.example"}, wait, "", 111, "new-inject: fatal: connection to mail server timed out (#4.4.1): the mail server does not answer on S\n"},
		{[]string{"mailq", "--qmail"}, wait, "", 111, "mailq: fatal: the mail server does not answer on S\n"},
		{[]string{"sendmail", "-bp"}, wait, "", 75, "sendmail: fatal: the mail server does not answer on S\n"},
		{[]string{"sendmail", "-q"}, wait, "", 75, "sendmail: fatal: the mail server does not answer on S\n"},
		{[]string{"sendmail", "--wait", "soon", "a@b.example"}, "", "", 64, "sendmail: fatal: --wait: want a duration such as 30s or 5m\n"},
		{[]string{"sendmail", "--wait"}, "", "", 64, "sendmail: fatal: --wait: want a duration such as 30s or 5m\n"},
	} {
		t.Run(strings.Join(tt.args, " ")+tt.intent, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			socket := w.hang(tt.intent)
			w.env = append(w.env, tt.env)
			exit := w.run("Subject: x\n\nbody\n", tt.args...)
			if want := strings.ReplaceAll(tt.want, " S", " "+socket); exit != tt.exit || w.errs.String() != want {
				t.Errorf("exit %d: %q, want %d: %q", exit, w.errs.String(), tt.exit, want)
			}
		})
	}
}

func TestAWaitThatCannotBeReadStopsNoMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = append(w.env, "POSTILION_WAIT=0")
	if code := w.run("x: y\n\n", "sendmail", "a@b.example"); code != 0 || w.one().to[0] != "a@b.example" ||
		w.errs.String() != "sendmail: warning: POSTILION_WAIT: want a duration such as 30s or 5m; 1m0s is taken\n" {
		t.Errorf("exit %d: %s", code, w.errs.String())
	}
	if inject.DefaultTimeout != time.Minute {
		t.Error("docs/injection.md says a minute")
	}
}
