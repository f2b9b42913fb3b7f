package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// What a crash may do to mail for users of the system, whose .qmail files hold all kinds of lines: nothing
// acknowledged is lost, and what is repeated is repeated by a window of docs/durability.md.

const (
	userDomain = "users.test"
	userUID    = 61120
)

// userFiles are the user's. Programs get the message at least once, so this one makes what it did durable itself.
var userFiles = map[string]string{
	".qmail":         "./Maildir/\n",
	".qmail-mbox":    "./Mailbox\n",
	".qmail-program": programLine,
	".qmail-forward": "&far@sink.example\n",
	".qmail-all":     programLine + "./Mailbox\n./Maildir/\n&far@sink.example\n",
	"Mailbox":        "",
	"ran":            "",
}

const programLine = `|id=$(sed -n '/^X-Parcel: /{s/^X-Parcel: \([^ ]*\) .*/\1/p;q;}') && [ -n "$id" ] && ` +
	`echo "$id $(date +%s)" | dd of=ran oflag=append conv=notrunc,fsync 2>/dev/null` + "\n"

// userWays are what is to become of mail to an extension.
var userWays = map[string][]string{
	"": {"Maildir"}, "-mbox": {"mbox"}, "-program": {"program"}, "-forward": {"forward"}, "-all": {"program", "mbox", "Maildir", "forward"},
}

// userLoad is a load of mail for one user.
type userLoad struct {
	*load
	home string

	// What was read from the mailboxes and taken away, so that the disk does not fill; see tidy.
	came   arrivals
	names  map[string]string // of messages in the Maildir, with the parcel
	pieces int
	before userTally // of parcels that were forgotten
}

// newUserServer serves a user whose home is in dir.
func newUserServer(t *testing.T, dir, data string) *userLoad {
	needRoot(t)
	needProgram(t, "sed", "dd")
	home, passwd := filepath.Join(dir, "joe"), filepath.Join(newFolder(t), "passwd")
	for _, sub := range []string{"tmp", "new", "cur"} {
		check(t, os.MkdirAll(filepath.Join(home, "Maildir", sub), 0o700))
	}
	for name, text := range userFiles {
		check(t, os.WriteFile(filepath.Join(home, name), []byte(text), 0o600))
	}
	check(t, os.Chmod(home, 0o755), filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, userUID, userUID))
	}), os.WriteFile(passwd, fmt.Appendf(nil, "joe:x:%d:%d::%s:/bin/sh\n", userUID, userUID, home), 0o644))
	k := newSink(t)
	config := loadConfig(k)
	config["route.system_users"] = "true"
	config["route.locals"] = fmt.Sprintf("[%q]", userDomain)
	config["route.passwd"] = strconv.Quote(passwd)
	s := newServer(t, setup{dir: data, config: config})
	u := &userLoad{load: &load{s: s, k: k, as: map[string]ack{}}, home: home, came: arrivals{}, names: map[string]string{}, before: newUserTally()}
	u.choose = func(n int) (string, []string) {
		return "sender@else.example", []string{"joe" + []string{"", "-mbox", "-program", "-forward", "-all", "", "-mbox", "-forward"}[n%8] + "@" + userDomain}
	}
	return u
}

// userTally counts what became of the acknowledged messages, by way.
type userTally struct {
	acked, lost, twice, unexplained map[string]int
	pieces                          int // of messages in the mbox, each where a cut came amid an append
	examples                        []delivery
}

func (c *userTally) allLost() (n int) {
	for _, lost := range c.lost {
		n += lost
	}
	return n
}

// arrivals are the times at which each parcel came by each way; a zero time is not known.
type arrivals map[string]map[string][]time.Time

func (a arrivals) add(way, id string, at time.Time) {
	if a[way] == nil {
		a[way] = map[string][]time.Time{}
	}
	a[way][id] = append(a[way][id], at)
}

func newUserTally() userTally {
	return userTally{acked: map[string]int{}, lost: map[string]int{}, twice: map[string]int{}, unexplained: map[string]int{}}
}

// tally counts what came, what was taken away among it.
func (u *userLoad) tally() (userTally, error) {
	came := u.came.copy()
	pieces, err := u.mbox(came)
	err = errors.Join(err, u.maildir(came, maps.Clone(u.names)), u.program(came), u.forwards(came, u.k.All()))
	c := newUserTally()
	c.pieces = u.pieces + pieces
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.acked {
		for _, way := range ways(a) {
			c.acked[way]++
			if len(came[way][a.id]) == 0 {
				c.lost[way]++
				c.examples = append(c.examples, delivery{a.id, way})
			}
		}
	}
	for way, parcels := range came {
		for _, times := range parcels {
			slices.SortFunc(times, time.Time.Compare)
			for i := 1; i < len(times); i++ {
				c.twice[way]++
				// Two of the ways know seconds only.
				if !u.witnessed(times[i-1], times[i].Add(time.Second)) {
					c.unexplained[way]++
				}
			}
		}
	}
	c.add(u.before)
	return c, err
}

// ways is what is to become of an acknowledged message.
func ways(a delivery) []string {
	return userWays[strings.TrimSuffix(strings.TrimPrefix(a.to, "joe"), "@"+userDomain)]
}

// add adds the counts of parcels that have been settled.
func (c *userTally) add(o userTally) {
	for way, n := range o.acked {
		c.acked[way] += n
	}
	for way, n := range o.twice {
		c.twice[way] += n
	}
	for way, n := range o.unexplained {
		c.unexplained[way] += n
	}
}

// tidy takes away what has come, while nothing is served and the disk is whole, and forgets parcels that have come by all
// their ways long ago. What a crash repeats later than that is not seen.
func (u *userLoad) tidy(t *testing.T, d *disk) {
	pieces, err := u.mbox(u.came)
	u.pieces += pieces
	check(t, err, u.maildir(u.came, u.names), u.program(u.came), u.forwards(u.came, u.k.Take()))
	for name := range u.names {
		if err := os.Remove(filepath.Join(u.home, "Maildir/new", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	check(t, os.Truncate(filepath.Join(u.home, "Mailbox"), 0), os.Truncate(filepath.Join(u.home, "ran"), 0))
	d.Sync()
	u.forget(time.Now().Add(-2 * time.Minute))
	u.s.Log.Trim(64 << 20)
}

func (u *userLoad) forget(before time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	done := map[string]bool{}
	old := newUserTally()
	u.acked = slices.DeleteFunc(u.acked, func(a delivery) bool {
		for _, way := range ways(a) {
			if len(u.came[way][a.id]) == 0 {
				return false
			}
		}
		if u.as[a.id].at.After(before) {
			return false
		}
		for _, way := range ways(a) {
			old.acked[way]++
			times := u.came[way][a.id]
			slices.SortFunc(times, time.Time.Compare)
			for i := 1; i < len(times); i++ {
				old.twice[way]++
				if !u.witnessed(times[i-1], times[i].Add(time.Second)) {
					old.unexplained[way]++
				}
			}
			delete(u.came[way], a.id)
		}
		delete(u.as, a.id)
		done[a.id] = true
		return true
	})
	u.before.add(old)
	maps.DeleteFunc(u.names, func(_, id string) bool { return done[id] })
}

func (a arrivals) copy() arrivals {
	b := arrivals{}
	for way, parcels := range a {
		b[way] = map[string][]time.Time{}
		for id, times := range parcels {
			b[way][id] = slices.Clone(times)
		}
	}
	return b
}

// maildir counts a message once by its name: where a crash cuts its delivery off from the record, and it was taken away
// meanwhile, it comes again by the same name.
func (u *userLoad) maildir(came arrivals, names map[string]string) error {
	list, err := filepath.Glob(filepath.Join(u.home, "Maildir/new/*"))
	for _, path := range list {
		name := filepath.Base(path)
		if _, seen := names[name]; seen {
			continue
		}
		m, rerr := os.ReadFile(path)
		id, bad := opened(m)
		err = errors.Join(err, rerr, bad)
		came.add("Maildir", id, time.Time{})
		names[name] = id
	}
	return err
}

func (u *userLoad) forwards(came arrivals, list []e2etest.Sunk) (err error) {
	for _, m := range list {
		id, bad := opened(m.Content)
		err = errors.Join(err, bad)
		came.add("forward", id, m.At)
	}
	return err
}

func (u *userLoad) program(came arrivals) error {
	text, err := os.ReadFile(filepath.Join(u.home, "ran"))
	for line := range strings.Lines(string(text)) {
		id, at, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, bad := strconv.ParseInt(at, 10, 64)
		err = errors.Join(err, bad)
		came.add("program", id, time.Unix(n, 0))
	}
	return err
}

// fromLine begins a message of an mbox.
var fromLine = regexp.MustCompile(`(?m)^From sender@else\.example +(.*)\n`)

// mbox reads the mailbox as its readers do. A piece of a message is none: it ends where the next one begins,
// after an empty line, and holds nothing of others. Of a piece not even the From_ line need be there: then it follows
// the empty line that ends the message before, which is whole all the same. Parcels have no empty lines.
func (u *userLoad) mbox(came arrivals) (pieces int, err error) {
	text, err := os.ReadFile(filepath.Join(u.home, "Mailbox"))
	if err != nil {
		return 0, err
	}
	starts := fromLine.FindAllSubmatchIndex(text, -1)
	if len(text) > 0 && (len(starts) == 0 || starts[0][0] != 0) {
		return 0, fmt.Errorf("the mbox begins with %.60q", text)
	}
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		m := text[at[1]:end]
		if end < len(text) && !bytes.HasSuffix(text[:end], []byte("\n\n")) {
			return pieces, fmt.Errorf("a message of the mbox begins amid another, which ends with %q", m[max(0, len(m)-60):])
		}
		header, body, _ := bytes.Cut(m, []byte("\n\n"))
		body, rest, ended := bytes.Cut(body, []byte("\n\n"))
		whole := slices.Concat(header, []byte("\n\n"), body, []byte("\n"))
		id, bad := opened(whole)
		if rest = bytes.Trim(rest, "\x00\n"); ended && len(rest) > 0 {
			pieces++
			if !bytes.HasPrefix([]byte("From sender@else.example "), rest) {
				err = errors.Join(err, fmt.Errorf("%s in the mbox is followed by %.120q", id, rest))
			}
		}
		if !ended || bad != nil || id == "" {
			pieces++
			own := func(r rune) bool { return !strings.ContainsRune(id+" \n\x00", r) } // zeros: blocks the disk never got
			if at := bytes.IndexFunc(body, own); id != "" && at >= 0 {
				err = errors.Join(err, fmt.Errorf("the piece of %s in the mbox, %d bytes, holds at %d: %.120q", id, len(body), at, body[at:]))
			}
			continue
		}
		when, bad := time.Parse(time.ANSIC, string(text[at[2]:at[3]]))
		err = errors.Join(err, bad)
		came.add("mbox", id, when)
	}
	return pieces, err
}

// settle waits until the queue is empty, at most d, and counts.
func (u *userLoad) settle(d time.Duration) (userTally, error) {
	for end := time.Now().Add(d); !u.s.empty(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			c, err := u.tally()
			return c, errors.Join(err, fmt.Errorf("the queue is not empty after %v: what is lost is not known", d))
		}
	}
	return u.tally()
}

// verdict fails the test for what must not be.
func (u *userLoad) verdict(t *testing.T, what string, took time.Duration) {
	t.Helper()
	c, err := u.settle(5 * time.Minute)
	t.Logf("%s: %d cuts in %.0f s; acknowledged %v, lost %v, twice %v, pieces in the mbox %d; slowest acknowledgement %v",
		what, len(u.cuts), took.Seconds(), c.acked, c.lost, c.twice, c.pieces, u.longer.Round(time.Millisecond))
	if err != nil {
		t.Error(err)
	}
	if c.allLost() > 0 {
		t.Errorf("of the acknowledged, %v are lost, such as %v", c.lost, c.examples[:min(5, len(c.examples))])
		for _, d := range c.examples[:min(5, len(c.examples))] {
			a := u.as[d.id]
			t.Logf("%v was acknowledged with %q, %v after the last cut; the log says of it:\n%s", d, a.text, u.afterCut(a.at), about(u.s.Log.String(), a.text))
		}
	}
	if c.twice["Maildir"] > 0 {
		t.Errorf("%d messages are twice in the Maildir", c.twice["Maildir"])
	}
	if len(c.unexplained) > 0 {
		t.Errorf("repeated without a cut that explains it: %v", c.unexplained)
	}
	// At most what was being appended when something was cut, by the eight senders.
	if c.pieces > 8*len(u.cuts) {
		t.Errorf("%d pieces of messages in the mbox", c.pieces)
	}
	acked := 0
	for _, n := range c.acked {
		acked += n
	}
	if acked < 50 {
		t.Errorf("only %d deliveries were acknowledged: this tests nothing", acked)
	}
}

func TestNoMailOfUsersIsLostToKills(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u := newUserServer(t, newFolder(t), "")
	victims := []string{"runas", "local", "queue", "all"}
	began := time.Now()
	stop := u.start(8)
	for i := range 4 * *soak {
		time.Sleep(between/3 + rand.N(between/2))
		victim := victims[i%len(victims)]
		if i >= len(victims) {
			victim = []string{"runas", "local", "queue", "all", "remote", "smtpd", "supervisor"}[rand.N(7)]
		}
		before := u.count()
		u.cut()
		u.s.kill(victim)
		eventually(t, "mail is taken again after "+victim+" was killed", func() bool { return u.count() > before+10 })
	}
	stop()
	u.verdict(t, "kill -9", time.Since(began))
}

func TestNoMailOfUsersIsLostToPowerCuts(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 1024)
	u := newUserServer(t, d.mount, filepath.Join(d.mount, "data"))
	d.Sync() // what was set up is there in any case
	began := time.Now()
	stop := u.start(8)
	defer func() { stop() }()
	for i := range 3 * *soak {
		time.Sleep(between/2 + rand.N(between/2))
		u.power(false)
		d.Cut()
		u.s.Kill()
		d.Again()
		if i%20 == 19 {
			u.tidy(t, d)
		}
		u.power(true)
		before := u.count()
		u.s.serve()
		eventually(t, "mail is taken again after the cut", func() bool { return u.count() > before+10 })
	}
	stop()
	u.verdict(t, "power cuts", time.Since(began))
}
