package pop3d

import (
	"context"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestTranscripts plays the dialogues of testdata: "C: " the client says (Go escapes),
// "S: " the server answers ("*" stands for anything); "option NAME=VALUE" and "from ADDR:PORT"
// stand before. The files below are laid into the mail folder first; "want" lists what
// the mailbox holds afterwards.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			playTranscript(t, path)
		})
	}
}

func playTranscript(t *testing.T, path string) {
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Plaintext: true}
	from := loopbackClient
	var dialogue []string
	for l := range strings.Lines(string(a.Comment)) {
		l = strings.TrimSuffix(l, "\n")
		switch {
		case strings.HasPrefix(l, "option "):
			setOption(t, &o, l[7:])
		case strings.HasPrefix(l, "from "):
			from = l[5:]
		case strings.HasPrefix(l, "C:"), strings.HasPrefix(l, "S:"):
			dialogue = append(dialogue, l)
		case l != "" && l[0] != '#':
			t.Fatalf("%s: line %q", path, l)
		}
	}
	files, want, checked := map[string]string{}, "", false
	for _, f := range a.Files {
		if f.Name == "want" {
			want, checked = string(f.Data), true
			continue
		}
		files[f.Name] = string(f.Data)
	}
	w := newWorld(t, o)
	w.put(t, files)
	c := w.dial(t, context.Background(), from)
	for i, l := range dialogue {
		side, what := l[:2], strings.TrimPrefix(l[2:], " ")
		if side == "C:" {
			c.send(unescape(t, what))
			continue
		}
		if got := c.line(); !glob(what, got) {
			t.Fatalf("%s, step %d: server says %q, want %q", path, i+1, got, what)
		}
	}
	c.Close()
	<-c.done
	if checked {
		if diff := cmp.Diff(strings.Fields(want), w.names(t)); diff != "" {
			t.Error(diff)
		}
	}
	if held := w.Holders.Holders(); len(held) > 0 {
		t.Errorf("the mailbox is still held: %v", held)
	}
}

func setOption(t *testing.T, o *Options, set string) {
	name, value, _ := strings.Cut(set, "=")
	n, _ := strconv.Atoi(value)
	d, _ := time.ParseDuration(value)
	switch name {
	case "apop":
		o.APOP = true
	case "login_delay":
		o.LoginDelay = d
	case "error_limit":
		o.ErrorLimit = n
	case "login_limit":
		o.LoginLimit = n
	case "uidl":
		o.UIDL = value
	case "language":
		o.Language = value
	default:
		t.Fatalf("option %q", name)
	}
}

func unescape(t *testing.T, s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	u, err := strconv.Unquote(`"` + s + `"`)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return u
}

func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(s)
}
