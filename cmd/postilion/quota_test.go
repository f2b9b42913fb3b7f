package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnOwnerIsWarnedAndShownHowFullAMailboxIs(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t), "--set", "local.quota.warn=50")
	me := s.Account
	s.Must("account", "set", me, "--quota-messages", "4", "--quota", "1MiB")
	for _, subject := range []string{"first", "second"} {
		check(t, s.send("you@example.org", me, subject))
		s.arrives(subject)
	}
	s.arrives("Your mailbox is 50 % full")
	check(t, s.send("you@example.org", me, "third"))
	s.arrives("third")
	eventually(t, "the mailbox is full", func() bool {
		err := s.send("you@example.org", me, "fourth")
		return err != nil && strings.Contains(err.Error(), "452") && strings.Contains(err.Error(), "Quota exceeded") && strings.Contains(err.Error(), "leaves messages on the server")
	})
	var views []quotaView
	show := func(verb string, names ...string) quotaView {
		t.Helper()
		if err := json.Unmarshal([]byte(s.Must(append([]string{"quota", verb, "--json"}, names...)...)), &views); err != nil || len(views) == 0 {
			t.Fatal(err, views)
		}
		return views[0]
	}
	if v := show("show"); v.Address != me || v.Messages != 4 || v.Percent != 100 || v.QuotaMessages != 4 {
		t.Errorf("shown %+v", v)
	}
	// A sum that is wrong is put right.
	sum := filepath.Join(s.Data, "mail", "example.test", "hello", "Maildir", "maildirsize")
	check(t, os.WriteFile(sum, []byte("1048576S,4C\n10 1\n"), 0o660))
	if v := show("show", me); v.Messages != 1 {
		t.Errorf("shown %+v", v)
	}
	if v := show("recount", me); v.Messages != 4 {
		t.Errorf("counted %+v", v)
	}
	// A prototype's quota goes to many.
	s.Must("account", "add", "ann@example.test", "--json")
	s.Must("account", "add", "bob@example.test", "--json")
	if got := s.Must("quota", "copy", me, "example.test", "--yes"); !strings.Contains(got, "2 accounts have got the quota of 1MiB and 4 messages; 1 had it already") {
		t.Error(got)
	}
	if got := s.Must("quota", "show", "bob@example.test"); !strings.Contains(got, "bob@example.test  0 bytes  1MiB   0         4      0 %") {
		t.Error(got)
	}
}

func TestContentRulesOfARunningServerAreReadAgain(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(filepath.Dir(dataFolder(t)), "rules")
	check(t, os.WriteFile(rules, []byte("Subject: \"ILOVEYOU\" REJECT 501 no worms\nSubject: /odd/ HOLD\n"), 0o644))
	os.Chmod(filepath.Dir(rules), 0o755)
	s := quickstart(t, dataFolder(t), "--set", "content_rules.files="+rules)
	me := s.Account
	if err := s.send("you@example.org", me, "ILOVEYOU"); err == nil || !strings.Contains(err.Error(), `501 "5.0.0 no worms`) {
		t.Errorf("a worm: %v", err)
	}
	for _, subject := range []string{"odd", "even"} {
		check(t, s.send("you@example.org", me, subject))
	}
	s.arrives("even")
	if got := s.Must("queue", "list", "--state", "held"); !strings.Contains(got, "1 messages") {
		t.Error(got)
	}
	s.Must("queue", "release", "--all", "--yes")
	s.arrives("odd")
	check(t, os.WriteFile(rules, []byte("Subject: /even/ REJECT\n"), 0o644))
	eventually(t, "the new rules count", func() bool {
		err := s.send("you@example.org", me, "even")
		return err != nil && strings.Contains(err.Error(), `550 "5.7.1`)
	})
	// A slip of the pen changes nothing, and is shown.
	check(t, os.WriteFile(rules, []byte("/oops\n"), 0o644))
	eventually(t, "status shows the mistake", func() bool { return strings.Contains(s.Must("status"), rules+":1:") })
	if err := s.send("you@example.org", me, "even"); err == nil {
		t.Error("the rules are out of force")
	}
}
