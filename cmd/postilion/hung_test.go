package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever hangs, a verb answers and names the process, with what to do.
func TestAServerThatStandsStillIsNamedByEveryVerb(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t), "--set", "process.single=true")
	pid := s.status().PID
	syscall.Kill(pid, syscall.SIGSTOP)
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
	// Its threads go on until each has seen the signal.
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("postilion: the server does not answer: process %[1]d (%[2]s) was stopped by a signal; `kill -CONT %[1]d` lets it go on. Should it answer again, it does what it was asked for\n", pid, "NAME")
	var wg sync.WaitGroup
	for _, args := range [][]string{{"status"}, {"pause", "queue"}, {"queue", "list"}} {
		wg.Go(func() {
			var out, errOut bytes.Buffer
			code := run(append(args, "--data", s.data), strings.NewReader(""), &out, &errOut)
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
