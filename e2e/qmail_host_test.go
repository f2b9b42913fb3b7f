package e2e

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postilion/postilion/e2e/e2etest"
)

//go:embed testdata/qmailhost/tree.txtar
var qmailTree []byte

//go:embed testdata/qmailhost/deliveries.txt
var qmailDeliveries string

// qmailUsers are the users of the tree, by name: numbers that no system gives to others, so that
// nobody has to be added to the host's passwd.
var qmailUsers = map[string]int{"joe": 61101, "jane": 61102, "lists": 61103, "open": 61104, "sticky": 61105, "alias": 61106}

// qmailHost is a server on a qmail's files.
type qmailHost struct {
	*server
	root string
	sink *e2etest.Sink
}

// newQmailHost lays the recorded tree out, with more files, and serves it. keys are of postilion.toml.
func newQmailHost(t *testing.T, single bool, more map[string]string, keys map[string]string) *qmailHost {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: a host's users need root")
	}
	h := &qmailHost{root: newFolder(t), sink: newSink(t)}
	_, port, err := net.SplitHostPort(h.sink.Addr)
	check(t, err)
	h.layOut(t, strings.NewReplacer("ROOT", h.root, "PORT", port), more)
	h.server = bare(t, "", "")
	h.Addr = map[string]string{}
	all := map[string]string{
		"qmail": strconv.Quote(h.root + "/var/qmail"), "qmail_root": strconv.Quote(h.root), "route.passwd": strconv.Quote(h.root + "/etc/passwd"),
		"dns.server": strconv.Quote(freeAddr(t)), "dns.timeout": `"200ms"`, "floors.refuse_load": "-1", "process.queue_load": "-1",
		"process.single": strconv.FormatBool(single), "log.to": `"file"`,
	}
	for _, name := range []string{"smtp", "metrics"} {
		h.Addr[name] = freeAddr(t)
		all[name+".listen"] = fmt.Sprintf("[%q]", h.Addr[name])
	}
	maps.Copy(all, keys)
	check(t, os.WriteFile(filepath.Join(h.Data, "postilion.toml"), tomlOf(all), 0o644))
	return h
}

// layOut writes the tree and gives each file to its user.
func (h *qmailHost) layOut(t *testing.T, names *strings.Replacer, more map[string]string) {
	t.Helper()
	archive := txtar.Parse(qmailTree)
	for name, content := range more {
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(content)})
	}
	for _, f := range archive.Files {
		path := filepath.Join(h.root, f.Name)
		if folder, ok := strings.CutSuffix(f.Name, "/new/."); ok {
			for _, sub := range []string{"tmp", "new", "cur"} {
				check(t, os.MkdirAll(filepath.Join(h.root, folder, sub), 0o755))
			}
			continue
		}
		check(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(names.Replace(string(f.Data))), 0o644))
	}
	passwd := ""
	for name, uid := range qmailUsers {
		home := filepath.Join(h.root, "home", name)
		if name == "alias" {
			home = filepath.Join(h.root, "var/qmail/alias")
		}
		check(t, os.MkdirAll(home, 0o755), filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, uid, uid)
		}))
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, uid, uid, home)
	}
	check(t, os.MkdirAll(filepath.Join(h.root, "etc"), 0o755), os.WriteFile(filepath.Join(h.root, "etc/passwd"), []byte(passwd), 0o644),
		os.Chmod(filepath.Join(h.root, "home/open"), 0o777), os.Chmod(filepath.Join(h.root, "home/sticky"), 0o755|fs.ModeSticky))
	_, err := h.tool(t, "qmail-newu")
	check(t, err)
}

// tool runs one of the small programs on the host; what is fed is its input.
func (h *qmailHost) tool(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	return h.feed(t, "", name, args...)
}

func (h *qmailHost) feed(t testing.TB, in, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(tools(t), append([]string{name}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	cmd.Env = append(os.Environ(), "POSTILION_QMAIL="+h.root+"/var/qmail")
	if h.server != nil {
		cmd.Env = append(cmd.Env, "POSTILION_DATA="+h.Data)
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", name, err, errOut.String())
	}
	return out.String(), nil
}

// qmailCase is a line of the table.
type qmailCase struct {
	line     int
	from, to string
	want     []string
}

func qmailCases(t *testing.T) (list []qmailCase) {
	t.Helper()
	n := 0
	for line := range strings.Lines(qmailDeliveries) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		who, what, ok := strings.Cut(line, ": ")
		f := strings.Fields(who)
		if !ok || len(f) != 2 {
			t.Fatalf("deliveries.txt:%d: %q", n, line)
		}
		c := qmailCase{line: n, from: f[0], to: f[1], want: strings.Split(what, "; ")}
		if slices.Sort(c.want); slices.Equal(c.want, []string{"nothing"}) {
			c.want = nil
		}
		list = append(list, c)
	}
	return list
}

// subject marks the message of a case.
func (c *qmailCase) subject() string { return fmt.Sprintf("case-%d-of-the-table.", c.line) }

// found tells where the message with a subject is: files, and what the next hop got.
func (h *qmailHost) found(t *testing.T, subject string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(h.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it was renamed meanwhile
		}
		content, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(content, []byte(subject)) {
			return nil
		}
		name := strings.TrimPrefix(path, h.root+"/")
		switch dir := filepath.Dir(name); {
		case filepath.Base(dir) == "tmp":
		case filepath.Base(dir) == "new":
			list = append(list, "maildir "+filepath.Dir(dir))
		case bytes.HasPrefix(content, []byte("From ")) && !strings.HasPrefix(filepath.Base(name), "ran-"):
			list = append(list, "mbox "+name)
		default:
			list = append(list, "file "+name)
		}
		return nil
	})
	check(t, err)
	for _, m := range h.sink.All() {
		if !bytes.Contains(m.Content, []byte(subject)) {
			continue
		}
		from := m.From
		if from == "" {
			from = "<>"
		}
		for _, to := range m.To {
			list = append(list, "sent "+to+" from "+from)
		}
	}
	slices.Sort(list)
	return list
}

// waiting lists the queue's messages as text.
func (h *qmailHost) waiting(t *testing.T) string {
	t.Helper()
	out, err := h.Run("queue", "list", "--json")
	check(t, err)
	return out
}

// A qmail host's tree is served as it stands: what the recorded table says becomes of each message.
func TestAQmailHostIsServedAsItStands(t *testing.T) {
	for name, single := range map[string]bool{"apart": false, "single": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newQmailHost(t, single, nil, nil)
			h.serve()
			h.checkTable(t)
		})
	}
}

// checkTable sends the table's messages and waits for what becomes of each.
func (h *qmailHost) checkTable(t *testing.T) {
	t.Helper()
	cases := qmailCases(t)
	for i := range cases {
		h.sendCase(t, &cases[i])
	}
	for _, c := range cases {
		h.checkCase(t, &c)
	}
}

// sendCase hands a case's message in over SMTP.
func (h *qmailHost) sendCase(t *testing.T, c *qmailCase) {
	t.Helper()
	content := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nHello.\r\n", c.from, c.to, c.subject())
	err := h.Send(c.from, c.to, []byte(content))
	want, refused := strings.CutPrefix(strings.Join(c.want, "; "), "refused ")
	switch {
	case refused && (err == nil || strconv.Itoa(code(err)) != want):
		t.Errorf("deliveries.txt:%d: %s: %v, want a refusal with %s", c.line, c.to, err, want)
	case !refused && err != nil:
		t.Errorf("deliveries.txt:%d: %s: %v", c.line, c.to, err)
	}
}

// checkCase waits until the message is where it belongs.
func (h *qmailHost) checkCase(t *testing.T, c *qmailCase) {
	t.Helper()
	want := c.want
	if len(want) == 1 && strings.HasPrefix(want[0], "refused") {
		return
	}
	waits := slices.Equal(want, []string{"waits"})
	if waits {
		want = nil
	}
	end := time.Now().Add(patience)
	for {
		have := h.found(t, c.subject())
		queued := strings.Contains(h.waiting(t), c.to)
		if cmp.Equal(want, have) && queued == waits {
			return
		}
		if time.Now().After(end) {
			t.Errorf("deliveries.txt:%d: %s -> %s (-want +have):\n%s\nin the queue: %v, want %v", c.line, c.from, c.to, cmp.Diff(want, have), queued, waits)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// The environment of a .qmail program is table 7's (qmail reference 9.2).
func TestProgramsOfAQmailHostSeeTheirDelivery(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, nil, nil)
	h.serve()
	check(t, h.Send("you@far.example", "Info.X@virt.example", letter("env")))
	want := "you@far.example|joe-vv-Info.X@virt.example|joe-vv-Info.X|virt.example|vv-Info.X|Info.X|Info.X"
	h.eventually(t, func() string {
		have, _ := os.ReadFile(filepath.Join(h.root, "home/joe/ran-env"))
		if string(have) == want {
			return ""
		}
		return fmt.Sprintf("the environment is %q, want %q", have, want)
	})
	info, err := os.Stat(filepath.Join(h.root, "home/joe/ran-env"))
	check(t, err)
	if uid := ownerOf(info); uid != qmailUsers["joe"] {
		t.Errorf("the program ran as uid %d", uid)
	}
}

// eventually waits until f has nothing to complain of.
func (h *qmailHost) eventually(t *testing.T, f func() string) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		complaint := f()
		if complaint == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(complaint)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Mail of the host's own programs takes the same ways.
func TestProgramsHandMailInOnAQmailHost(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, nil, nil)
	h.serve()
	_, err := h.feed(t, "To: joe\nSubject: by-inject.\n\nHello.\n", "qmail-inject", "-f", "me@example.test")
	check(t, err)
	_, err = h.feed(t, "Subject: by-sendmail.\n\nHello.\n", "sendmail", "-f", "me@example.test", "jane@example.test")
	check(t, err)
	for subject, want := range map[string][]string{
		"by-inject.":   {"maildir home/joe/Maildir"},
		"by-sendmail.": {"maildir home/jane/Maildir", "sent jane@far.example from me@example.test"},
	} {
		h.eventually(t, func() string { return cmp.Diff(want, h.found(t, subject)) })
	}
}

// Files changed by hand count without any restart.
func TestAQmailHostsFilesAreReadAgainWhenTheyChange(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, nil, nil)
	h.serve()
	if err := h.Send("you@far.example", "joe@new.example", letter("x")); code(err) != 553 {
		t.Fatalf("before: %v", err)
	}
	control := filepath.Join(h.root, "var/qmail/control")
	check(t, appendTo(filepath.Join(control, "rcpthosts"), "new.example\n"), appendTo(filepath.Join(control, "locals"), "new.example\n"))
	h.eventually(t, func() string {
		if err := h.Send("you@far.example", "joe@new.example", letter("new-domain.")); err != nil {
			return err.Error()
		}
		return ""
	})
	h.eventually(t, func() string {
		if have := h.found(t, "new-domain."); !slices.Contains(have, "maildir home/joe/Maildir") {
			return fmt.Sprint(have)
		}
		return ""
	})
	// Of what is read by nobody but the configuration, the server notices the change by itself.
	check(t, os.WriteFile(filepath.Join(control, "databytes"), []byte("100\n"), 0o644))
	h.eventually(t, func() string {
		if err := h.Send("you@far.example", "joe@example.test", append(letter("large"), bytes.Repeat([]byte("x\r\n"), 100)...)); code(err) != 552 {
			return fmt.Sprintf("databytes does not count: %v", err)
		}
		return ""
	})
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// A trial takes mail and touches nothing.
func TestATrialTouchesNothingOfTheOldSystem(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, false, nil, map[string]string{"trial.enabled": "true", "trial.ports_offset": "1"})
	host, port, _ := net.SplitHostPort(h.Addr["smtp"])
	n, _ := strconv.Atoi(port)
	h.Addr["smtp"] = net.JoinHostPort(host, strconv.Itoa(n+1))
	before := treeOf(t, h.root)
	h.serve()
	for _, to := range []string{"joe@example.test", "jane@example.test", "joe-mbox@example.test", "Info@virt.example", "joe-three@example.test"} {
		check(t, h.Send("you@far.example", to, letter("in-a-trial.")))
	}
	h.eventually(t, func() string {
		for _, pattern := range []string{"trial/joe/home/Maildir/new/*", "trial/jane/home/Maildir/new/*", "trial/joe/home/Mailbox"} {
			if found, _ := filepath.Glob(filepath.Join(h.Data, pattern)); found == nil {
				return "nothing is in " + pattern
			}
		}
		if q := h.waiting(t); strings.Contains(q, "example") {
			return "the queue holds " + q
		}
		return ""
	})
	if diff := cmp.Diff(before, treeOf(t, h.root)); diff != "" {
		t.Errorf("the old system's files changed:\n%s", diff)
	}
	if got := h.sink.All(); len(got) != 0 {
		t.Errorf("the next hop got %d messages", len(got))
	}
	if status := h.Must("status"); !strings.Contains(status, "TRIAL: ") {
		t.Errorf("status does not tell of the trial:\n%s", status)
	}
}

// treeOf describes every file below a folder.
func treeOf(t *testing.T, root string) (list []string) {
	t.Helper()
	check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		list = append(list, fmt.Sprint(strings.TrimPrefix(path, root), info.Mode(), info.Size(), info.ModTime(), ownerOf(info)))
		return nil
	}))
	return list
}

// linkTools makes links of the small programs' names in a folder.
func linkTools(t *testing.T, folder string, names ...string) {
	t.Helper()
	for _, name := range names {
		check(t, os.Symlink(tools(t), filepath.Join(folder, name)))
	}
}

// The log in qmail's own lines has the right sums when qmailanalog's programs add it up.
func TestALogInQmailsLinesAddsUp(t *testing.T) {
	t.Parallel()
	h := newQmailHost(t, true, nil, map[string]string{"log.to": `"file"`, "log.format": `"qmail"`})
	h.serve()
	for _, to := range []string{"joe@example.test", "jane@example.test", "joe-three@example.test", "joe-fwd@example.test", "joe-fail@example.test"} {
		check(t, h.Send("you@far.example", to, letter("counted.")))
	}
	// Sent on: jane, copy, friend, and the bounce of joe-fail: four messages more.
	var log []byte
	h.eventually(t, func() (missing string) {
		if n := len(h.sink.All()); n != 4 {
			return fmt.Sprintf("the next hop has %d messages, want 4", n)
		}
		var err error
		log, err = os.ReadFile(filepath.Join(h.Data, "log/postilion.log"))
		check(t, err)
		if n := bytes.Count(log, []byte(" end msg ")); n != 9 {
			return fmt.Sprintf("the log tells of the end of %d messages, want 9", n)
		}
		return ""
	})
	h.Stop()
	// matchup hands what is not complete yet on to its next run, on descriptor 5.
	matchup := exec.Command("sh", "-c", `exec "$0" matchup 5>/dev/null`, tools(t))
	matchup.Stdin = bytes.NewReader(log)
	out, err := matchup.Output()
	check(t, err)
	joined := string(out)
	sums, err := h.feed(t, joined, "zoverall")
	check(t, err)
	for _, want := range []string{"Completed messages: 9", "Total delivery attempts: 9", "success: 8", "failure: 1", "deferral: 0"} {
		if !strings.Contains(strings.Join(strings.Fields(sums), " "), want) {
			t.Errorf("want %q in\n%s\nof\n%s\nof\n%s", want, sums, joined, log)
		}
	}
}
