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

	"github.com/google/go-cmp/cmp"
)

// What changes on a served qmail host while it runs: its files, its rules, its programs.

// Vector 19: HUP has locals and virtualdomains read again. Here it is not even needed.
func TestVector19HUPTakesLocalsAndVirtualdomains(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, false, nil, nil)
	h.serve()
	control := filepath.Join(h.root, "var/qmail/control")
	check(t, appendTo(filepath.Join(control, "rcpthosts"), "late.example\nlater.example\n"),
		appendTo(filepath.Join(control, "locals"), "late.example\n"), appendTo(filepath.Join(control, "virtualdomains"), "later.example:joe-vv\n"))
	h.Signal(syscall.SIGHUP)
	for to, want := range map[string]string{"jane@late.example": "maildir home/jane/Maildir", "x@later.example": "file home/joe/ran-vv"} {
		h.eventually(t, func() string {
			if err := h.Send("you@far.example", to, letter("after-HUP-"+to+".")); err != nil {
				return err.Error()
			}
			return ""
		})
		h.eventually(t, func() string {
			if have := h.found(t, "after-HUP-"+to+"."); !slices.Contains(have, want) {
				return fmt.Sprintf("%s: %q, want %q", to, have, want)
			}
			return ""
		})
	}
}

// Vector 2: without control/rcpthosts any recipient is taken, as with qmail; log and status say so.
func TestVector2WithoutRcpthostsAnyRecipientIsTakenAndItIsTold(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, nil, nil)
	check(t, os.Remove(filepath.Join(h.root, "var/qmail/control/rcpthosts")))
	h.serve()
	check(t, h.Send("you@far.example", "anybody@elsewhere.example", letter("relayed.")))
	h.eventually(t, func() string {
		return cmp.Diff([]string{"sent anybody@elsewhere.example from you@far.example"}, h.found(t, "relayed."))
	})
	if status := h.Must("status"); !strings.Contains(status, "OPEN RELAY") {
		t.Errorf("status does not tell of the open relay:\n%s", status)
	}
}

// After the switch the programs of the old system's names hand their mail to this server; after the
// switch back they are the old ones.
func TestProgramsOfTheOldNamesFollowTheSwitch(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, map[string]string{"var/qmail/bin/qmail-inject": "old\n", "var/qmail/bin/house-filter": "#!/bin/sh\necho the house\n", "usr/sbin/sendmail": "old\n"}, nil)
	check(t, os.Chmod(filepath.Join(h.root, "var/qmail/bin/house-filter"), 0o755))
	h.serve()
	h.Must("switch", "over", "--root", h.root, "--old-qmail", "/var/qmail", "--programs", tools(t), "--yes")
	for _, program := range []string{"var/qmail/bin/qmail-inject", "usr/sbin/sendmail"} {
		subject := "by-" + filepath.Base(program) + "-of-the-old-name."
		cmd := exec.Command(filepath.Join(h.root, program), "joe@example.test")
		cmd.Env = append(os.Environ(), "POSTILION_DATA="+h.Data)
		cmd.Stdin = strings.NewReader("Subject: " + subject + "\n\nHello.\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
		h.eventually(t, func() string { return cmp.Diff([]string{"maildir home/joe/Maildir"}, h.found(t, subject)) })
	}
	out, err := exec.Command(filepath.Join(h.root, "var/qmail/bin/house-filter")).Output()
	if err != nil || string(out) != "the house\n" {
		t.Errorf("a program of the house's own says %q, %v", out, err)
	}
	h.Must("switch", "back")
	for _, program := range []string{"var/qmail/bin/qmail-inject", "usr/sbin/sendmail"} {
		if content, err := os.ReadFile(filepath.Join(h.root, program)); err != nil || string(content) != "old\n" {
			t.Errorf("%s is %q after the switch back (%v)", program, content, err)
		}
	}
}

// /etc/tcp.smtp decides about clients, in text and as `qmailctl cdb` compiles it, and a change counts.
func TestClientRulesOfAQmailHostCount(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, map[string]string{"etc/tcp.smtp": "127.:allow,RELAYCLIENT=\"\"\n:allow\n"}, nil)
	h.serve()
	check(t, h.Send("joe@example.test", "far@elsewhere.example", letter("by-rule.")))
	h.eventually(t, func() string {
		return cmp.Diff([]string{"sent far@elsewhere.example from joe@example.test"}, h.found(t, "by-rule."))
	})
	rules := filepath.Join(h.root, "etc/tcp.smtp")
	check(t, os.WriteFile(rules, []byte(":allow\n"), 0o644))
	refused := func() string {
		if err := h.Send("joe@example.test", "far@elsewhere.example", letter("x")); code(err) != 553 {
			return fmt.Sprintf("a client without RELAYCLIENT: %v", err)
		}
		return ""
	}
	h.eventually(t, refused)
	// Once compiled, the cdb is what counts, as for tcpserver.
	_, err := h.feed(t, "127.:allow,RELAYCLIENT=\"\"\n", "tcprules", rules+".cdb", rules+".tmp")
	check(t, err)
	h.eventually(t, func() string {
		if err := h.Send("joe@example.test", "far@elsewhere.example", letter("by-cdb.")); err != nil {
			return err.Error()
		}
		return ""
	})
	check(t, os.WriteFile(rules, []byte("127.:allow,RELAYCLIENT=\"@fix.example\"\n"), 0o644))
	h.eventually(t, func() string {
		if have := h.found(t, "by-cdb."); !slices.Contains(have, "sent far@elsewhere.example from joe@example.test") {
			return fmt.Sprint(have)
		}
		return ""
	})
}

// qmail-send's ALRM (qmail reference 7.7): svc -a on the service has all that waits tried now.
func TestALRMTriesWhatWaits(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, map[string]string{"home/joe/.qmail-later": "|echo >> tries; exit 111\n"}, nil)
	h.serve()
	tries := func() int {
		b, _ := os.ReadFile(filepath.Join(h.root, "home/joe/tries"))
		return len(b)
	}
	check(t, h.Send("you@far.example", "joe-later@example.test", letter("later")))
	h.deferred(1)
	if n := tries(); n != 1 {
		t.Errorf("it was tried %d times", n)
	}
	h.Signal(syscall.SIGALRM)
	eventually(t, "another try", func() bool { return tries() == 2 })
}
