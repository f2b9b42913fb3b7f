package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/postilion/postilion/e2e/e2etest"
)

// listHost is a qmail host with a mailing list, club@lists.example.test, in the home of a user.
type listHost struct {
	*qmailHost
	bin, dir string
	back     atomic.Bool // back@dead.example takes mail again
}

// newListHost makes the list as its owner would: by ezmlm-make, under the owner's uid.
func newListHost(t *testing.T) *listHost {
	t.Helper()
	h := &listHost{qmailHost: newQmailHost(t, false, nil, nil)}
	h.sink.Rcpt = func(to string) error {
		if to == "gone@dead.example" || to == "back@dead.example" && !h.back.Load() {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		}
		return nil
	}
	h.bin, h.dir = newFolder(t), filepath.Join(h.root, "home/lists/club")
	names, err := exec.Command(tools(t), "--list").Output()
	check(t, err)
	for line := range strings.Lines(string(names)) {
		name, _, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(name, "ezmlm-") {
			continue
		}
		// The programs find a server that is not in its usual place by a variable.
		script := fmt.Sprintf("#!/bin/sh\nPOSTILION_DATA=%s exec %s %s \"$@\"\n", h.Data, tools(t), name)
		check(t, os.WriteFile(filepath.Join(h.bin, name), []byte(script), 0o755))
	}
	h.serve()
	h.owner(t, "ezmlm-make", h.dir, h.dir+"/../.qmail-club", "club", "lists.example.test")
	return h
}

// owner runs a program as the list's owner.
func (h *listHost) owner(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(h.bin, name), args...)
	cmd.Dir = h.root
	cmd.Env = []string{"PATH=" + h.bin + ":/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61103, Gid: 61103}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// got waits for a message for somebody with a subject, and returns it.
func (h *listHost) got(t *testing.T, to, subject string) (m e2etest.Sunk) {
	t.Helper()
	h.eventually(t, func() string {
		for _, s := range h.sink.All() {
			if len(s.To) == 1 && s.To[0] == to && headerOf(s.Content, "Subject") == subject {
				m = s
				return ""
			}
		}
		return fmt.Sprintf("%s has no %q", to, subject)
	})
	return m
}

func headerOf(message []byte, name string) string {
	for line := range strings.Lines(string(message)) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	return ""
}

// holds waits until so many files below bounce/ fulfil a condition.
func (h *listHost) holds(t *testing.T, want int, what string, cond func(name, content string) bool) {
	t.Helper()
	h.eventually(t, func() string {
		have := 0
		err := filepath.WalkDir(filepath.Join(h.dir, "bounce"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // it is gone meanwhile
			}
			if content, err := os.ReadFile(path); err == nil && cond(d.Name(), string(content)) {
				have++
			}
			return nil
		})
		if err == nil && have == want {
			return ""
		}
		return fmt.Sprintf("%d of %d: %s: %v", have, want, what, err)
	})
}

func (h *listHost) toList(t *testing.T, from, to, subject string) {
	t.Helper()
	content := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nHello.\r\n", from, to, subject)
	check(t, h.Send(from, to, []byte(content)))
}

// A list's whole life on a server: somebody subscribes by mail and confirms; posts reach subscribers
// from senders of their own; what comes back is counted, warned about, probed; who is gone for good
// leaves the list, and who is back stays on it and learns which messages were missed.
func TestAListLivesOnAServer(t *testing.T) {
	t.Parallel()
	h := newListHost(t)
	const list = "club@lists.example.test"
	h.toList(t, "bob@far.example", "club-subscribe@lists.example.test", "let me in")
	ask := h.got(t, "bob@far.example", "confirm subscribe to "+list)
	if ask.From != "club-return-@lists.example.test" {
		t.Errorf("the confirmation is from %q", ask.From)
	}
	if members := h.owner(t, "ezmlm-list", h.dir); members != "" {
		t.Errorf("on the list before confirming: %q", members)
	}
	h.toList(t, "bob@far.example", headerOf(ask.Content, "Reply-To"), "Re: confirm")
	h.got(t, "bob@far.example", "WELCOME to "+list)
	h.owner(t, "ezmlm-sub", h.dir, "gone@dead.example", "back@dead.example")

	for n, subject := range []string{"First post", "Second post"} {
		h.toList(t, "bob@far.example", list, subject)
		m := h.got(t, "bob@far.example", subject)
		if want := fmt.Sprintf("club-return-%d-bob=far.example@lists.example.test", n+1); m.From != want {
			t.Errorf("post %d came from %s, want %s", n+1, m.From, want)
		}
		if got := headerOf(m.Content, "Mailing-List"); got != "contact club-help@lists.example.test; run by ezmlm" {
			t.Errorf("Mailing-List: %q", got)
		}
	}
	h.holds(t, 2, "address that missed both posts", func(name, content string) bool {
		return name[0] == 'h' && (content == "   1\n   2\n" || content == "   2\n   1\n")
	})

	h.back.Store(true)
	h.owner(t, "ezmlm-warn", "-t", "0", h.dir)
	warning := h.got(t, "back@dead.example", "Warning from "+list)
	if text := strings.ReplaceAll(string(warning.Content), "\r", ""); !strings.Contains(text, "\n   1\n") || !strings.Contains(text, "\n   2\n") || !strings.Contains(text, "no such user") && !strings.Contains(text, "failure notice") {
		t.Errorf("the warning:\n%s", text)
	}
	h.holds(t, 1, "bounce of the warning", func(name, content string) bool {
		return name[0] == 'w' && strings.HasPrefix(content, "gone@dead.example\x00")
	})
	h.owner(t, "ezmlm-warn", "-t", "0", h.dir)
	h.eventually(t, func() string {
		members := strings.Fields(h.owner(t, "ezmlm-list", h.dir))
		if len(members) == 2 && strings.Contains(strings.Join(members, " "), "back@dead.example") && strings.Contains(strings.Join(members, " "), "bob@far.example") {
			return ""
		}
		return fmt.Sprintf("on the list: %q", members)
	})
	h.eventually(t, func() string { // its line follows the change
		log, err := os.ReadFile(filepath.Join(h.dir, "Log"))
		if err == nil && strings.HasSuffix(string(log), " -probe gone@dead.example\n") {
			return ""
		}
		return fmt.Sprintf("the log is %q, %v", log, err)
	})
	h.toList(t, "bob@far.example", "club-get.1_2@lists.example.test", "x")
	if m := h.got(t, "bob@far.example", "club Result of: get.1_2"); !strings.Contains(string(m.Content), "First post") || !strings.Contains(string(m.Content), "Second post") {
		t.Errorf("out of the archive:\n%s", m.Content)
	}
}
