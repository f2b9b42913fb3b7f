package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/route"
)

// longWay counts what goes the long way.
type longWay struct {
	deliver.Target
	jobs int
}

func (l *longWay) Deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	l.jobs++
	return l.Target.Deliver(ctx, job)
}

// holding knows what is held.
type holding struct {
	runas.Service
	mu   sync.Mutex
	held []*runas.Held
}

func (h *holding) Hold(ctx context.Context, u runas.User, q runas.Search) (*runas.Held, error) {
	held, err := h.Service.Hold(ctx, u, q)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.held = append(h.held, held)
	}
	return held, err
}

// standing is a home whose files may stand at once, a Shortcut before its Target, and what counts the long way.
func standing(t *testing.T, files map[string]string) (*home, *local.Shortcut, *longWay) {
	t.Helper()
	return standingAfter(t, 1, files)
}

func standingAfter(t *testing.T, settle time.Duration, files map[string]string) (*home, *local.Shortcut, *longWay) {
	t.Helper()
	h, _ := realHome(t, local.Options{Settle: settle}, runas.Options{}, false, files)
	users, err := runas.NewHere(runas.Options{})
	if err != nil {
		t.Fatal(err)
	}
	long := &longWay{Target: h.Target}
	s := local.NewShortcutToExpire(long, users)
	t.Cleanup(func() { s.Close(); users.Close() })
	return h, s, long
}

// past waits until the file system's clock has left the time of the last change.
func past(t *testing.T, h *home) {
	t.Helper()
	changed := time.Time{}
	filepath.Walk(h.dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && changedAt(info).After(changed) {
			changed = changedAt(info)
		}
		return nil
	})
	for probe := filepath.Join(t.TempDir(), "probe"); ; {
		if err := os.WriteFile(probe, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(probe); err != nil || changedAt(info).After(changed) {
			return
		}
	}
}

func changedAt(info os.FileInfo) time.Time {
	return time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())
}

func (h *home) edit(name, content string) {
	h.t.Helper()
	h.write(name, content)
	if err := os.Lchown(filepath.Join(h.dir, name), int(h.uid), int(h.uid)); err != nil {
		h.t.Fatal(err)
	}
}

// through delivers and words the verdict with what is sent on.
func through(t *testing.T, s *local.Shortcut, job *deliver.Job) string {
	t.Helper()
	v := s.Deliver(t.Context(), job)[0]
	s.Settle()
	if v.Forward == nil {
		return said(v)
	}
	return fmt.Sprint(said(v), v.Forward.From, v.Forward.To)
}

func TestAForwardIsLookedForTwiceAndThenStands(t *testing.T) {
	t.Parallel()
	h, s, long := standing(t, map[string]string{
		".qmail-x":    "# where I am now\n&a@b.test\nc@d.test\n",
		".qmail-list": "&a@b.test\n", ".qmail-list-owner": "", ".qmail-list-owner-default": "",
		".qmail-one": "&a@b.test\n", ".qmail-one-owner": "",
	})
	past(t, h)
	for _, ext := range []string{"x", "list", "one"} {
		want := h.Target.Deliver(t.Context(), h.to(ext, letter))
		want[0].Forward.Standing = nil
		long.jobs = 0
		for n, jobs := range []int{1, 2, 2, 2, 2} {
			have := s.Deliver(t.Context(), h.to(ext, letter))
			s.Settle()
			have[0].Forward.Standing = nil
			if diff := cmp.Diff(want, have); diff != "" || long.jobs != jobs {
				t.Errorf("%s, message %d: %d went the long way, want %d\n%s", ext, n+1, long.jobs, jobs, diff)
			}
		}
		// Another sender is another matter (qmail reference 9.6).
		h.sent = mail.Address{}
		want = h.Target.Deliver(t.Context(), h.to(ext, letter))
		want[0].Forward.Standing = nil
		if diff := cmp.Diff(want, s.Deliver(t.Context(), h.to(ext, letter))); diff != "" || long.jobs != 2 {
			t.Errorf("%s, without a sender: %d went the long way\n%s", ext, long.jobs, diff)
		}
		h.sent = mail.Address{Local: "sender", Domain: "a.test"}
	}
}

func TestWhatIsChangedCountsAtTheNextMessage(t *testing.T) {
	t.Parallel()
	const as = "Kdid 0+1+0\nsender@a.test [a@b.test]"
	for what, c := range map[string]struct {
		change func(h *home) error
		want   string
	}{
		"edited, of the same size": {func(h *home) error { h.edit(".qmail-default", "&x@b.test\n"); return nil }, "Kdid 0+1+0\nsender@a.test [x@b.test]"},
		"one more line":            {func(h *home) error { h.edit(".qmail-default", "&a@b.test\n|exit 99\n"); return nil }, "Kdid 0+1+1\nsender@a.test [a@b.test]"},
		"another file in its place": {func(h *home) error {
			h.edit(".new", "&x@b.test\n")
			return os.Rename(filepath.Join(h.dir, ".new"), filepath.Join(h.dir, ".qmail-default"))
		}, "Kdid 0+1+0\nsender@a.test [x@b.test]"},
		"a file that goes before": {func(h *home) error { h.edit(".qmail-x", "&x@b.test\n"); return nil }, "Kdid 0+1+0\nsender@a.test [x@b.test]"},
		"an owner":                {func(h *home) error { h.edit(".qmail-x-owner", ""); return nil }, "Kdid 0+1+0\nNAME-x-owner@mx.test [a@b.test]"},
		"removed":                 {func(h *home) error { return os.Remove(filepath.Join(h.dir, ".qmail-default")) }, "DSorry, no mailbox here by that name. (#5.1.1)\n"},
		"others may write it":     {func(h *home) error { return os.Chmod(filepath.Join(h.dir, ".qmail-default"), 0o602) }, "ZUh-oh: .qmail file is writable. (#4.7.0)\n"},
		"its user may not read it": {func(h *home) error { return os.Chmod(filepath.Join(h.dir, ".qmail-default"), 0) },
			"ZUnable to open .qmail-default: access denied. (#4.3.0)\n"},
		"others may write there":  {func(h *home) error { return os.Chmod(h.dir, 0o702) }, "ZUh-oh: home directory is writable. (#4.7.0)\n"},
		"a sticky home":           {func(h *home) error { return os.Chmod(h.dir, 0o700|os.ModeSticky) }, "ZHome directory is sticky: user is editing his .qmail file. (#4.2.1)\n"},
		"the first line is blank": {func(h *home) error { h.edit(".qmail-default", "\n&a@b.test\n"); return nil }, "ZUh-oh: first line of .qmail file is blank. (#4.2.1)\n"},
		"comments alone":          {func(h *home) error { h.edit(".qmail-default", "#a@b.test\n"); return nil }, "Kdid 0+0+0\n"},
		"nothing":                 {nil, as},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, s, long := standing(t, map[string]string{".qmail-default": "&a@b.test\n"})
			past(t, h)
			for range 3 {
				if have := through(t, s, h.to("x", letter)); have != as {
					t.Fatalf("before: %q", have)
				}
			}
			if long.jobs != 2 {
				t.Fatalf("%d of 3 went the long way", long.jobs)
			}
			want := 2
			if c.change != nil {
				want++
				if err := c.change(h); err != nil {
					t.Fatal(err)
				}
			}
			if have := through(t, s, h.to("x", letter)); have != strings.ReplaceAll(c.want, "NAME", h.name) || long.jobs != want {
				t.Errorf("have %q, want %q; %d went the long way", have, c.want, long.jobs)
			}
		})
	}
}

// In one step of a file system's clock a file may change, be read, and change again, and look the same.
func TestWhatWasChangedAMomentAgoDoesNotStand(t *testing.T) {
	t.Parallel()
	h, s, long := standingAfter(t, 0, map[string]string{".qmail-x": "&0@b.test\n"})
	for n := range 10 {
		h.edit(".qmail-x", fmt.Sprintf("&%d@b.test\n", n))
		for range 3 {
			if have, want := through(t, s, h.to("x", letter)), fmt.Sprintf("Kdid 0+1+0\nsender@a.test [%d@b.test]", n); have != want {
				t.Fatalf("have %q, want %q", have, want)
			}
		}
	}
	if long.jobs != 30 {
		t.Errorf("%d of 30 went the long way", long.jobs)
	}
}

func TestOnlyWhatSendsOnAndNothingElseStands(t *testing.T) {
	t.Parallel()
	h, s, long := standing(t, map[string]string{
		".qmail-box": "&a@b.test\n./Mailbox\n", ".qmail-prog": "|true\n&a@b.test\n", ".qmail-none": "# nobody\n", ".qmail-empty": "",
		".qmail-many": strings.Repeat("&a@b.test\n", 200),
	})
	if err := os.Symlink(".qmail-box", filepath.Join(h.dir, ".qmail-link")); err != nil {
		t.Fatal(err)
	}
	past(t, h)
	for n, ext := range []string{"box", "prog", "none", "empty", "many", "link", "absent"} {
		long.jobs = 0
		for range 4 {
			through(t, s, h.to(ext, letter))
		}
		if long.jobs != 4 {
			t.Errorf("%d: %d of 4 messages for %s went the long way", n, long.jobs, ext)
		}
	}
	// Nor what is nobody's file, or for several.
	h.edit(".qmail-x", "&a@b.test\n")
	past(t, h)
	for range 3 {
		through(t, s, h.to("x", letter))
	}
	long.jobs = 0
	several := h.to("x", letter)
	several.Recipients = append(several.Recipients, several.Recipients[0])
	alias, nobody := h.to("x", letter), h.to("x", letter)
	alias.Recipients[0].User.Instructions = []route.Instruction{{Line: "&other@b.test", Where: "aliases:1"}}
	nobody.Recipients[0].User.Local = ""
	for n, job := range []*deliver.Job{several, alias, nobody} {
		if s.Deliver(t.Context(), job); long.jobs != n+1 {
			t.Errorf("%d: it did not go the long way", n)
		}
	}
}

func TestAMessageThatMayNotBeSentOnGoesTheLongWay(t *testing.T) {
	t.Parallel()
	h, s, long := standing(t, map[string]string{".qmail-x": "&a@b.test\n"})
	past(t, h)
	for range 3 {
		through(t, s, h.to("x", letter))
	}
	line := h.to("x", "").Recipients[0].User.DeliveredTo()
	unreadable := h.to("x", letter)
	unreadable.Body = func() (io.ReadCloser, error) { return nil, errors.New("the disk is gone") }
	for n, c := range []struct {
		job  *deliver.Job
		want string
	}{
		{h.to("x", line+"\n"+letter), "DThis message is looping"},
		{h.to("x", strings.Repeat("Received: by a\n", 101)+letter), "Dtoo many hops"},
		{unreadable, "ZUnable to read message"},
	} {
		if have := through(t, s, c.job); !strings.HasPrefix(have, c.want) || long.jobs != n+3 {
			t.Errorf("have %q, want %q; %d went the long way", have, c.want, long.jobs)
		}
		// What a message is refused for says nothing about the file, but it is looked at again.
		for range 2 {
			through(t, s, h.to("x", letter))
		}
		long.jobs = n + 3
	}
}

func TestWhatStandsIsLookedForAgainAndGivenUp(t *testing.T) {
	t.Parallel()
	h, _, long := standing(t, map[string]string{".qmail-default": "&a@b.test\n"})
	here, err := runas.NewHere(runas.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	users := &holding{Service: here}
	s := local.NewShortcutToExpire(long, users)
	past(t, h)
	for range 3 {
		through(t, s, h.to("x", letter))
	}
	s.Expire()
	for range 3 { // one looks, and keeps what is held
		through(t, s, h.to("x", letter))
	}
	if long.jobs != 3 {
		t.Errorf("%d went the long way, want 3", long.jobs)
	}
	if n := s.Sweep(); n != 1 {
		t.Errorf("%d addresses are kept", n)
	}
	s.Expire()
	if n := s.Sweep(); n != 0 {
		t.Errorf("%d addresses are kept that nobody wrote to", n)
	}
	for n := range 2 * local.MaxStanding {
		for range 2 {
			through(t, s, h.to(fmt.Sprint("x", n), letter))
		}
	}
	if n := s.Sweep(); n != local.MaxStanding {
		t.Errorf("%d addresses stand, want %d", n, local.MaxStanding)
	}
	s.Close()
	through(t, s, h.to("x", letter))
	if n := s.Sweep(); n != 0 || long.jobs <= 4*local.MaxStanding {
		t.Errorf("after the end %d stand, %d went the long way", n, long.jobs)
	}
	users.mu.Lock()
	defer users.mu.Unlock()
	if len(users.held) != 1+2*local.MaxStanding {
		t.Errorf("%d files were held, want %d", len(users.held), 1+2*local.MaxStanding)
	}
	for _, f := range users.held {
		if f.Same() {
			t.Error("a file is held that nobody needs")
		}
	}
}

// The system tells of a write through a mapping when the page is first written to, not at each store.
func TestAFileThatIsChangedInMemoryCountsWhenItIsLookedForAgain(t *testing.T) {
	t.Parallel()
	h, s, _ := standing(t, map[string]string{".qmail-x": "&a@b.test\n"})
	f, err := os.OpenFile(filepath.Join(h.dir, ".qmail-x"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, err := syscall.Mmap(int(f.Fd()), 0, len("&a@b.test\n"), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Skip("no mapping: ", err)
	}
	defer syscall.Munmap(page)
	page[1] = 'a' // from now on nothing is told
	past(t, h)
	for range 3 {
		through(t, s, h.to("x", letter))
	}
	page[1] = 'z'
	s.Expire()
	for range 3 {
		if have, want := through(t, s, h.to("x", letter)), "Kdid 0+1+0\nsender@a.test [z@b.test]"; have != want {
			t.Errorf("have %q, want %q", have, want)
		}
	}
}
