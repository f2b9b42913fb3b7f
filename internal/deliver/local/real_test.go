package local_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	ourfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// The tests of this file deliver as other users, with the part that becomes them.

var lastRealUID atomic.Uint32

// realHome makes the home of a user with a uid of its own, who is in passwd only when named.
func realHome(t *testing.T, o local.Options, limits runas.Options, named bool, files map[string]string) (*home, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become others")
	}
	uid := int(713_000 + lastRealUID.Add(1))
	top, err := os.MkdirTemp("", "local")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	h := newHome(t, o, nil)
	h.dir = filepath.Join(top, "home")
	name := "pst" + strconv.Itoa(uid)
	if named {
		out, err := exec.Command("useradd", "--no-create-home", "--home-dir", h.dir, "--uid", strconv.Itoa(uid), "--user-group", name).CombinedOutput()
		if err != nil {
			t.Skipf("useradd: %s", out)
		}
		t.Cleanup(func() { exec.Command("userdel", name).Run() })
	}
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range files {
		h.write(file, content)
	}
	err = filepath.Walk(h.dir, func(path string, _ os.FileInfo, err error) error { return os.Chown(path, uid, uid) })
	if err != nil {
		t.Fatal(err)
	}
	service, err := runas.NewHere(limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	boxes, err := osfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o.Maildir.Host = "mx"
	h.Target = local.New(o, local.Deps{FS: boxes, Barrier: &ourfs.Barrier{FS: boxes}, Directory: accounts{}, Clock: clock.NewFake(noon), Runas: service})
	h.uid, h.name = uint32(uid), name
	return h, name
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func TestFilesAndProgramsAreTheUsers(t *testing.T) {
	t.Parallel()
	h, _ := realHome(t, local.Options{DefaultDelivery: "./Maildir/\n./Mailbox\n|id -u >ids; id -G >>ids; umask >>ids; pwd >>ids; ls /proc/self/fd | wc -l >>ids"}, runas.Options{}, false, nil)
	if got := said(h.deliver("")); got != "Kdid 2+0+1\n" {
		t.Fatal(got)
	}
	uid := strconv.Itoa(int(h.uid))
	if got, want := h.read("ids"), uid+"\n"+uid+"\n0077\n"+h.dir+"\n4\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range []string{"Maildir/new", "Mailbox", "ids"} {
		if owner(t, filepath.Join(h.dir, name)) != h.uid {
			t.Errorf("%s is not the user's", name)
		}
	}
	if n := len(h.mails("Maildir")); n != 1 {
		t.Errorf("%d messages", n)
	}
	j := h.to("", letter)
	j.Recipients[0].User.GID = h.uid + 1
	h.write(".qmail", "/root/box\n")
	os.Chown(filepath.Join(h.dir, ".qmail"), int(h.uid), int(h.uid))
	if got := said(h.Deliver(t.Context(), j)[0]); got != "ZUnable to open /root/box: access denied. (#4.2.1)\n" {
		t.Errorf("%q", got)
	}
}

// TestVector34ABackgroundProcessKeepsTheSlot: as long as it holds the program's output, and no
// longer than the time limit.
func TestVector34ABackgroundProcessKeepsTheSlot(t *testing.T) {
	t.Parallel()
	files := map[string]string{".qmail": "|(sleep 0.3; echo late) & echo early\n", ".qmail-ever": "|sleep 100 & echo early\n"}
	h, _ := realHome(t, local.Options{}, runas.Options{}, false, files)
	begin := time.Now()
	if got := said(h.deliver("")); got != "Kearly\nlate\ndid 0+0+1\n" || time.Since(begin) < 300*time.Millisecond {
		t.Errorf("%q after %v", got, time.Since(begin))
	}
	h, _ = realHome(t, local.Options{}, runas.Options{Time: time.Second}, false, files)
	begin = time.Now()
	if v := h.deliver("ever"); time.Since(begin) > time.Minute {
		t.Errorf("%q after %v", said(v), time.Since(begin))
	}
}

func TestEndlessProgramsAndOutputsEnd(t *testing.T) {
	t.Parallel()
	h, _ := realHome(t, local.Options{}, runas.Options{Time: time.Second}, false, map[string]string{
		".qmail": "|exec sleep 1000\n", ".qmail-yes": "|yes\n",
	})
	for _, ext := range []string{"", "yes"} {
		v := h.deliver(ext)
		if v.Err == nil || !strings.Contains(v.Text, "Program took too long") && !strings.Contains(v.Text, "too long, sorry") || len(v.Text) > 4000 {
			t.Errorf("%q: %.300q", ext, said(v))
		}
	}
}

// TestProgramsOfTheDistribution runs procmail and maildrop as they are.
func TestProgramsOfTheDistribution(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"procmail", "maildrop"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	box := func(files map[string]string) map[string]string { files["box/"] = ""; return files }
	// The users are made one after another: passwd has one lock.
	proc, _ := realHome(t, local.Options{DefaultDelivery: "procmail"}, runas.Options{Time: time.Minute}, true, box(map[string]string{
		".procmailrc": "MAILDIR=$HOME\n:0\n* ^Subject:.*hello\nbox/\n:0\n* ^Subject:.*bounce\n{\n EXITCODE=77\n :0\n /dev/null\n}\n:0\n* ^Subject:.*later\n{\n EXITCODE=75\n :0\n /dev/null\n}\n",
	}))
	drop, _ := realHome(t, local.Options{DefaultDelivery: "maildrop"}, runas.Options{Time: time.Minute}, true, box(map[string]string{".mailfilter": "0600 if (/^Subject: bounce/)\n{\n EXITCODE=77\n exit\n}\nif (/^Subject: later/)\n{\n EXITCODE=75\n exit\n}\nto \"$HOME/box\"\n"}))
	for name, h := range map[string]*home{"procmail": proc, "maildrop": drop} {
		// procmail says that the spool is not its to write, and goes on.
		if got := said(h.deliver("")); got[0] != 'K' || !strings.HasSuffix(got, "did 0+0+1\n") {
			t.Errorf("%s: %q", name, got)
		}
		list := h.mails("box")
		if len(list) != 1 || !strings.Contains(list[0], "Delivered-To: "+h.name+"@mx.test\n"+letter) || !strings.Contains(list[0], "Return-Path: <sender@a.test>\n") {
			t.Errorf("%s kept %q", name, list)
		}
		for subject, want := range map[string]string{"bounce": "D", "later": "Z"} {
			if got := said(h.Deliver(t.Context(), h.to("", "Subject: "+subject+"\n\n"))[0]); !strings.HasPrefix(got, want) {
				t.Errorf("%s, %s: %q", name, subject, got)
			}
		}
	}
}

// TestVacationAnswers runs with a sendmail of its own, in a mount namespace where that has the
// place of the host's: vacation knows no other path.
func TestVacationAnswers(t *testing.T) {
	if _, err := exec.LookPath("vacation"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs vacation, and root for a mount namespace")
	}
	const inside = "POSTILION_TEST_NAMESPACE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("unshare", "--mount", "--propagation", "private", os.Args[0], "-test.run=^TestVacationAnswers$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		} else if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		return
	}
	h, name := realHome(t, local.Options{}, runas.Options{Time: time.Minute}, true, map[string]string{".vacation.msg": "Subject: away\n\nI am away.\n"})
	h.write(".qmail", "|(printf %s \"$UFLINE\"; cat) | vacation -j "+name+"\n./Mailbox\n")
	os.Chown(filepath.Join(h.dir, ".qmail"), int(h.uid), int(h.uid))
	stub := t.TempDir()
	if err := os.Chmod(filepath.Dir(stub), 0o755); err != nil { // the test's own folder; the user passes it
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stub, "sendmail"), []byte("#!/bin/sh\necho \"$@\" >$HOME/args\ncat >$HOME/answer\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(stub, "/usr/sbin", "", syscall.MS_BIND, ""); err != nil {
		t.Skip(err)
	}
	defer syscall.Unmount("/usr/sbin", syscall.MNT_DETACH)
	if got := said(h.Deliver(t.Context(), h.to("", "From: sender@a.test\nTo: "+name+"@mx.test\nSubject: hi\n\n"))[0]); got != "Kdid 1+0+1\n" {
		t.Errorf("%q", got)
	}
	if args, answer := h.read("args"), h.read("answer"); !strings.HasSuffix(args, "sender@a.test\n") || !strings.Contains(answer, "I am away.") {
		t.Errorf("answered %q to %q", answer, args)
	}
}
