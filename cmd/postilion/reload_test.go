package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/e2e/e2etest"
)

func TestReloadSwitchesAndABadFileChangesNothing(t *testing.T) {
	t.Parallel()
	k := e2etest.NewSink(t)
	s := quickstart(t, dataFolder(t), "--set", "process.single=true")
	path := filepath.Join(s.Data, "postilion.toml")
	before, err := os.ReadFile(path)
	check(t, err)
	write := func(more string) {
		src := strings.Replace(string(before), "[route]\n", "[route]\n"+more, 1)
		check(t, os.WriteFile(path, []byte(src), 0o600))
	}
	write("next_hopp = \"x\"\n")
	for _, verb := range []string{"reload", "restart"} {
		p, err := exec.Command("postilion", verb, "--data", s.Data).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitConfig || !strings.Contains(string(p), "did you mean route.next_hop?") {
			t.Errorf("%s with a bad file: %v\n%s", verb, err, p)
		}
	}
	write("next_hop = \"" + k.Addr + "\"\n")
	if got := s.Must("reload"); !strings.Contains(got, "route.next_hop is in force") {
		t.Errorf("reload: %s", got)
	}
	check(t, s.submit("joe@elsewhere.example"))
	eventually(t, "the message goes to the new next hop", func() bool { return len(k.All()) == 1 })

	// What needs a restart is told as long as the server runs with another value, and no longer.
	hop := "next_hop = \"" + e2etest.NewSink(t).Addr + "\"\n"
	write(hop + "[smtp]\nmax_connections = 7\nmax_errors = 9\n[route]\n")
	pending := "smtp.max_connections has changed and needs `postilion restart`\n"
	for range 2 {
		if got := s.Must("reload"); !strings.HasSuffix(got, pending) {
			t.Errorf("reload: %s", got)
		}
	}
	write(hop)
	if got := s.Must("reload"); got != "smtp.max_errors is in force\n" {
		t.Errorf("reload of what the server runs with: %s", got)
	}
}
