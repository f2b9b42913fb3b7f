package verbs

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/mail"
)

// The note of the first password goes when that account's password is changed, and stays
// when others' are.
func TestTheFirstPasswordIsForgottenWithItsAccountsOnly(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	note := filepath.Join(data, passwordFile)
	if err := os.WriteFile(note, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ForgetFirstPassword(data, mail.Address{Local: "joe", Domain: "example.test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(note); err != nil {
		t.Error("the note went with another account's password")
	}
	for range 2 { // it may be gone already
		if err := ForgetFirstPassword(data, mail.Address{Local: firstAccount, Domain: "example.test"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(note); err == nil {
		t.Error("the note of a password that was changed is still there")
	}
}

// A port that is taken is of no concern where another was given.
func TestATakenPortIsToldOfListenersThatAreOnAnother(t *testing.T) {
	t.Parallel()
	for _, port := range []string{"2110", "2995"} { // by us, or by whoever has it already
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			defer l.Close()
		}
	}
	data := filepath.Join(t.TempDir(), "data")
	r, err := Quickstart(t.Context(), QuickstartOptions{Domain: "example.test", Data: data, Config: filepath.Join(data, "postilion.toml"), Flags: []string{"pop3.listen=127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(r.Notes, "\n")
	if strings.Contains(notes, "2110") || !strings.Contains(notes, "port 2995 is taken: pop3s is on ") {
		t.Errorf("have %q", notes)
	}
}

func TestEachDomainOfQuickstartKeepsItsPassword(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	run := func(domain, host string) (*QuickstartResult, error) {
		return Quickstart(t.Context(), QuickstartOptions{Domain: domain, Host: host, Data: data, Config: filepath.Join(data, "postilion.toml")})
	}
	passwords := map[string]string{}
	for _, domain := range []string{"first.test", "second.test", "third.test"} {
		r, err := run(domain, "mail.first.test")
		if err != nil {
			t.Fatal(err)
		}
		if r.New != (domain == "first.test") || !r.Added || r.Password == "" || r.Account != "hello@"+domain {
			t.Errorf("%s: %+v", domain, r)
		}
		passwords[domain] = r.Password
	}
	for domain, password := range passwords {
		if r, err := run(domain, ""); err != nil || r.New || r.Added || r.Password != password {
			t.Errorf("%s again: %+v, %v; want the password %s", domain, r, err, password)
		}
	}
	if err := ForgetFirstPassword(data, mail.Address{Local: firstAccount, Domain: "second.test"}); err != nil {
		t.Fatal(err)
	}
	for domain, password := range passwords {
		if domain == "second.test" {
			password = ""
		}
		if r, err := run(domain, ""); err != nil || r.Password != password {
			t.Errorf("%s after a change of second.test's: %q, want %q (%v)", domain, r.Password, password, err)
		}
	}
	if _, err := run("first.test", "other.test"); err == nil || !strings.HasSuffix(err.Error(), `postilion.toml says host = "mail.first.test": change it there, or leave --host other.test out`) {
		t.Errorf("another host: %v", err)
	}
}

// A name that cannot be one is told before anything is written: what was, would be in the way of the next try.
func TestQuickstartWritesNothingThatWouldNotServe(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	run := func(host, hub string) (*QuickstartResult, error) {
		return Quickstart(t.Context(), QuickstartOptions{Domain: "first.test", Host: host, NullClient: hub, Data: data, Config: filepath.Join(data, "postilion.toml")})
	}
	for _, c := range []struct{ host, hub, want string }{
		{host: "bad host", want: `--host: domain "bad host": want a name of letters, digits and hyphens`},
		{host: "a..b", want: `--host: domain "a..b"`},
		{host: "192.0.2.1", want: `--host: domain "192.0.2.1"`},
		{host: "-x.test", want: `--host: domain "-x.test"`},
		{hub: "bad hub", want: "nothing was written: " + filepath.Join(data, "postilion.toml") + ":"},
	} {
		if _, err := run(c.host, c.hub); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
		if _, err := os.Stat(filepath.Join(data, "postilion.toml")); err == nil {
			t.Fatalf("%+v: a configuration was written", c)
		}
	}
	for range 2 { // the same name again is no other name
		if r, err := run("MX.é.test", ""); err != nil || r.Host != "mx.xn--9ca.test" {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

func TestPasswordsAreNeverTheSame(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		p := NewPassword()
		if len(p) != 23 || seen[p] {
			t.Fatalf("have %q", p)
		}
		seen[p] = true
	}
}
