package owners

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/role"
)

// Root reads what a role may not: that has to be found before the role does not come up.
func TestFilesThatARoleMayNotReadAreNamedWithIt(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "readable") // t.TempDir's parent lets nobody pass
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ids := New(70_000)
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("127.:allow\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	shared := file("shared", 0o640)
	if err := os.Chown(shared, 0, ids.Run); err != nil {
		t.Fatal(err)
	}
	below := file("closed/rules", 0o644)
	if err := os.Chmod(filepath.Dir(below), 0o700); err != nil {
		t.Fatal(err)
	}
	var c config.Config
	c.SMTP.Rules = []string{file("open", 0o644), "access:" + file("own", 0o600), shared, "relative"}
	c.Submission.Rules = []string{below}
	c.Remote.CAFile = filepath.Join(dir, "missing") // told by who reads the configuration
	c.Local.Quota.Text = file("warn", 0o600)
	c.TLS.ACMERoots = file("roots", 0o600) // not in use
	c.Route.AliasFiles = []string{file("aliases", 0o600)}
	c.Submit.Filter = file("filter", 0o744) + " -v"
	var got []string
	for _, u := range deniedFiles(&c, ids) {
		rel, err := filepath.Rel(dir, u.Path)
		if err != nil {
			t.Fatal(err)
		}
		if u.User != "uid "+fmt.Sprint(ids.roles[u.Role].UID) {
			t.Errorf("%s: user %q", rel, u.User)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s down=%v", u.Key, u.Use, rel, u.Role, u.Down))
	}
	want := []string{
		"smtp.access_rules read own smtpd down=true",
		"submission.access_rules read closed/rules smtpd down=true",
		"local.quota.warn_text read warn local down=true",
		"route.alias_files read aliases smtpd down=false",
		"route.alias_files read aliases queue down=false",
		"submit.filter run filter smtpd down=false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	c.Log.To, c.Log.File = "file", filepath.Join(dir, "log", "postilion.log")
	if err := MakeLogFolder(&c, ids); err != nil {
		t.Fatal(err)
	}
	if d := deniedLog(&c, ids); len(d) > 0 {
		t.Errorf("the log in a folder that was made: %v", d)
	}
	c.Log.File = filepath.Join(dir, "postilion.log")
	if d := deniedLog(&c, ids); len(d) != 1 || !d[0].Down || d[0].Path != c.Log.File+"."+string(d[0].Role) {
		t.Errorf("the log in a folder of root's: %v", d)
	}
	file("postilion.log."+string(role.All()[0]), 0o666) // made for them
	if d := deniedLog(&c, ids); len(d) != 1 || d[0].Role == role.All()[0] {
		t.Errorf("the log where one file is there: %v", d)
	}
	// A restart that gives the roles other users is none that has to be refused.
	c.Data, c.Log.File = dir, "log/postilion.log"
	file("log/postilion.log."+string(role.All()[0]), 0o600)
	if err := os.Chmod(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if d := deniedLog(&c, ids); len(d) > 0 {
		t.Errorf("the log that every start gives to its role: %v", d)
	}
	c.Log.To = "stderr"
	c.TLS.Cert, c.TLS.Key = "tls/cert.pem", "tls/key.pem" // not there yet
	f := &config.File{Config: &c, Origins: map[string]config.Origin{"smtp.access_rules": {From: "file", File: "postilion.toml", Line: 7}}}
	c.Submission.Rules, c.Local.Quota.Text, c.Route.AliasFiles, c.Submit.Filter = nil, "", nil, ""
	uid := ids.roles[role.SMTPD].UID
	wantError := fmt.Sprintf("postilion.toml:7: key smtp.access_rules: %s: role smtpd (uid %d) may not read it: let uid %[2]d read %[1]s and pass the folders above it",
		filepath.Join(dir, "own"), uid)
	if err := CheckFiles(f, ids, slog.New(slog.DiscardHandler)); err == nil || err.Error() != wantError {
		t.Errorf("the start says %v, want %s", err, wantError)
	}
}
