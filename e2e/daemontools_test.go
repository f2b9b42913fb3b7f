package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// daemontools of the distribution run this server, write its log, and see and command it.

// original finds a program of the distribution.
func original(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("skipped: %s is missing: install the package %s", name, pkg)
	}
	return path
}

// output runs a program and returns what it says on both descriptors.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// scan starts svscan on a folder of services and ends it, with them, after the test.
func scan(t *testing.T, folder string) {
	t.Helper()
	cmd := exec.Command(original(t, "svscan", "daemontools"), folder)
	// A test run that is killed leaves nothing behind but supervises, whose services end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill() // first, so that it starts nothing anew
		cmd.Wait()
		for _, pattern := range []string{"*", "*/log"} {
			found, _ := filepath.Glob(filepath.Join(folder, pattern))
			exec.Command("svc", append([]string{"-dx"}, found...)...).Run()
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if syscall.Kill(-cmd.Process.Pid, 0) != nil { // nobody of its group is left
				return
			}
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
}

// service makes the folder of a service and its log. It is sticky: the first svscan starts logs of
// such folders only, the distribution's starts them wherever there is a folder log.
func service(t *testing.T, folder, run string) string {
	t.Helper()
	dir := filepath.Join(folder, "mail")
	check(t, os.MkdirAll(filepath.Join(dir, "log"), 0o755),
		os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"+run+"\n"), 0o755),
		os.WriteFile(filepath.Join(dir, "log/run"), []byte("#!/bin/sh\nexec multilog t ./main\n"), 0o755),
		os.Chmod(dir, 0o755|os.ModeSticky))
	return dir
}

// supervise starts this server, its multilog writes our log, our programs read what theirs wrote
// and theirs what ours wrote, and their svc stops and starts us. Vector 45: svscan starts the log of
// a sticky folder.
func TestVector45SvscanRunsUsWithOurLog(t *testing.T) {
	t.Parallel()
	svstat, svc := original(t, "svstat", "daemontools"), original(t, "svc", "daemontools")
	s := newServer(t, setup{single: true, config: map[string]string{"log.format": `"qmail"`}})
	s.Stop()
	folder := newFolder(t)
	mail := service(t, folder, fmt.Sprintf("exec %s serve --data %s 2>&1", s.Bin, s.Data))
	scan(t, folder)

	answers := func() bool {
		c, err := dialSMTP(s.Addr["smtp"])
		if err == nil {
			c.Quit()
		}
		return err == nil
	}
	eventually(t, "a greeting", answers)
	for _, program := range [][]string{{svstat}, {tools(t), "svstat"}} {
		said := output(t, program[0], append(program[1:], mail)...)
		if !strings.HasPrefix(said, mail+": up (pid ") {
			t.Errorf("%q says %q", program, said)
		}
	}

	// What the log tells has multilog's stamps, which our tai64nlocal reads as theirs does.
	check(t, s.Send("you@far.example", s.Account, letter("supervised")))
	current := filepath.Join(mail, "log/main/current")
	var log []byte
	eventually(t, "the delivery in multilog's file", func() bool {
		log, _ = os.ReadFile(current)
		return strings.Contains(string(log), "delivery 1: success")
	})
	local := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(string(log))
		out, err := cmd.Output()
		check(t, err)
		return string(out)
	}
	if ours, theirs := local(tools(t), "tai64nlocal"), local(original(t, "tai64nlocal", "daemontools")); ours != theirs || strings.HasPrefix(ours, "@") {
		t.Errorf("ours %q, theirs %q", ours, theirs)
	}

	// Their svc stops us, and ours starts us again.
	output(t, svc, "-d", mail)
	eventually(t, "the end by svc -d", func() bool { return !answers() && strings.Contains(output(t, tools(t), "svstat", mail), ": down ") })
	output(t, tools(t), "svc", "-u", mail)
	eventually(t, "a greeting again", answers)
	first := output(t, svstat, mail)
	output(t, svc, "-t", mail)
	eventually(t, "another process after svc -t", func() bool {
		now := output(t, svstat, mail)
		return strings.Contains(now, ": up (pid ") && pidIn(now) != pidIn(first) && answers()
	})
	output(t, svc, "-d", mail) // before the folders go
	eventually(t, "the end", func() bool { return strings.Contains(output(t, svstat, mail), ": down ") })
}

// pidIn is the pid that svstat tells.
func pidIn(said string) string {
	_, rest, _ := strings.Cut(said, "(pid ")
	pid, _, _ := strings.Cut(rest, ")")
	return pid
}

// Vector 43: a `*` of multilog's patterns does not match past the next literal character. Our log in
// qmail's lines is sorted by them as qmail's is.
func TestVector43MultilogSortsOurLog(t *testing.T) {
	t.Parallel()
	multilog := original(t, "multilog", "daemontools")
	s := newServer(t, setup{single: true, config: map[string]string{"log.format": `"qmail"`, "log.to": `"file"`}})
	check(t, s.Send("you@far.example", s.Account, letter("sorted")))
	path := filepath.Join(s.Data, "log/postilion.log")
	eventually(t, "the delivery in the log", func() bool {
		log, _ := os.ReadFile(path)
		return strings.Contains(string(log), "end msg")
	})
	s.Stop()
	log, err := os.ReadFile(path)
	check(t, err)
	var lines []string
	for line := range strings.Lines(string(log)) {
		_, line, _ = strings.Cut(line, " ") // multilog's patterns see lines without their stamps
		lines = append(lines, line)
	}
	for pattern, want := range map[string]string{
		"+delivery *: success: *": "delivery 1: success: ",
		"+status: local *":        "status: local ",
		"+*y 1: success: *":       "delivery 1: success: ",
		"+*s: *":                  "", // "*" ends at the first "s" of "success", which no ":" follows
	} {
		dir := filepath.Join(newFolder(t), "out")
		cmd := exec.Command(multilog, "-*", pattern, dir)
		cmd.Stdin = strings.NewReader(strings.Join(lines, ""))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		chosen, err := os.ReadFile(filepath.Join(dir, "current"))
		check(t, err)
		var rest []string
		for line := range strings.Lines(string(chosen)) {
			if want == "" || !strings.HasPrefix(line, want) {
				rest = append(rest, line)
			}
		}
		if want != "" && len(chosen) == 0 || len(rest) > 0 || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("%s chose %q of %q", pattern, chosen, lines)
		}
	}
}

// Vector 41: tcpserver logs the raw wait status: of a session that ended well 0, of a usage error
// (exit 100, as the family has it) 25600.
func TestVector41TcpserverLogsHowWeEnded(t *testing.T) {
	t.Parallel()
	tcpserver := original(t, "tcpserver", "ucspi-tcp")
	s := newServer(t, setup{single: true})
	for _, c := range []struct {
		program []string
		want    string
	}{
		{[]string{s.Bin, "smtpd", "--data", s.Data}, " status 0\n"},
		{[]string{tools(t), "recordio"}, " status 25600\n"}, // recordio without a program is a wrong use
	} {
		var log e2etest.Log
		addr := freeAddr(t)
		host, port, _ := strings.Cut(addr, ":")
		cmd := exec.Command(tcpserver, append([]string{"-v", "-R", "-H", "-l0", host, port}, c.program...)...)
		cmd.Stderr = &log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		check(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		eventually(t, "tcpserver listens", func() bool { return strings.Contains(log.String(), "status: 0/") })
		if x, err := dialSMTP(addr); err == nil {
			x.Quit()
		}
		eventually(t, fmt.Sprintf("%q in the log of %q", c.want, c.program), func() bool { return strings.Contains(log.String(), c.want) })
	}
}
