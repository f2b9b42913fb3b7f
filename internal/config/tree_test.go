package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/postfix"
	"github.com/postilion/postilion/internal/migrate/qmailhost"
	"github.com/postilion/postilion/internal/migrate/sendmail"
)

// qmailTree makes a qmail of control files and returns its folder.
func qmailTree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "qmail")
	for _, sub := range []string{"control", "alias", "users"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func setting(t testing.TB, f *File, key string) Setting {
	t.Helper()
	list, err := f.Settings(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("there is no key %s", key)
	return Setting{}
}

// Defaults, then control files, then postilion.toml, then flags.
func TestAQmailComesBetweenDefaultsAndTheFile(t *testing.T) {
	t.Parallel()
	dir := qmailTree(t, map[string]string{"control/me": "mx.example.test\n", "control/queuelifetime": "3600\n", "control/helohost": "helo.example.test\n",
		"control/timeoutconnect": "30\n", "control/rcpthosts": "example.test\n"})
	toml := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(toml, []byte("qmail = \""+dir+"\"\n[remote]\nhelo = \"file.example.test\"\ntimeout_connect = \"20s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(toml, []string{"remote.timeout_connect=10s", "qmail_root=" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Setting{
		{"host", "mx.example.test", Origin{"qmail", dir + "/control/me", 1}},
		{"dispatch.lifetime", "1h", Origin{"qmail", dir + "/control/queuelifetime", 1}},
		{"remote.helo", "file.example.test", Origin{"file", toml, 3}},
		{"remote.timeout_connect", "10s", Origin{From: "flag"}},
		{"remote.timeout_dot", "20m", Origin{"qmail", dir + "/control/timeoutremote", 0}},
		{"route.locals_file", dir + "/control/locals", Origin{"qmail", dir + "/control/locals", 0}},
		{"dispatch.remote_skip", "20", Origin{From: "default"}},
	} {
		if diff := cmp.Diff(want, setting(t, f, want.Key)); diff != "" {
			t.Errorf("%s (-want +have):\n%s", want.Key, diff)
		}
	}
	if have := setting(t, f, "dispatch.lifetime").Origin.String(); have != dir+"/control/queuelifetime:1" {
		t.Errorf("origin %q", have)
	}
	if f.Data != filepath.Dir(toml) {
		t.Errorf("the data folder is %s", f.Data)
	}
	var b bytes.Buffer
	if err := Explain(&b, "dispatch.lifetime", f, strconv.Quote); err != nil || !strings.Contains(b.String(), "here:    \"1h\" (\""+dir+"/control/queuelifetime:1\")\n") {
		t.Errorf("%v, %s", err, b.String())
	}
}

func TestAQmailNeedsNoFile(t *testing.T) {
	t.Parallel()
	dir := qmailTree(t, map[string]string{"control/me": "mx.example.test\n"})
	data := t.TempDir()
	f, err := Read(filepath.Join(data, FileName), []string{"qmail=" + dir})
	if err != nil || f.Host != "mx.example.test" || f.Data != data {
		t.Fatalf("%v, %+v", err, f)
	}
	if !f.Policy.AnyRecipient {
		t.Error("without rcpthosts qmail takes mail for every host")
	}
}

// Files edited on another system serve as they did: qmail puts the carriage return into its greeting and goes on.
func TestACarriageReturnBehindAValueOfAQmailIsDropped(t *testing.T) {
	t.Parallel()
	dir := qmailTree(t, map[string]string{"control/me": "mx.example.test\r\n", "control/smtpgreeting": "mx.example.test hello\r\n", "control/idhost": "id.example.test \r\n",
		"control/queuelifetime": "3600\r\n"})
	f, err := Read(filepath.Join(t.TempDir(), FileName), []string{"qmail=" + dir})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"host": "mx.example.test", "bounce.bouncehost": "mx.example.test", "smtp.greeting": "hello ESMTP", "inject.id_host": "id.example.test", "dispatch.lifetime": "1h"} {
		if have := setting(t, f, key).Value; have != want {
			t.Errorf("%s is %q, want %q", key, have, want)
		}
	}
}

func TestTheFileSupersedesWhatAQmailSaysInAnotherKey(t *testing.T) {
	t.Parallel()
	dir := qmailTree(t, map[string]string{"control/me": "mx.example.test\n", "control/databytes": "1000\n"})
	f, err := Read(filepath.Join(t.TempDir(), FileName), []string{"qmail=" + dir, "route.locals=only.example", "policy.rcpthosts=only.example", "policy.max_size=10MiB"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"route.locals": "only.example", "route.locals_file": "", "policy.any_recipient": "false", "policy.databytes": "0", "policy.max_size": "10MiB"} {
		if have := setting(t, f, key).Value; have != want {
			t.Errorf("%s is %q, want %q", key, have, want)
		}
	}
}

func TestAWrongQmailIsAProblemOfItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Read(filepath.Join(dir, FileName), []string{"qmail=" + dir})
	var ps Problems
	if !errors.As(err, &ps) || !strings.Contains(err.Error(), "key qmail: "+dir+" is no qmail folder: no such file or directory") {
		t.Errorf("error %v", err)
	}
	for me, why := range map[string]string{
		"":          `control/me does not give it: missing or empty: qmail does not start without it`,
		"mx test\n": `control/me:1 does not give it: "mx test": a domain name holds letters, digits, hyphens and dots`,
	} {
		dir = qmailTree(t, map[string]string{"control/locals": "x\n", "control/me": me})
		_, err = Read(filepath.Join(dir, FileName), []string{"qmail=" + dir})
		if !errors.As(err, &ps) || len(ps) != 1 || !strings.HasSuffix(err.Error(), "key host: want this server's name, such as \"mail.example.test\"; "+dir+"/"+why) {
			t.Errorf("error %v", err)
		}
	}
}

// Every key that a qmail can set must be one of the configuration, of a fitting type.
func TestEveryKeyOfAQmailExists(t *testing.T) {
	t.Parallel()
	s, err := theSchema()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range qmailhost.Rows() {
		for _, key := range row.Keys {
			if s.byName[key] == nil {
				t.Errorf("control/%s: there is no key %s", row.Name, key)
			}
		}
	}
	for key, others := range superseded {
		for _, k := range append(others, key) {
			if s.byName[k] == nil {
				t.Errorf("there is no key %s", k)
			}
		}
	}
}

// The migrated file means what the qmail means, whatever the qmail says.
func TestTheMigratedFileEqualsTheQmail(t *testing.T) {
	t.Parallel()
	name := rapid.StringMatching(`[a-z]{1,8}\.(example|test)`)
	number := rapid.Map(rapid.IntRange(0, 1_000_000), func(n int) string { return fmt.Sprint(n) })
	list := func(g *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(g, 0, 5), func(l []string) string { return strings.Join(l, "\n") })
	}
	kinds := map[string]*rapid.Generator[string]{
		"badmailfrom": list(rapid.Map(name, func(s string) string { return "joe@" + s })), "locals": list(name), "rcpthosts": list(name), "percenthack": list(name),
		"virtualdomains": list(rapid.Map(name, func(s string) string { return s + ":joe" })), "smtproutes": list(rapid.Map(name, func(s string) string { return s + ":relay." + s + ":26" })),
	}
	for _, n := range []string{"bouncefrom", "bouncehost", "doublebouncehost", "helohost", "envnoathost", "localiphost", "defaulthost", "defaultdomain", "plusdomain", "idhost", "smtpgreeting"} {
		kinds[n] = name
	}
	for _, n := range []string{"queuelifetime", "timeoutconnect", "timeoutremote", "timeoutsmtpd", "concurrencylocal", "concurrencyremote", "concurrencyincoming", "databytes"} {
		kinds[n] = number
	}
	rapid.Check(t, func(r *rapid.T) {
		files := map[string]string{"control/me": name.Draw(r, "me") + "\n"}
		for _, row := range qmailhost.Rows() {
			if g := kinds[row.Name]; g != nil && rapid.Bool().Draw(r, "has "+row.Name) {
				files["control/"+row.Name] = g.Draw(r, row.Name) + "\n"
			}
		}
		sameAsMigrated(t, files)
	})
}

func sameAsMigrated(t testing.TB, files map[string]string) {
	t.Helper()
	dir := qmailTree(t, files)
	report, err := qmailhost.Read(qmailhost.Options{Dir: dir, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := parse(source{path: "/data/p.toml", tree: &tree{dir: dir, report: report}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteReport(&b, report, "written by a test"); err != nil {
		t.Fatal(err)
	}
	migrated, err := Parse("/data/p.toml", b.Bytes(), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	// An empty list and none mean the same to everybody but DeepEqual.
	if diff := cmp.Diff(values(t, tree), values(t, migrated)); diff != "" || !reflect.DeepEqual(tree.Services(), migrated.Services()) {
		t.Errorf("(-qmail +migrated)\n%s\n%s", diff, b.String())
	}
}

func values(t testing.TB, f *File) map[string]string {
	t.Helper()
	list, err := f.Settings(true)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, s := range list {
		m[s.Key] = s.Value
	}
	return m
}

// What sendmail's and Postfix's settings come to must be a configuration.
func TestMigratedFilesAreConfigurations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("main.cf", "myhostname = mx.example.test\nmynetworks = 192.0.2.0/24\nrelayhost = [smart.example]:587\nhome_mailbox = Maildir/\nsmtpd_recipient_restrictions = reject_rbl_client bl.example\n")
	write("sendmail.mc", "define(`confDOMAIN_NAME', `mx.example.test')\ndefine(`SMART_HOST', `smart.example')\nFEATURE(`access_db')\nFEATURE(`delay_checks')\nFEATURE(`mailertable')\n")
	write("access", "192.0.2\tRELAY\nbad.example\tREJECT\n")
	write("mailertable", "inside.example\tesmtp:[gw.example]\n")
	reports := map[string]func() (*migrate.Report, error){
		"postfix":  func() (*migrate.Report, error) { return postfix.Read(postfix.Options{Dir: dir, Root: dir}) },
		"sendmail": func() (*migrate.Report, error) { return sendmail.Read(sendmail.Options{Dir: dir, Root: dir}) },
	}
	for name, read := range reports {
		r, err := read()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteReport(&b, r, "written by a test"); err != nil {
			t.Fatal(err)
		}
		f, err := Parse("/data/p.toml", b.Bytes(), nil)
		if err != nil {
			t.Errorf("%s: %v in\n%s", name, err, b.String())
			continue
		}
		if f.Host != "mx.example.test" || !strings.HasPrefix(f.Route.NextHop, "smart.example") {
			t.Errorf("%s: host %q, next hop %q", name, f.Host, f.Route.NextHop)
		}
	}
}
