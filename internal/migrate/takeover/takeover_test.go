package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// host makes a host that qmail, Postfix and sendmail were all installed on, and returns its root.
func host(t *testing.T) string {
	root := t.TempDir()
	file := func(path, content string, mode fs.FileMode) {
		t.Helper()
		full := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), mode), os.Chmod(full, mode)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(path, to string) {
		t.Helper()
		full := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.Symlink(to, full)); err != nil {
			t.Fatal(err)
		}
	}
	file("/var/qmail/bin/qmail-inject", "old inject", 0o755)
	file("/var/qmail/bin/qmail-queue", "old queue", 0o755|fs.ModeSetuid)
	file("/var/qmail/bin/sendmail", "old wrapper", 0o755)
	file("/var/qmail/bin/our-filter", "the house's own", 0o755)
	file("/var/qmail/control/me", "mx.example.test\n", 0o644)
	file("/var/qmail/supervise/qmail-send/run", "#!/bin/sh\n", 0o755)
	file("/var/qmail/supervise/qmail-send/log/run", "#!/bin/sh\n", 0o755)
	link("/service/qmail-send", "/var/qmail/supervise/qmail-send")
	link("/service/other", "/var/other")
	link("/usr/sbin/sendmail", "/var/qmail/bin/sendmail")
	link("/usr/lib/sendmail", "../sbin/sendmail")
	file("/usr/bin/mailq", "#!/bin/sh\n", 0o755)
	file("/etc/init.d/postfix", "#!/bin/sh\n", 0o755)
	file("/etc/init.d/cron", "#!/bin/sh\n", 0o755)
	link("/etc/rc2.d/S20postfix", "../init.d/postfix")
	link("/etc/rc2.d/S20cron", "../init.d/cron")
	file("/etc/systemd/system/qmail.service", "[Unit]\n", 0o644)
	link("/etc/systemd/system/multi-user.target.wants/postfix.service", "/lib/systemd/system/postfix.service")
	link("/etc/systemd/system/multi-user.target.wants/cron.service", "/lib/systemd/system/cron.service")
	file("/lib/systemd/system/postfix.service", "[Unit]\n", 0o644)
	file("/lib/systemd/system/cron.service", "[Unit]\n", 0o644)
	file("/usr/lib/systemd/system/exim4.service", "[Unit]\n", 0o644) // installed, not enabled
	file("/etc/xinetd.d/smtp", "service smtp\n", 0o644)
	file("/etc/rc.local", "#!/bin/sh\n# qmail\ncsh -cf '/var/qmail/rc &'\n", 0o755)
	return root
}

// snapshot describes every file below root.
func snapshot(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			what += " -> " + to
		case info.Mode().IsRegular():
			content, _ := os.ReadFile(path)
			what += " " + string(content) + info.ModTime().String()
		}
		list = append(list, strings.TrimPrefix(path, root)+" "+what)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func options(root, data string) Options {
	links := map[string]string{}
	for _, name := range []string{"sendmail", "mailq", "newaliases", "qmail-inject", "qmail-queue"} {
		links[name] = "/usr/libexec/postilion-tools"
	}
	return Options{Root: root, Data: data, Qmail: "/var/qmail", Links: links, Run: func([]string) error {
		panic("no program is run below a root of its own")
	}}
}

func TestSwitchOverSetsTheOldSystemAside(t *testing.T) {
	t.Parallel()
	root, data := host(t), t.TempDir()
	j, err := Over(options(root, data))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/usr/sbin/sendmail": "/usr/libexec/postilion-tools", "/usr/lib/sendmail": "/usr/libexec/postilion-tools",
		"/usr/bin/mailq": "/usr/libexec/postilion-tools", "/usr/bin/newaliases": "/usr/libexec/postilion-tools",
		"/var/qmail/bin/qmail-inject":         "/usr/libexec/postilion-tools",
		"/var/qmail/bin/our-filter":           "../.before-postilion.bin/our-filter",
		"/etc/systemd/system/postfix.service": "/dev/null", "/etc/systemd/system/exim4.service": "/dev/null",
		"/service/other": "/var/other", "/etc/rc2.d/S20cron": "../init.d/cron",
		"/etc/systemd/system/multi-user.target.wants/cron.service": "/lib/systemd/system/cron.service",
	} {
		if have, err := os.Readlink(filepath.Join(root, path)); err != nil || have != want {
			t.Errorf("%s leads to %q (%v), want %q", path, have, err, want)
		}
	}
	if p, err := os.ReadFile(filepath.Join(root, "/var/qmail/bin/our-filter")); err != nil || string(p) != "the house's own" {
		t.Errorf("a program of the house's own does not answer: %q %v", p, err)
	}
	for _, gone := range []string{"/service/qmail-send", "/etc/init.d/postfix", "/etc/rc2.d/S20postfix", "/etc/systemd/system/qmail.service",
		"/etc/systemd/system/multi-user.target.wants/postfix.service", "/etc/xinetd.d/smtp"} {
		if _, err := os.Lstat(filepath.Join(root, gone)); err == nil {
			t.Errorf("%s still starts the old system", gone)
		}
	}
	if len(j.Plan.Remarks) != 2 || !strings.HasPrefix(j.Plan.Remarks[0], "/etc/rc.local:3 ") || !strings.HasSuffix(j.Plan.Remarks[1], "/run/inject.sock there") {
		t.Errorf("remarks: %q", j.Plan.Remarks)
	}
	var stops, starts []string
	for _, c := range j.Plan.Commands {
		if stops = append(stops, strings.Join(append(slices.Clone(c.First), c.Over...), " ")); c.Back != nil {
			starts = append(starts, strings.Join(c.Back, " "))
		}
	}
	if diff := cmp.Diff([]string{
		"/etc/init.d/postfix stop", "systemctl stop exim4.service", "systemctl stop postfix.service", "systemctl daemon-reload",
		"svc -dx /service/.before-postilion.qmail-send", // its log is seen on the host itself
	}, stops); diff != "" {
		t.Errorf("what stops the old system:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/etc/init.d/postfix start", "systemctl start postfix.service", "systemctl daemon-reload"}, starts); diff != "" {
		t.Errorf("what starts it again, the last first:\n%s", diff)
	}
}

func TestSwitchBackRestoresExactly(t *testing.T) {
	t.Parallel()
	root, data := host(t), t.TempDir()
	before := snapshot(t, root)
	for range 2 { // over twice: the second time does nothing
		if j, err := Over(options(root, data)); err != nil || j.State != IsOver {
			t.Fatalf("%v, state %q", err, j.State)
		}
	}
	over := snapshot(t, root)
	if cmp.Equal(before, over) {
		t.Fatal("switching over changed nothing")
	}
	for range 2 {
		if _, err := Back(options(root, data)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
		t.Errorf("after switching back (-before +after):\n%s", diff)
	}
	if j, err := Read(data); err != nil || j.State != Never {
		t.Errorf("the journal says %q, %v", j.State, err)
	}
}

func TestSwitchDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	root, data := host(t), t.TempDir()
	before := snapshot(t, root)
	plan, err := Make(options(root, data))
	if err != nil || len(plan.Steps) < 15 {
		t.Fatalf("%v, %d steps", err, len(plan.Steps))
	}
	if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
		t.Error(diff)
	}
}

// TestSwitchCutShortAnywhereIsFinishedOrUndone stops over and back at each of their steps, as a
// crash does, and then goes on or back.
func TestSwitchCutShortAnywhereIsFinishedOrUndone(t *testing.T) {
	t.Parallel()
	errCut := errors.New("cut")
	cutAt := func(o Options, n int) Options {
		o.Step = func(string) error {
			if n--; n < 0 {
				return errCut
			}
			return nil
		}
		return o
	}
	template := host(t)
	plan, err := Make(options(template, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range plan.Steps {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			root, data := host(t), t.TempDir()
			before := snapshot(t, root)
			o := options(root, data)
			if _, err := Over(cutAt(o, n)); !errors.Is(err, errCut) {
				t.Fatalf("over was not cut: %v", err)
			}
			if _, err := Back(o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
				t.Fatalf("back after over was cut (-before +after):\n%s", diff)
			}
			if _, err := Over(cutAt(o, n)); !errors.Is(err, errCut) {
				t.Fatalf("over was not cut: %v", err)
			}
			if j, err := Over(o); err != nil || j.State != IsOver {
				t.Fatalf("over was not finished: %v", err)
			}
			if _, err := Back(cutAt(o, n)); !errors.Is(err, errCut) {
				t.Fatalf("back was not cut: %v", err)
			}
			if _, err := Over(o); err == nil {
				t.Fatal("over began while a switch back was cut short")
			}
			if _, err := Back(o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
				t.Fatalf("back after back was cut (-before +after):\n%s", diff)
			}
		})
	}
}

func TestSwitchBackLeavesWhatIsNewAndSaysSo(t *testing.T) {
	t.Parallel()
	root, data := host(t), t.TempDir()
	o := options(root, data)
	if _, err := Over(o); err != nil {
		t.Fatal(err)
	}
	sendmail := filepath.Join(root, "/usr/sbin/sendmail")
	if err := errors.Join(os.Remove(sendmail), os.WriteFile(sendmail, []byte("a package's"), 0o755)); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(root, "/var/qmail/bin/safecat")
	if err := os.WriteFile(own, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Back(o)
	if want := `/var/qmail/bin holds files of others: "safecat"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if err == nil || !strings.Contains(err.Error(), "something new is at /usr/sbin/sendmail, and what was there is /usr/sbin/.before-postilion.sendmail") {
		t.Fatalf("error %v", err)
	}
	if p, _ := os.ReadFile(sendmail); string(p) != "a package's" {
		t.Error("the new file was touched")
	}
	if err := errors.Join(os.Remove(sendmail), os.Remove(own)); err != nil {
		t.Fatal(err)
	}
	if _, err := Back(o); err != nil {
		t.Error(err)
	}
}

func TestSwitchRunsWhatStopsAndStartsOnlyOnTheHostItself(t *testing.T) {
	t.Parallel()
	var ran []string
	o := Options{Run: func(argv []string) error { ran = append(ran, strings.Join(argv, " ")); return nil }}
	list := []Command{
		{Over: []string{"svc", "-dx", "x"}},
		{First: []string{"a", "stop"}, Back: []string{"a", "start"}},
		{Over: []string{"reload"}, Back: []string{"reload"}},
	}
	for _, root := range []string{"", "/", "/elsewhere"} {
		o.Root = root
		if err := errors.Join(o.commands(list, first), o.commands(list, after), o.commands(backwards(list), start)); err != nil {
			t.Fatal(err)
		}
	}
	once := []string{"a stop", "svc -dx x", "reload", "reload", "a start"}
	if diff := cmp.Diff(append(once, once...), ran); diff != "" {
		t.Error(diff)
	}
}

// A service's folder may have any name: its script tells that it starts a part of qmail.
func TestSwitchKnowsServicesByTheirScripts(t *testing.T) {
	t.Parallel()
	root := host(t)
	for path, script := range map[string]string{
		"/service/smtpd":     "#!/bin/sh\nexec softlimit -m 20000000 tcpserver -v 0 25 \\\n  /var/qmail/bin/qmail-smtpd 2>&1\n",
		"/service/pop3d":     "exec tcpserver 0 110 /var/qmail/bin/qmail-popup mx /bin/checkpassword /var/qmail/bin/qmail-pop3d Maildir\n",
		"/var/mail-out":      "#!/bin/sh\nexec /var/qmail/rc\n",
		"/service/dnscache":  "exec envuidgid dnscache softlimit -o250 dnscache\n",
		"/service/postilion": "# in the place of qmail-smtpd\nexec /usr/local/bin/postilion serve --qmail /var/qmail 2>&1\n",
		"/service/watch":     "exec tail -F /var/log/qmail-smtpd/current\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, path), 0o755), os.WriteFile(filepath.Join(root, path, "run"), []byte(script), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/var/mail-out", filepath.Join(root, "service", "out")); err != nil {
		t.Fatal(err)
	}
	plan, err := Make(options(root, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	var aside []string
	for _, s := range plan.Steps {
		if s.Why == "supervised service" {
			aside = append(aside, s.Path)
		}
	}
	if want := []string{"/service/out", "/service/pop3d", "/service/qmail-send", "/service/smtpd"}; !slices.Equal(aside, want) {
		t.Errorf("set aside %q, want %q", aside, want)
	}
}
