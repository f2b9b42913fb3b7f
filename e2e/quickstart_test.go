package e2e

import (
	"os"
	"strings"
	"testing"
)

// quickstart runs the first command of the manual as a stranger does, without a
// configuration of the test's; only the load of other tests holds nothing back.
func quickstart(t *testing.T, data string) (s *server, told map[string]any) {
	s = bare(t, "", data)
	return s, s.Quickstart(domain, "--set", "process.queue_load=-1", "--set", "floors.refuse_load=-1")
}

func TestQuickstartFindsEverythingAgain(t *testing.T) {
	t.Parallel()
	data := newFolder(t) + "/new"
	s, first := quickstart(t, data)
	for _, name := range []string{"smtp", "submission", "submissions", "pop3", "pop3s"} {
		if !strings.HasPrefix(s.Addr[name], "127.0.0.1:") {
			t.Errorf("%s listens on %q", name, s.Addr[name])
		}
	}
	if first["new"] != true || first["data"] != data {
		t.Errorf("the first start told %v", first)
	}
	check(t, s.Send("sender@else.example", s.Account, letter("kept")))
	checkWhole(t, s.arrived(s.Account, s.Password, 1)[0], letter("kept"))
	c, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
	check(t, err)
	ids, err := c.UIDLs()
	check(t, err)
	c.Quit()
	s.Stop()

	s, second := quickstart(t, data)
	if second["new"] == true {
		t.Error("the second start calls the folder new")
	}
	for _, key := range []string{"account", "password", "data", "host", "certificate"} {
		if first[key] != second[key] {
			t.Errorf("%s was %v and is %v", key, first[key], second[key])
		}
	}
	checkWhole(t, s.arrived(s.Account, s.Password, 1)[0], letter("kept"))
	c, err = dialPOP(s.Addr["pop3"], s.Account, s.Password)
	check(t, err)
	defer c.Quit()
	if again, err := c.UIDLs(); err != nil || again != ids {
		t.Errorf("UIDL was %q and is %q (%v)", ids, again, err)
	}
}

func TestASecondServerOnAFolderIsToldWhoHasIt(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	for _, args := range [][]string{{"serve"}, {"quickstart", domain}} {
		out, err := s.Run(args...)
		if err == nil || !strings.Contains(err.Error(), s.Data) {
			t.Errorf("%v on a served folder: %q, %v", args, out, err)
		}
	}
	check(t, s.Send("sender@else.example", s.Account, letter("still here")))
}

func TestVerbsTellThatNoServerRuns(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	s.Stop()
	if _, err := s.Run("status"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("status without a server: %v", err)
	}
	if _, err := os.Stat(s.Data + "/postilion.toml"); err != nil {
		t.Error(err)
	}
	// The folder can be read and changed all the same.
	if list := s.Must("account", "list"); !strings.Contains(list, s.Account) {
		t.Errorf("account list without a server: %q", list)
	}
	password := s.addAccount("later@" + domain)
	s.serve()
	check(t, s.Send("sender@else.example", "later@"+domain, letter("late")))
	s.arrived("later@"+domain, password, 1)
}
