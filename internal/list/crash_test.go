package list

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
)

// The scenario: addresses come and go, posts are sent, bounces come back, and power is cut at any
// moment. What was acknowledged is there; nothing is half; no two posts share a number; what
// subscribers were sent is in the archive as it was sent.

// done is what was acknowledged.
type done struct {
	joined, left string
	number       uint64 // of a post that the queue took
	bounced      string
	waits        int // posts that moderators were asked about
}

func crashList(fsys fs.FS) (*Folder, error) {
	return Open(Options{
		FS: fsys, Dir: "/list", Now: func() time.Time { return at },
		Wait: func(context.Context, time.Duration) error { return errors.New("the lock is held") },
	})
}

func prepareCrashList(fsys fs.FS) error {
	for _, dir := range []string{"subscribers", "archive", "bounce", "mod", "mod/pending"} {
		if err := fsys.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"key": "k", "outlocal": "lst\n", "outhost": "mx.test\n", "archived": "", "indexed": "", "lock": "", "lockbounce": "", "num": "98:7\n",
	} {
		file, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(file, text); err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return errors.Join(fsys.SyncDir("."), fsys.SyncDir("mod"), fsys.SyncAll())
}

func crashPost(n uint64) string {
	return fmt.Sprintf("From: joe@mx.test\nSubject: post %d\n\n%s", n, strings.Repeat(fmt.Sprintf("line of post %d\n", n), 400))
}

func runCrashList(fsys fs.FS, ack func(done)) error {
	f, err := crashList(fsys)
	if err != nil {
		return err
	}
	subs, err := f.Table("")
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := range 4 {
		name := fmt.Sprintf("sub%d@far.test", i)
		if _, err := subs.Add(ctx, name, "+", ""); err != nil {
			return err
		}
		ack(done{joined: name})
	}
	if _, err := subs.Remove(ctx, "sub1@far.test", "-"); err != nil {
		return err
	}
	ack(done{left: "sub1@far.test"})
	for n := uint64(99); n < 102; n++ {
		queue := func(_ context.Context, from string, _ []string, content io.Reader) (string, error) {
			if _, err := io.Copy(io.Discard, content); err != nil {
				return "", err
			}
			if want := fmt.Sprintf("lst-return-%d-@mx.test-@[]", n); from != want {
				return "", fmt.Errorf("from %s, want %s", from, want)
			}
			ack(done{number: n})
			return "id", nil
		}
		if _, err := f.Send(ctx, Post{Content: strings.NewReader(crashPost(n)), Sender: "joe@mx.test", Queue: queue}); err != nil {
			return err
		}
		b := Bounces{List: f, PID: int(n)}
		if err := b.Return(ctx, fmt.Sprintf("%d-sub2=far.test", n), strings.NewReader("Subject: no\n\nno\n")); err != nil {
			return err
		}
		ack(done{bounced: fmt.Sprintf("   %d\n", n)})
		p := Pending{List: f, Content: strings.NewReader(crashPost(n)), Sender: "joe@mx.test", PID: int(n), Queue: discardQueue}
		if _, err := p.Store(ctx); err != nil {
			return err
		}
		ack(done{waits: int(n) - 98})
	}
	return nil
}

// discardQueue takes everything.
func discardQueue(_ context.Context, _ string, _ []string, content io.Reader) (string, error) {
	_, err := io.Copy(io.Discard, content)
	return "id", err
}

func checkCrashList(fsys fs.FS, acked []done) error {
	f, err := crashList(fsys)
	if err != nil {
		return err
	}
	subs, err := f.Table("")
	if err != nil {
		return err
	}
	left := map[string]bool{}
	for _, a := range acked {
		left[a.left] = true
	}
	count, err := f.count()
	if err != nil {
		return err
	}
	history, _ := (&Bounces{List: f}).history("sub2@far.test")
	numbers, _, err := f.read(history, maxHistory)
	if err != nil {
		return err
	}
	for _, a := range acked {
		_, on, err := subs.Find(a.joined)
		switch {
		case err != nil:
			return err
		case a.joined != "" && a.joined != "sub1@far.test" && !on: // who leaves may be gone before it is told
			return fmt.Errorf("%s is not on the list", a.joined)
		case a.number > count.messages:
			return fmt.Errorf("post %d was sent, and num is %d", a.number, count.messages)
		case !strings.Contains(string(numbers), a.bounced):
			return fmt.Errorf("the history is %q without %q", numbers, a.bounced)
		}
		if a.number > 0 {
			if err := checkArchived(f, a.number); err != nil {
				return err
			}
		}
	}
	if left["sub1@far.test"] {
		if _, on, err := subs.Find("sub1@far.test"); on || err != nil {
			return fmt.Errorf("who left is back: %v", err)
		}
	}
	if err := checkWaiting(f, acked); err != nil {
		return err
	}
	// Every file can be read to its end, whatever was cut.
	if _, err := subs.All(); err != nil {
		return err
	}
	return checkNext(f)
}

// checkWaiting reads the posts that moderators were asked about.
func checkWaiting(f *Folder, acked []done) error {
	want, have := 0, 0
	for _, a := range acked {
		want = max(want, a.waits)
	}
	files, err := f.fs.ReadDir("mod/pending")
	if err != nil {
		return err
	}
	for _, file := range files {
		if file.Name()[0] == '.' {
			continue
		}
		post, sender, err := f.openPost("mod/pending/" + file.Name())
		if err != nil {
			return err
		}
		text, err := io.ReadAll(post)
		post.Close()
		if err != nil || sender != "joe@mx.test" || len(text) < 400*len("line of post 99\n") {
			return fmt.Errorf("%s: %d bytes from %q: %v", file.Name(), len(text), sender, err)
		}
		have++
	}
	if have < want {
		return fmt.Errorf("%d posts wait for a moderator, want %d", have, want)
	}
	return nil
}

// checkArchived reads a message that was sent.
func checkArchived(f *Folder, n uint64) error {
	m, found, err := f.Message(n)
	if err != nil || !found {
		return fmt.Errorf("post %d is not in the archive: %v", n, err)
	}
	defer m.Close()
	text, err := io.ReadAll(bufio.NewReader(m))
	if _, body, _ := strings.Cut(crashPost(n), "\n\n"); err != nil || !strings.HasSuffix(string(text), body) {
		return fmt.Errorf("post %d is archived otherwise than it was sent: %v", n, err)
	}
	entries, err := f.Index(n)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Number == n && e.Subject == fmt.Sprintf("post %d", n) {
			return nil
		}
	}
	return fmt.Errorf("post %d is not in the index: %v", n, entries)
}

// checkNext sends one more post, which must get a number of its own.
func checkNext(f *Folder) error {
	before, err := f.count()
	if err != nil {
		return err
	}
	_, err = f.Send(context.Background(), Post{
		Content: strings.NewReader(crashPost(1000)), Sender: "joe@mx.test",
		Queue: func(_ context.Context, from string, _ []string, content io.Reader) (string, error) {
			if want := fmt.Sprintf("lst-return-%d-@mx.test-@[]", before.messages+1); from != want {
				return "", fmt.Errorf("from %s, want %s", from, want)
			}
			_, err := io.Copy(io.Discard, content)
			return "id", err
		},
	})
	return err
}

func crashScenario() crashfs.Scenario[done] {
	return crashfs.Scenario[done]{Seed: 7, Cuts: 600, Prepare: prepareCrashList, Run: runCrashList, Check: checkCrashList}
}

func TestWhatAListAcknowledgedSurvivesAnyCutOfPower(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, crashScenario())
}

// Without its syncs the list must be caught.
func TestTheCutsFindAListThatDoesNotSync(t *testing.T) {
	t.Parallel()
	for _, bug := range []plant.Bug{plant.NoFileSync, plant.NoDirSync, plant.SyncAfterRename} {
		s := crashScenario()
		s.Wrap = func(fsys fs.FS) fs.FS { return plant.Wrap(fsys, bug) }
		crashfs.MustFail(t, s)
	}
}
