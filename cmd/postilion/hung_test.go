package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/postilion/postilion/e2e/e2etest"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/verbs"
)

// opened returns a running server's queue and stores.
func opened(t *testing.T, s *server) (*verbs.Queue, *verbs.Stores) {
	t.Helper()
	q, err := verbs.OpenQueue(t.Context(), s.Data)
	check(t, err)
	t.Cleanup(func() { q.Close() })
	stores, err := verbs.OpenStores(t.Context(), s.Data)
	check(t, err)
	t.Cleanup(func() { stores.Close() })
	return q, stores
}

// Whatever hangs, a verb answers and names the process, with what to do.
func TestAServerThatStandsStillIsNamedByEveryVerb(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t), "--set", "process.single=true")
	pid := s.status().PID
	q, stores := opened(t, s) // these are in the middle of their work already
	e2etest.StandStill(t, pid)
	want := fmt.Sprintf("postilion: the server does not answer: process %[1]d (%[2]s) was stopped by a signal; `kill -CONT %[1]d` lets it go on. Should it answer again, it does what it was asked for\n", pid, "NAME")
	var wg sync.WaitGroup
	for what, call := range map[string]func() error{
		"queue list":   func() error { _, _, err := q.Count(t.Context(), dispatch.Filter{}); return err },
		"account list": func() error { _, err := stores.Directory.Accounts(t.Context(), ""); return err },
		"account set":  func() error { return stores.Auth.SetPassword(t.Context(), 1, "new secret") },
		"--as": func() error {
			as := verbs.As{Address: "joe@example.test", Password: "a secret"}
			s, err := verbs.OpenStoresAs(t.Context(), s.Data, as)
			if err != nil {
				return err
			}
			defer s.Close()
			_, err = s.Directory.Aliases(t.Context(), "example.test")
			return err
		},
	} {
		wg.Go(func() {
			if err := call(); !rolecall.IsHung(err) {
				t.Errorf("%s, in the middle of it: %v", what, err)
			}
		})
	}
	for _, args := range [][]string{{"status"}, {"pause", "queue"}, {"queue", "list"}} {
		wg.Go(func() {
			var out, errOut bytes.Buffer
			code := run(append(args, "--data", s.Data), strings.NewReader(""), &out, &errOut)
			said := errOut.String()
			if from, to := strings.IndexByte(said, '('), strings.IndexByte(said, ')'); from > 0 && to > from {
				said = said[:from+1] + "NAME" + said[to:] // of the test's binary
			}
			if code != exitTemporary || said != want {
				t.Errorf("%v: exit %d: %q, want %q", args, code, said, want)
			}
		})
	}
	wg.Wait()
}

// A role of its own process that stops is named, and the others' work goes on.
func TestARoleThatStandsStillIsNamedInTheMiddleOfAVerb(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: roles get processes of their own")
	}
	s := quickstart(t, dataFolder(t))
	pids := map[string]int{}
	for _, r := range s.status().Roles {
		pids[r.Name] = r.PID
	}
	q, stores := opened(t, s)
	for _, r := range []role.Role{role.Queue, role.Directory} {
		e2etest.StandStill(t, pids[string(r)])
	}
	var wg sync.WaitGroup
	for r, call := range map[role.Role]func() error{
		role.Queue:     func() error { _, _, err := q.Count(t.Context(), dispatch.Filter{}); return err },
		role.Directory: func() error { _, err := stores.Directory.Accounts(t.Context(), ""); return err },
	} {
		wg.Go(func() {
			want := fmt.Sprintf("role %[1]s does not answer: `postilion status` tells how it is, `postilion restart %[1]s` starts it anew", r)
			if err := call(); !rolecall.IsHung(err) || err.Error() != want {
				t.Errorf("%s: %v", r, err)
			}
		})
	}
	if _, err := stores.Auth.Blocked(t.Context()); err != nil {
		t.Errorf("role auth: %v", err)
	}
	wg.Wait()
}

// A selftest waits for what a role does, not for its answer.
func TestASelftestNamesARoleThatStandsStill(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: roles get processes of their own")
	}
	s := quickstart(t, dataFolder(t))
	_, stores := opened(t, s)
	for _, r := range s.status().Roles {
		if r.Name == string(role.Local) {
			e2etest.StandStill(t, r.PID)
		}
	}
	var out, errOut bytes.Buffer
	code := run([]string{"selftest", "--data", s.Data}, strings.NewReader(""), &out, &errOut)
	if want := "postilion: role local does not answer: `postilion status` tells how it is, `postilion restart local` starts it anew\n"; code != exitTemporary || errOut.String() != want {
		t.Errorf("exit %d: %q, want %q", code, errOut.String(), want)
	}
	if accounts, err := stores.Directory.Accounts(t.Context(), "example.test"); err != nil || len(accounts) != 1 {
		t.Errorf("it left its account: %d accounts, %v", len(accounts), err)
	}
}

// Nor does it wait for one that an operator has stopped.
func TestASelftestNamesRolesThatAreStopped(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: roles get processes of their own")
	}
	s := quickstart(t, dataFolder(t))
	s.status() // one that is still starting is not stopped yet
	s.Must("stop", "remote")
	s.Must("pause", "console")
	eventually(t, "one role is stopped and one paused", func() bool {
		told := s.Must("status")
		return strings.Contains(told, "stopped") && strings.Contains(told, "paused")
	})
	var out, errOut bytes.Buffer
	code := run([]string{"selftest", "--data", s.Data}, strings.NewReader(""), &out, &errOut)
	if want := "postilion: role remote is stopped: `postilion continue remote` sets it to work again\n" +
		"role console is paused: `postilion continue console` sets it to work again\n"; code == 0 || errOut.String() != want {
		t.Errorf("exit %d: %q, want %q", code, errOut.String(), want)
	}
}
