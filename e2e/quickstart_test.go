package e2e

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
)

// quickstart runs the first command of the manual as a stranger does, without a
// configuration of the test's; only the load of other tests holds nothing back.
func quickstart(t *testing.T, data string) (s *server, told map[string]any) {
	s = &server{t: t, bin: binary(t, ""), data: data, addr: map[string]string{}}
	out := s.launch([]string{"quickstart", domain, "--json", "--data", data,
		"--set", "process.queue_load=-1", "--set", "floors.refuse_load=-1"})
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		t.Fatalf("quickstart printed no object: %v; its log:\n%s", err, s.log.tail())
	}
	go io.Copy(io.Discard, out)
	t.Cleanup(s.tidy)
	for name, addr := range told["listeners"].(map[string]any) {
		s.addr[name] = addr.(string)
	}
	s.account, s.password = told["account"].(string), told["password"].(string)
	return s, told
}

func TestQuickstartFindsEverythingAgain(t *testing.T) {
	t.Parallel()
	data := newFolder(t) + "/new"
	s, first := quickstart(t, data)
	for _, name := range []string{"smtp", "submission", "submissions", "pop3", "pop3s"} {
		if !strings.HasPrefix(s.addr[name], "127.0.0.1:") {
			t.Errorf("%s listens on %q", name, s.addr[name])
		}
	}
	if first["new"] != true || first["data"] != data {
		t.Errorf("the first start told %v", first)
	}
	check(t, s.send("sender@else.example", s.account, letter("kept")))
	checkWhole(t, s.arrived(s.account, s.password, 1)[0], letter("kept"))
	c, err := dialPOP(s.addr["pop3"], s.account, s.password)
	check(t, err)
	ids, err := c.uidls()
	check(t, err)
	c.quit()
	s.stop()

	s, second := quickstart(t, data)
	if second["new"] == true {
		t.Error("the second start calls the folder new")
	}
	for _, key := range []string{"account", "password", "data", "host", "certificate"} {
		if first[key] != second[key] {
			t.Errorf("%s was %v and is %v", key, first[key], second[key])
		}
	}
	checkWhole(t, s.arrived(s.account, s.password, 1)[0], letter("kept"))
	c, err = dialPOP(s.addr["pop3"], s.account, s.password)
	check(t, err)
	defer c.quit()
	if again, err := c.uidls(); err != nil || again != ids {
		t.Errorf("UIDL was %q and is %q (%v)", ids, again, err)
	}
}

func TestASecondServerOnAFolderIsToldWhoHasIt(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	for _, args := range [][]string{{"serve"}, {"quickstart", domain}} {
		out, err := s.run(args...)
		if err == nil || !strings.Contains(err.Error(), s.data) {
			t.Errorf("%v on a served folder: %q, %v", args, out, err)
		}
	}
	check(t, s.send("sender@else.example", s.account, letter("still here")))
}

func TestVerbsTellThatNoServerRuns(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	s.stop()
	if _, err := s.run("status"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("status without a server: %v", err)
	}
	if _, err := os.Stat(s.data + "/postilion.toml"); err != nil {
		t.Error(err)
	}
	// The folder can be read and changed all the same.
	if list := s.must("account", "list"); !strings.Contains(list, s.account) {
		t.Errorf("account list without a server: %q", list)
	}
	password := s.addAccount("later@" + domain)
	s.serve()
	check(t, s.send("sender@else.example", "later@"+domain, letter("late")))
	s.arrived("later@"+domain, password, 1)
}
