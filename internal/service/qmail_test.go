package service

import (
	"bytes"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/qmailhost"
)

func TestATrialSendsNothingToOtherHosts(t *testing.T) {
	t.Parallel()
	p := &process{cfg: &config.Config{Trial: config.Trial{Enabled: true}}}
	v := p.remoteTarget(nil).Deliver(t.Context(), &deliver.Job{Recipients: []deliver.Recipient{{To: mail.ParseAddress("joe@far.example")}}})
	if len(v) != 1 || v[0].Err != nil || v[0].Text != "trial: not sent to far.example" {
		t.Errorf("%+v", v)
	}
	p.cfg.Trial.Send = true
	if p.remoteTarget(nil) != nil {
		t.Error("a trial that may send does not")
	}
}

func TestStatusTellsOfTrialAndOpenRelay(t *testing.T) {
	t.Parallel()
	c := &config.Config{Data: "/data", Qmail: "/var/qmail", Trial: config.Trial{Enabled: true}}
	c.Policy.AnyRecipient = true
	notes := strings.Join(qmailNotes(c), "\n")
	for _, want := range []string{"TRIAL: users' mail goes to /data/trial, no program of theirs is run, nothing is sent to other hosts",
		"running on the qmail in /var/qmail", "OPEN RELAY: without /var/qmail/control/rcpthosts"} {
		if !strings.Contains(notes, want) {
			t.Errorf("want %q in %q", want, notes)
		}
	}
	if len(qmailNotes(&config.Config{})) != 0 {
		t.Error("a plain server has such notes")
	}
}

func TestAChangeOfAControlFileIsSeen(t *testing.T) {
	t.Parallel()
	o := qmailhost.Options{Dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(o.Dir, "control"), 0o755); err != nil {
		t.Fatal(err)
	}
	seed := maphash.MakeSeed()
	before := treeVersion(seed, o)
	if treeVersion(seed, o) != before {
		t.Error("a change was seen where there is none")
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "control", "databytes"), []byte("1000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if treeVersion(seed, o) == before {
		t.Error("a new control file was not seen")
	}
}

func TestLinesThatDoNotCountAreLoggedUpToABound(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	n := &Node{log: slog.New(slog.NewTextHandler(&b, nil))}
	notes := []migrate.Note{{File: "/c/me", Line: 1, What: "mx", Fate: migrate.Taken}}
	for range 50 {
		notes = append(notes, migrate.Note{File: "/c/locals", Line: 2, What: "a b", Fate: migrate.NotCarried, Text: "why"})
	}
	n.tellNotes(notes)
	if got := strings.Count(b.String(), "where=/c/locals:2"); got != 20 || !strings.Contains(b.String(), "tells all of them") || strings.Contains(b.String(), "/c/me") {
		t.Errorf("%d lines:\n%s", got, b.String())
	}
}

func TestOldProgramsThatQueueElsewhereAreToldOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "qmail-qmqpc", "postilion-tools"} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	queue := filepath.Join(bin, "qmail-queue")
	for target, want := range map[string]string{"": "", "old": queue, "qmail-qmqpc": "", "postilion-tools": "", "gone": ""} {
		_ = os.Remove(queue) // of the case before
		if target != "" {
			if err := os.Symlink(target, queue); err != nil {
				t.Fatal(err)
			}
		}
		if got := oldQueue(&config.Config{Qmail: dir}); got != want {
			t.Errorf("qmail-queue leads to %q: %q, want %q", target, got, want)
		}
		if c := (&config.Config{Qmail: dir, Trial: config.Trial{Enabled: true}}); oldQueue(c) != "" {
			t.Error("a trial leaves programs to the old qmail")
		}
	}
}

// The table of control files says when a change counts; so must reloading.
func TestWhenAChangeOfAControlFileCounts(t *testing.T) {
	t.Parallel()
	for _, row := range qmailhost.Rows() {
		if row.Keys == nil {
			continue
		}
		if cold := slices.ContainsFunc(row.Keys, func(key string) bool { return !hot(key) }); cold != (row.When == qmailhost.AtStart) {
			t.Errorf("control/%s: %v need a restart: %v, but the table says %q", row.Name, row.Keys, cold, row.When)
		}
	}
}
