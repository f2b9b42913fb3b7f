package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// The recorded tree of a qmail host once more, with every delivery made by the programs that users of
// qmail hosts deliver with, as the distribution has them: what becomes of each message is the same.
//
// The server runs in a mount namespace whose /etc knows the tree's users and whose /usr/sbin/sendmail
// hands mail to it: to its programs these are users of the system, and nothing is left of them.

// filter is a program that delivers for users.
type filter struct {
	name string
	// line is the .qmail line that runs it on a file of instructions.
	line string
	// write turns instructions of a .qmail file into the program's.
	write func([]instruction) string
	// more are files of the host for its default delivery.
	more map[string]string
	mode os.FileMode // of its instructions
}

// instruction is one delivery line of a .qmail file.
type instruction struct {
	kind byte // '/' a Maildir, '.' an mbox, '&' a forward, '|' a program, 'x' an exit code
	arg  string
}

// filters are procmail and maildrop, which carry out all of a user's instructions.
var filters = []filter{
	{
		// procmail clears its environment and knows another DEFAULT: what it needs of the delivery is handed over.
		name: "procmail", line: `|preline procmail FROM="${NEWSENDER:-$SENDER}" PART="$DEFAULT" ./%s`, write: procmailRules, mode: 0o644,
		more: map[string]string{"etc/procmailrc": "SITE=known\n", "home/joe/.procmailrc": "MAILDIR=$HOME\n:0\n* SITE ?? known\nMaildir/\n"},
	},
	{
		name: "maildrop", line: `|PART="$DEFAULT" maildrop ./%s`, write: maildropRules, mode: 0o600,
		more: map[string]string{"etc/maildroprc": "SITE=\"known\"\n", "home/joe/.mailfilter": "if ($SITE eq \"known\")\n{\n  to \"Maildir\"\n}\n"},
	},
}

// filtered rewrites the tree's .qmail files, so that a program carries out what they say.
func (f filter) filtered(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{"var/qmail/control/defaultdelivery": "|preline " + f.name + "\n"}
	rewritten := 0
	for _, file := range txtar.Parse(qmailTree).Files {
		base := filepath.Base(file.Name)
		if !strings.HasPrefix(base, ".qmail") {
			continue
		}
		rules, rest := instructionsOf(string(file.Data))
		if rules == nil {
			continue // empty, a comment, or wrong: the file itself is what counts
		}
		own := "." + f.name + strings.TrimPrefix(base, ".qmail")
		files[file.Name] = fmt.Sprintf(f.line, own) + "\n" + rest
		files[filepath.Join(filepath.Dir(file.Name), own)] = f.write(rules)
		rewritten++
	}
	if rewritten < 20 {
		t.Fatalf("only %d files of the tree were given to %s", rewritten, f.name)
	}
	return files
}

// instructionsOf reads a .qmail file. What follows a line that ends the file stays in it.
func instructionsOf(text string) (rules []instruction, rest string) {
	if strings.HasPrefix(text, "\n") {
		return nil, ""
	}
	lines := strings.SplitAfter(strings.ReplaceAll(text, "$DEFAULT", "$PART"), "\n")
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '&':
			rules = append(rules, instruction{'&', line[1:]})
		case line[0] == '|':
			if _, code, ends := strings.Cut(line, "exit "); ends {
				return append(rules, instruction{'x', code}), strings.Join(lines[i+1:], "")
			}
			rules = append(rules, instruction{'|', line[1:]})
		case strings.HasSuffix(line, "/"):
			rules = append(rules, instruction{'/', line})
		default:
			rules = append(rules, instruction{'.', line})
		}
	}
	return rules, ""
}

// procmailRules are those of a .procmailrc: recipes with the flag c go on after a delivery.
func procmailRules(rules []instruction) string {
	b := bytes.NewBufferString("MAILDIR=$HOME\nSENDMAILFLAGS=\"-oi -f $FROM\"\n")
	for i, r := range rules {
		flag := "c"
		if i == len(rules)-1 {
			flag = ""
		}
		switch r.kind {
		case 'x':
			fmt.Fprintf(b, "EXITCODE=%s\n:0\n/dev/null\n", r.arg)
		case '&':
			fmt.Fprintf(b, ":0 %s\n! %s\n", flag, r.arg)
		case '|':
			fmt.Fprintf(b, ":0 w%s\n| %s\n", flag, r.arg)
		case '.':
			fmt.Fprintf(b, ":0 %s:\n%s\n", flag, r.arg)
		default:
			fmt.Fprintf(b, ":0 %s\n%s\n", flag, r.arg)
		}
	}
	return b.String()
}

// maildropRules are those of a .mailfilter: cc goes on after a delivery, to does not. Its own "!" sends
// on from <>, whatever the sender was; qmail's forward keeps the sender, or takes the list's owner.
func maildropRules(rules []instruction) string {
	b := bytes.NewBufferString("PATH=\"/usr/sbin:/usr/bin:/bin\"\n")
	for i, r := range rules {
		verb := "cc"
		if i == len(rules)-1 {
			verb = "to"
		}
		switch arg := strings.ReplaceAll(r.arg, `"`, `\"`); r.kind {
		case 'x':
			fmt.Fprintf(b, "EXITCODE=%s\nexit\n", r.arg)
		case '&':
			fmt.Fprintf(b, "%s \"| forward %s\"\n", verb, arg)
		case '|':
			fmt.Fprintf(b, "%s \"| %s\"\n", verb, arg)
		default:
			fmt.Fprintf(b, "%s \"%s\"\n", verb, arg)
		}
	}
	return b.String()
}

// newProgramsHost is the tree's host with more files, seen by its programs as a system of its own.
// keys are of postilion.toml.
func newProgramsHost(t *testing.T, more map[string]string, keys map[string]string) *qmailHost {
	t.Helper()
	needRoot(t)
	needProgram(t, "unshare", "mount")
	all := map[string]string{"local.program_path": `"/usr/sbin:/usr/bin:/bin"`}
	maps.Copy(all, keys)
	h := newQmailHost(t, false, more, all)
	etc, sbin := filepath.Join(newFolder(t), "etc"), newFolder(t)
	output(t, "cp", "-a", "/etc", etc)
	passwd, err := os.ReadFile(filepath.Join(h.root, "etc/passwd"))
	check(t, err)
	var group []byte
	for name, uid := range qmailUsers {
		group = fmt.Appendf(group, "%s:x:%d:\n", name, uid)
	}
	check(t, appendTo(filepath.Join(etc, "passwd"), string(passwd)), appendTo(filepath.Join(etc, "group"), string(group)),
		os.MkdirAll(filepath.Join(etc, "postilion"), 0o755),
		os.WriteFile(filepath.Join(etc, "postilion/inject"), []byte(filepath.Join(h.Data, "run/inject.sock")+"\n"), 0o644))
	for _, name := range []string{"procmailrc", "maildroprc"} {
		check(t, os.RemoveAll(filepath.Join(etc, name)))
		if text, given := more["etc/"+name]; given {
			check(t, os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644))
		}
	}
	linkTools(t, sbin, "preline", "sendmail", "forward")
	h.Wrap = []string{"unshare", "--mount", "--propagation", "private", "sh", "-ec",
		// Other tests' disks are not held here.
		`grep ^/dev/loop /proc/mounts | while read -r dev at rest; do umount -l "$at"; done
		mount --bind "$1" /etc; mount --bind "$2" /usr/sbin; shift 2; exec "$@"`, "sh", etc, sbin}
	if out, err := h.wrapped("true"); err != nil {
		t.Skipf("skipped: no mount namespace can be made here: %s", out)
	}
	return h
}

// The expected deliveries of the recorded tree come out the same when procmail or maildrop makes each
// of them: of users, extensions, virtual domains, lists and aliases, and as default delivery.
func TestRealProgramsDeliverOnAQmailHost(t *testing.T) {
	t.Parallel()
	for _, f := range filters {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			needProgram(t, f.name)
			more := f.filtered(t)
			maps.Copy(more, f.more)
			h := newProgramsHost(t, more, nil)
			h.private(t, f)
			h.serve()
			h.checkTable(t)
		})
	}
}

// The word of A4 in postilion.toml has the program deliver what no .qmail file speaks of, too.
func TestDefaultDeliveryByTheNameOfAProgram(t *testing.T) {
	t.Parallel()
	for _, f := range filters {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			needProgram(t, f.name)
			h := newProgramsHost(t, f.more, map[string]string{"local.default_delivery": strconv.Quote(f.name)})
			h.private(t, f)
			h.serve()
			for _, to := range []string{"joe@example.test", "joe-empty@example.test"} {
				check(t, h.Send("you@far.example", to, letter("by-"+f.name+"-for-"+to+".")))
				h.eventually(t, func() string {
					return cmp.Diff([]string{"maildir home/joe/Maildir"}, h.found(t, "by-"+f.name+"-for-"+to+"."))
				})
			}
		})
	}
}

// private gives a program's instructions the mode that it wants them to have.
func (h *qmailHost) private(t *testing.T, f filter) {
	t.Helper()
	for _, pattern := range []string{"home/*/.", "var/qmail/alias/."} {
		for _, prefix := range []string{f.name, "mailfilter"} {
			found, err := filepath.Glob(filepath.Join(h.root, pattern+prefix+"*"))
			check(t, err)
			for _, path := range found {
				check(t, os.Chmod(path, f.mode))
			}
		}
	}
}

// vacation answers for users who are away, and the tree's deliveries stay as they are. Each sender
// is told once, by whichever of the user's addresses was written to, and bounces and lists never.
func TestVacationAnswersOncePerSenderOnAQmailHost(t *testing.T) {
	t.Parallel()
	needProgram(t, "vacation")
	more := map[string]string{}
	for _, file := range txtar.Parse(qmailTree).Files {
		user, isHome := strings.CutPrefix(filepath.Dir(file.Name), "home/")
		if rules, _ := instructionsOf(string(file.Data)); isHome && strings.HasPrefix(filepath.Base(file.Name), ".qmail") && rules != nil {
			more[file.Name] = "|preline vacation -j " + user + "\n" + string(file.Data)
		}
	}
	away := []string{"joe", "jane", "lists"}
	for _, user := range away {
		more["home/"+user+"/.vacation.msg"] = "Subject: away\nX-Who: " + user + "\n\nI am away.\n"
	}
	more["var/qmail/control/defaultdelivery"] = "|preline vacation -j \"$USER\"\n./Maildir/\n"
	// One at a time: two vacations at once may both look before either notes the sender.
	h := newProgramsHost(t, more, map[string]string{"dispatch.local_parallel": "1"})
	h.serve()
	h.checkTable(t)
	answers := func(to string) (list []string) {
		for _, m := range h.sink.All() {
			if bytes.Contains(m.Content, []byte("X-Who: ")) && slices.Equal(m.To, []string{to}) {
				list = append(list, field(bytes.ReplaceAll(m.Content, []byte("\r\n"), []byte("\n")), "X-Who"))
			}
		}
		slices.Sort(list)
		return list
	}
	want := []string{"jane", "joe", "lists"}
	h.eventually(t, func() string { return cmp.Diff(want, answers("you@far.example")) })
	// A second sender, a list, a bounce: one answer more, and joe's database knows both.
	for _, m := range [][2]string{{"second@far.example", ""}, {"list@far.example", "Precedence: list\r\n"}, {"", ""}, {"second@far.example", ""}} {
		check(t, h.Send(m[0], "joe@example.test", append([]byte(m[1]), letter("once-more.")...)))
	}
	h.eventually(t, func() string {
		n := 0
		for _, where := range h.found(t, "once-more.") {
			if where == "maildir home/joe/Maildir" {
				n++
			}
		}
		return cmp.Diff(4, n)
	})
	h.eventually(t, func() string { return cmp.Diff([]string{"joe"}, answers("second@far.example")) })
	if got := answers("you@far.example"); !slices.Equal(got, want) || answers("list@far.example") != nil {
		t.Errorf("you@far.example has answers of %q, list@far.example of %q", got, answers("list@far.example"))
	}
	known, err := h.wrapped("setpriv", "--reuid", strconv.Itoa(qmailUsers["joe"]), "--clear-groups", "env", "HOME="+filepath.Join(h.root, "home/joe"), "vacation", "-l")
	if err != nil || !strings.Contains(known, "you@far.example") || !strings.Contains(known, "second@far.example") {
		t.Errorf("joe's database tells %q, %v", known, err)
	}
}
