package links_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/tools/links"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestLinksTakeNothingsPlaceUnlessForcedAndGiveItBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "postilion-tools")
	write(t, target, "ours")
	write(t, dir+"/sendmail", "theirs")
	o := links.Options{Dir: dir, Names: []string{"forward", "sendmail"}, Target: target}
	if _, err := links.Install(o); err == nil || !strings.Contains(err.Error(), dir+"/sendmail") {
		t.Errorf("got %v, want the file in the way named", err)
	}
	if _, err := os.Lstat(dir + "/forward"); err == nil {
		t.Error("a link was made though another could not be")
	}
	o.Force = true
	for _, want := range []string{"made", "kept"} {
		done, err := links.Install(o)
		if err != nil || len(done) != 2 || done[1].Done != want {
			t.Fatalf("got %+v, %v", done, err)
		}
	}
	for name, want := range map[string]string{"forward": "ours", "sendmail": "ours", "sendmail" + links.Aside: "theirs"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", name, b, err, want)
		}
	}
	if _, err := links.Remove(dir, target, []string{"forward", "sendmail", "other"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if b, err := os.ReadFile(dir + "/sendmail"); err != nil || string(b) != "theirs" {
		t.Errorf("sendmail: %q, %v", b, err)
	}
}

func TestRemoveLeavesOthersLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("/usr/sbin/exim4", dir+"/sendmail"); err != nil {
		t.Fatal(err)
	}
	done, err := links.Remove(dir, "/opt/postilion-tools", []string{"sendmail"})
	if err != nil || len(done) != 0 {
		t.Errorf("got %+v, %v", done, err)
	}
	if _, err := os.Lstat(dir + "/sendmail"); err != nil {
		t.Error(err)
	}
}

func TestCheckTellsWhoseProgramsTheSystemCalls(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	target := root + "/opt/postilion-tools"
	write(t, target, "ours")
	write(t, root+"/usr/sbin/exim4", "theirs")
	write(t, root+"/var/qmail/bin/qmail-inject", "theirs")
	write(t, root+"/var/qmail/bin/README", "no program")
	for path, to := range map[string]string{
		"/usr/sbin/sendmail": root + "/usr/sbin/exim4", "/usr/bin/mailq": target, "/usr/bin/newaliases": root + "/gone",
		"/var/qmail/bin/forward": target,
	} {
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, root+path); err != nil {
			t.Fatal(err)
		}
	}
	got := links.Check(root, target, []string{"forward", "qmail-inject", "sendmail"})
	var lines []string
	for _, f := range got {
		state := "theirs"
		if f.Ours {
			state = "ours"
		}
		lines = append(lines, strings.TrimSpace(f.Path+" "+state+" "+f.Wrong))
	}
	want := []string{
		"/usr/bin/mailq ours", "/usr/bin/newaliases theirs leads nowhere", "/usr/sbin/sendmail theirs",
		"/var/qmail/bin/forward ours", "/var/qmail/bin/qmail-inject theirs",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	if got[2].Leads != root+"/usr/sbin/exim4" {
		t.Errorf("leads to %q", got[2].Leads)
	}
}
