package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stranger is the uid of a user of this host who is nobody to the server. He need not be in passwd.
const stranger = 54321

// as runs a verb as an account, from a user without rights where the test can become one, and returns what it
// printed to either output.
func (s *server) as(address, password string, args ...string) (string, error) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Bin, append(args, "--as", address, "--data", s.Data)...)
	cmd.Env = append(os.Environ(), "POSTILION_PASSWORD="+password)
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// told fails the test unless what a verb as an account prints has a text, or with an exit code other than wanted.
func (s *server) told(exit int, text, address, password string, args ...string) string {
	s.T.Helper()
	out, err := s.as(address, password, args...)
	have := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		have = e.ExitCode()
	} else if err != nil {
		s.T.Fatal(err)
	}
	if have != exit || !strings.Contains(out, text) {
		s.T.Errorf("%s: exit code %d, want %d:\n%s\nwant %s", strings.Join(args, " "), have, exit, out, text)
	}
	return out
}

// houses sets two domains up, one with an administrator, and returns the passwords.
func houses(t *testing.T, o setup) (s *server, adam, eve string) {
	s = newServer(t, o)
	s.Must("domain", "add", "own.test", "--max-accounts", "3", "--max-aliases", "1", "--quota", "10MiB", "--default-quota", "4MiB")
	s.Must("domain", "add", "secret.test")
	adam, eve = s.addAccount("adam@own.test"), s.addAccount("eve@secret.test")
	s.Must("domain", "admin", "add", "own.test", "adam@own.test")
	return s, adam, eve
}

func TestAnAdministratorManagesItsDomainAndHearsOfNoOther(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s, adam, _ := houses(t, o)
		tell := func(exit int, text string, args ...string) {
			t.Helper()
			out := s.told(exit, text, "adam@own.test", adam, args...)
			if strings.Contains(out, "secret") && !strings.Contains(strings.Join(args, " "), "secret") {
				t.Errorf("%s tells of another domain:\n%s", strings.Join(args, " "), out)
			}
		}
		password := strings.TrimSpace(s.told(0, "password: ", "adam@own.test", adam, "account", "add", "joe@own.test"))
		password = password[strings.LastIndexByte(password, ' ')+1:]
		check(t, s.Send("you@example.org", "joe@own.test", letter("hello")))
		s.arrived("joe@own.test", password, 1)
		tell(0, "4MiB", "account", "list")
		tell(2, `quota of "ann@own.test": want one of at most 2MiB: the domain has 10MiB for all accounts together`, "account", "add", "ann@own.test")
		tell(0, "is added", "account", "add", "ann@own.test", "--quota", "2MiB")
		tell(2, `account "bob@own.test": want at most 3 accounts in the domain: it has 3`, "account", "add", "bob@own.test", "--quota", "1")
		tell(0, "goes on to", "alias", "add", "info@own.test", "joe@own.test", "far@elsewhere.example")
		tell(2, `alias "more@own.test": want at most 1 aliases in the domain: it has 1`, "alias", "add", "more@own.test", "joe@own.test")
		tell(0, "is changed", "domain", "set", "own.test", "--catch-all", "info@own.test")
		tell(0, "own.test", "domain", "list")
		tell(0, "adam@own.test", "domain", "admin", "list")
		tell(0, "password: ", "account", "set", "joe@own.test", "--new-password")

		only := "only the server's owner may do that"
		tell(1, only, "domain", "set", "own.test", "--max-accounts", "100")
		tell(1, only, "domain", "set", "own.test", "--disabled")
		tell(1, only, "domain", "add", "more.test")
		tell(1, only, "domain", "remove", "own.test", "--all", "--yes")
		tell(1, only, "domain", "admin", "add", "own.test", "joe@own.test")
		tell(1, only, "domain", "admin", "remove", "own.test", "adam@own.test")
		tell(1, only, "account", "set", "joe@own.test", "--max-size", "1GiB")
		tell(1, only, "account", "set", "joe@own.test", "--password-hash", "{PLAIN}x")
		tell(1, only, "queue", "stats")
		tell(1, only, "queue", "pause", "--domain", "own.test")
		tell(1, only, "queue", "export", "-")
		for _, other := range []string{"secret.test", "none.test"} { // whether there is one is not told
			tell(1, "postilion: "+other+" is not yours to manage\n", "account", "list", other)
			tell(1, "postilion: x@"+other+" is not yours to manage\n", "account", "add", "x@"+other)
			tell(1, "postilion: "+other+" is not yours to manage\n", "account", "remove", "eve@"+other, "--yes")
			tell(1, "postilion: x@"+other+" is not yours to manage\n", "alias", "add", "x@"+other, "joe@own.test")
			tell(1, "postilion: "+other+" is not yours to manage\n", "domain", "admin", "list", other)
		}
		tell(2, `"|touch /tmp/x": want an address`, "alias", "set", "info@own.test", "|touch /tmp/x")
		tell(1, "programs and files are no targets here", "alias", "set", "info@own.test", "|touch@own.test")

		// The mail of a removed account is set aside, and its password is one no more.
		tell(0, "is removed; its mail is set aside", "account", "remove", "joe@own.test", "--yes")
		if list, _ := filepath.Glob(s.Data + "/mail/own.test/joe/*.removed-*"); len(list) != 1 {
			t.Errorf("set aside are %q", list)
		}

		client := "client=\"uid 54321\""
		if os.Getuid() != 0 {
			client = "client="
		}
		for _, want := range []string{"msg=operator role=console part=directory account=adam@own.test " + client, `to=joe@own.test text="account remove"`,
			`to=x@secret.test code=550 status=5.7.1 reason=admin-not-yours text="account add"`, `account=owner to=secret.test text="domain add"`} {
			if o.single {
				want = strings.ReplaceAll(want, "role=console ", "role=postilion ")
			}
			eventually(t, "the event "+want, func() bool { return strings.Contains(s.Log.String(), want) })
		}
	})
}

func TestAnAdministratorSeesOfTheQueueWhatIsItsDomains(t *testing.T) {
	t.Parallel()
	s, adam, eve := houses(t, setup{})
	ann := s.addAccount("ann@own.test")
	for from, password := range map[string]string{"ann@own.test": ann, "eve@secret.test": eve} {
		check(t, s.submitAs(from, password, "far@elsewhere.example"))
	}
	eventually(t, "both messages wait", func() bool { return len(s.queue()) == 2 })
	if out := s.told(0, "far@elsewhere.example", "adam@own.test", adam, "queue", "list"); !strings.Contains(out, "1 messages") || strings.Contains(out, "eve") {
		t.Errorf("an administrator sees\n%s", out)
	}
	s.told(1, "only the server's owner may do that", "adam@own.test", adam, "queue", "hold", "--all", "--yes")
	s.told(1, "no such message in the queue", "adam@own.test", adam, "queue", "show", s.queue("--account", "eve@secret.test")[0].ID)
	s.told(1, "is not yours to manage", "adam@own.test", adam, "queue", "list", "--account", "eve@secret.test")
	s.told(1, "the queue is not yours to manage", "ann@own.test", ann, "queue", "list")
	s.told(0, "1 of 1 messages are deleted", "adam@own.test", adam, "queue", "delete", "--all", "--yes")
	if left := s.queue(); len(left) != 1 || left[0].From != "eve@secret.test" {
		t.Errorf("left are %+v", left)
	}
}

func TestQuotasAreSeenAndSetByWhoAdministersThem(t *testing.T) {
	t.Parallel()
	s, adam, eve := houses(t, setup{})
	s.Must("account", "set", "adam@own.test", "--quota", "2MiB")
	ann := s.addAccount("ann@own.test")
	s.Must("account", "set", "ann@own.test", "--quota", "1MiB")
	for _, verb := range []string{"show", "recount"} {
		if out := s.told(0, "ann@own.test", "adam@own.test", adam, "quota", verb); strings.Contains(out, "secret.test") || strings.Contains(out, s.Account) {
			t.Errorf("others are told of:\n%s", out)
		}
		s.told(0, "ann@own.test", "adam@own.test", adam, "quota", verb, "own.test")
		s.told(1, "postilion: secret.test is not yours to manage\n", "adam@own.test", adam, "quota", verb, "eve@secret.test")
		s.told(1, "postilion: secret.test is not yours to manage\n", "adam@own.test", adam, "quota", verb, "secret.test")
		s.told(0, "eve@secret.test", "eve@secret.test", eve, "quota", verb) // anybody the own one
		if out := s.told(0, "1MiB", "ann@own.test", ann, "quota", verb, "ann@own.test"); strings.Contains(out, "adam") {
			t.Errorf("others are told of:\n%s", out)
		}
		s.told(1, "account adam@own.test: ", "ann@own.test", ann, "quota", verb, "adam@own.test")
	}
	s.told(0, "1 accounts have got the quota of 2MiB", "adam@own.test", adam, "quota", "copy", "adam@own.test", "ann@own.test")
	s.told(1, "secret.test is not yours to manage", "adam@own.test", adam, "quota", "copy", "adam@own.test", "eve@secret.test")
	s.told(1, "account adam@own.test: not found", "ann@own.test", ann, "quota", "copy", "adam@own.test", "ann@own.test")
}

func TestRightsLastOverRestartsAndBackupsAndEndWithTheAccount(t *testing.T) {
	t.Parallel()
	s, adam, eve := houses(t, setup{})
	s.told(1, "eve@secret.test: its owner may change its passwords; the rest is its administrator's", "eve@secret.test", eve, "account", "set", "eve@secret.test", "--quota", "1GiB")
	s.told(0, "password: ", "eve@secret.test", eve, "account", "app-password", "add", "eve@secret.test", "phone")
	s.told(1, "authentication failed", "eve@secret.test", "wrong", "account", "list")
	s.told(1, "authentication failed", "nobody@none.test", "wrong", "account", "list")

	copied := filepath.Join(t.TempDir(), "copy")
	s.Must("backup", copied)
	if out, err := exec.Command(s.Bin, "domain", "admin", "list", "--data", copied).CombinedOutput(); err != nil || !strings.Contains(string(out), "adam@own.test") {
		t.Errorf("the copy has %v\n%s", err, out)
	}
	s.Must("reload")
	s.Stop()
	s.serve()
	s.told(0, "is added", "adam@own.test", adam, "account", "add", "joe@own.test")
	s.Must("domain", "admin", "remove", "own.test", "adam@own.test")
	s.told(1, "x@own.test is not yours to manage", "adam@own.test", adam, "account", "add", "x@own.test")
	s.Must("domain", "admin", "add", "own.test", "adam@own.test")
	s.Must("account", "set", "adam@own.test", "--disabled")
	s.told(1, "authentication failed", "adam@own.test", adam, "account", "list")
	s.Must("account", "remove", "adam@own.test", "--yes")
	again := s.addAccount("adam@own.test")
	s.told(1, "x@own.test is not yours to manage", "adam@own.test", again, "account", "add", "x@own.test")
	s.Stop()
	s.told(3, "no server is running", "adam@own.test", again, "account", "list")
}

func TestNobodyTakesTheSocketFromTheServersOwner(t *testing.T) {
	t.Parallel()
	s, adam, _ := houses(t, setup{config: map[string]string{"admin.max_connections": "4", "admin.login_timeout": `"3s"`}})
	var silent []net.Conn
	for range 4 {
		c, err := net.Dial("unix", filepath.Join(s.Data, "run/manage.sock"))
		check(t, err)
		defer c.Close()
		silent = append(silent, c)
	}
	silent[0].Write(bytes.Repeat([]byte{'C', 0xff}, 100)) // which is no call
	s.Must("account", "list")
	s.Must("status")
	eventually(t, "the silent ones are left", func() bool {
		_, err := s.as("adam@own.test", adam, "account", "list")
		return err == nil
	})
	// Who guesses waits, by the user of this host that he is; the owner and another user do not.
	if os.Getuid() != 0 {
		return
	}
	for range 11 {
		s.as("eve@secret.test", "wrong", "account", "list")
	}
	s.told(4, "too many failed logins", "eve@secret.test", "wrong", "account", "list")
	if out := s.Must("block", "list"); !strings.Contains(out, "11 failed logins by uid 54321 of this host") {
		t.Errorf("blocked are\n%s", out)
	}
	s.told(0, "adam@own.test", "adam@own.test", adam, "account", "list") // who logged in from there before
}

// submitAs sends a letter as an account.
func (s *server) submitAs(account, password, to string) error {
	was, secret := s.Account, s.Password
	defer func() { s.Account, s.Password = was, secret }()
	s.Account, s.Password = account, password
	return s.submit(to, letter("out"))
}
