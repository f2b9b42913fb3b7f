package route

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/directory/sysuser"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
	"github.com/postilion/postilion/internal/reason"
)

// passwd is a system's users.
type passwd map[string]sysuser.User

func (p passwd) File() string { return "passwd" }

func (p passwd) Lookup(name string) (sysuser.User, bool, error) {
	if name == "trouble" {
		return sysuser.User{}, false, errors.New("the network's users cannot be asked")
	}
	u, ok := p[name]
	u.Name = name
	return u, ok, nil
}

// homes is who owns which folder.
func homes(dir string) (uid, gid uint32, ok bool, err error) {
	uid, ok = map[string]uint32{"/home/joe": 507, "/home/ann": 508, "/home/foreign": 1, "/root": 0, "/home/joe-x": 509, "/h/Upper": 510}[dir]
	if dir == "/net/slow" {
		return 0, 0, false, errors.New("/net/slow: no answer")
	}
	return uid, 0, ok, nil
}

// host is a Resolver with files of its own. The clock moves by a second with each question, so that
// every change of a file is seen.
type host struct {
	*Resolver
	t      *testing.T
	folder string
	now    time.Time
}

// files are names below the host's folder with their texts; a key of Options that begins with "@" names one.
func newHost(t *testing.T, o Options, files map[string]string) *host {
	t.Helper()
	h := &host{t: t, folder: t.TempDir(), now: time.Now()}
	for name, text := range files {
		h.write(name, text)
	}
	for _, p := range []*string{&o.LocalsFile, &o.VirtualDomainsFile, &o.PercentHackFile, &o.RoutesFile, &o.Users, &o.VirtUserTable, &o.Access} {
		if name, ok := strings.CutPrefix(*p, "@"); ok {
			*p = filepath.Join(h.folder, name)
		}
	}
	for i, name := range o.AliasFiles {
		o.AliasFiles[i] = filepath.Join(h.folder, name)
	}
	if o.Host == "" {
		o.Host = "mx.test"
	}
	users := passwd{
		"joe": {UID: 507, GID: 100, Home: "/home/joe", Line: 2}, "ann": {UID: 508, GID: 100, Home: "/home/ann", Line: 3},
		"root": {Home: "/root", Line: 1}, "homeless": {UID: 600, Home: "/nowhere", Line: 4}, "foreign": {UID: 601, Home: "/home/foreign", Line: 5},
		"Upper": {UID: 510, Home: "/h/Upper", Line: 6}, "slow": {UID: 602, Home: "/net/slow", Line: 7}, "alias": {UID: 7790, GID: 2108, Home: "/var/qmail/alias", Line: 8},
	}
	r, err := NewWith(o, Deps{Directory: newFake(), Users: users, Now: func() time.Time { h.now = h.now.Add(time.Second); return h.now }})
	if err != nil {
		t.Fatal(err)
	}
	if r.system != nil && r.system.users != nil {
		r.system.users.owners.stat = homes
	}
	h.Resolver = r
	return h
}

func (h *host) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.folder, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		h.t.Fatal(err)
	}
}

// answer routes an address and tells what it is in one line.
func (h *host) answer(address string) string {
	h.t.Helper()
	r, err := h.Route(context.Background(), mail.ParseAddress(address))
	if err != nil {
		e := reason.As(err)
		return strings.ReplaceAll(fmt.Sprintf("waits %s: %v", e.Reason, e.Cause), h.folder+"/", "")
	}
	return told(r)
}

// told is summary with the kinds that system users bring.
func told(r Route) string {
	switch r.Kind {
	case SystemUser:
		u := r.User
		s := fmt.Sprintf("%s %d:%d %s .qmail%s%s LOCAL %s HOST %s", u.Name, u.UID, u.GID, u.Home, u.Dash, u.Ext, u.Local, u.Host)
		for _, i := range u.Instructions {
			s += " {" + i.Line + "}"
		}
		if !u.Owner.IsZero() {
			s += " owner " + u.Owner.String()
		}
		return s
	case Discard:
		return "discard"
	}
	return summary(r)
}

func (h *host) want(table map[string]string) {
	h.t.Helper()
	for address, want := range table {
		if diff := cmp.Diff(want, h.answer(address)); diff != "" {
			r, _ := h.Route(context.Background(), mail.ParseAddress(address))
			h.t.Errorf("%s: %s\nsteps %q", address, diff, r.Steps)
		}
	}
}

const remote = " via : tls=opportunistic"

// The vectors of the reference about routing, on a host like the one they were found on.
func TestVectorsOfRouting(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{
		SystemUsers: true, LocalsFile: "@locals", VirtualDomainsFile: "@virtualdomains", PercentHackFile: "@percenthack", RoutesFile: "@smtproutes",
	}, map[string]string{
		"locals":         "mx.test\nboth.test\n",
		"virtualdomains": "both.test:joe-vv\nvirt.test:joe-vv\nu@exact.test:joe-ex\n.wild.test:joe-wild\nexc.wild.test:\nu@both.test:joe-no\n",
		"percenthack":    "ph.test\n",
		"smtproutes":     "x.route.test:\n.route.test:gw.example\nten.route.test:[192.0.2.7]:26\n:hub.example\n",
	})
	hub := " via :hub.example tls=opportunistic"
	for _, c := range []struct{ vector, address, want string }{
		{"3", "joe", "joe 507:100 /home/joe .qmail LOCAL joe HOST mx.test"},
		{"4", "joe@far.test@fix.me", "remote fix.me" + hub}, // the stored form: the last @ counts
		{"4", "a b@mx.test", "alias 7790:2108 /var/qmail/alias .qmail-a b LOCAL a b HOST mx.test"},
		{"12", "joe@both.test", "joe 507:100 /home/joe .qmail LOCAL joe HOST both.test"},
		{"12", "u@both.test", "alias 7790:2108 /var/qmail/alias .qmail-u LOCAL u HOST both.test"},
		{"13", "u@exact.test", "joe 507:100 /home/joe .qmail-ex-u LOCAL joe-ex-u HOST exact.test"},
		{"13", "U@EXACT.test", "joe 507:100 /home/joe .qmail-ex-U LOCAL joe-ex-U HOST EXACT.test"},
		{"13", "v@exact.test", "remote exact.test" + hub},
		{"14", "a@exc.wild.test", "remote exc.wild.test" + hub},
		{"14", "a@in.wild.test", "joe 507:100 /home/joe .qmail-wild-a LOCAL joe-wild-a HOST in.wild.test"},
		{"14", "a@very.exc.wild.test", "joe 507:100 /home/joe .qmail-wild-a LOCAL joe-wild-a HOST very.exc.wild.test"},
		{"14", "a@wild.test", "remote wild.test" + hub},
		{"15", "Info.X@VIRT.test", "joe 507:100 /home/joe .qmail-vv-Info.X LOCAL joe-vv-Info.X HOST VIRT.test"},
		{"16", "p%q.test%virt.test@ph.test", "joe 507:100 /home/joe .qmail-vv-p%q.test LOCAL joe-vv-p%q.test HOST virt.test"},
		{"16", "p%ph.test%ph.test@PH.test", "remote ph.test" + hub}, // unwinds twice; ph.test itself is another host's
		{"16", "p%q.test@mx.test", "alias 7790:2108 /var/qmail/alias .qmail-p%q.test LOCAL p%q.test HOST mx.test"},
		{"17", "a@x.route.test", "remote x.route.test" + remote},
		{"17", "a@y.route.test", "remote y.route.test via :gw.example tls=opportunistic"},
		{"17", "a@ten.route.test", "remote ten.route.test via :[192.0.2.7]:26 tls=opportunistic"},
		{"17", "a@route.test", "remote route.test" + hub},
		{"23", "JOE-A.B-C@mx.test", "joe 507:100 /home/joe .qmail-A.B-C LOCAL JOE-A.B-C HOST mx.test"},
		{"30", "@mx.test", "discard"},
		{"30", "@virt.test", "joe 507:100 /home/joe .qmail-vv- LOCAL joe-vv- HOST virt.test"},
		{"31", "Joe@MX.test", "joe 507:100 /home/joe .qmail LOCAL Joe HOST MX.test"},
	} {
		if diff := cmp.Diff(c.want, h.answer(c.address)); diff != "" {
			t.Errorf("vector %s: %s: %s", c.vector, c.address, diff)
		}
	}
}

// What a sender is told of a virtual address is the one he wrote.
func TestVector36FinalAddressHasNoPrefix(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{SystemUsers: true, VirtualDomains: []string{"virt.test:joe-vv"}}, nil)
	r, err := h.Route(context.Background(), mail.ParseAddress("Info@Virt.test"))
	if err != nil || r.Final.String() != "Info@Virt.test" || !r.Local {
		t.Errorf("%+v %v", r, err)
	}
}

func TestWhoGetsALocalPart(t *testing.T) {
	t.Parallel()
	alias := func(local string) string {
		return "alias 7790:2108 /var/qmail/alias .qmail-" + local + " LOCAL " + local + " HOST mx.test"
	}
	long := "joe-" + strings.Repeat("x", 200)
	newHost(t, Options{SystemUsers: true, DefaultDomain: "mx.test"}, nil).want(map[string]string{
		"joe@mx.test":            "joe 507:100 /home/joe .qmail LOCAL joe HOST mx.test",
		"joe-@mx.test":           "joe 507:100 /home/joe .qmail- LOCAL joe- HOST mx.test",
		"Joe-Foo-bar@mx.test":    "joe 507:100 /home/joe .qmail-Foo-bar LOCAL Joe-Foo-bar HOST mx.test",
		"nobody-x@mx.test":       alias("nobody-x"),
		"-joe@mx.test":           alias("-joe"),
		"postmaster@mx.test":     alias("postmaster"),
		"root@mx.test":           alias("root"),     // uid 0
		"homeless@mx.test":       alias("homeless"), // no home
		"foreign-x@mx.test":      alias("foreign-x"),
		"Upper@mx.test":          alias("Upper"),
		"upper@mx.test":          alias("upper"),
		"trouble@mx.test":        "waits route-file-broken: the network's users cannot be asked",
		"slow@mx.test":           "waits route-file-broken: /net/slow: no answer",
		long + "@mx.test":        "joe 507:100 /home/joe .qmail-" + long[4:] + " LOCAL " + long + " HOST mx.test",
		"joe@[127.0.0.1]":        "joe 507:100 /home/joe .qmail LOCAL joe HOST mx.test",
		"joe":                    "joe 507:100 /home/joe .qmail LOCAL joe HOST mx.test",
		"joe@example.test":       "mailbox joe@example.test final joe@example.test (local)", // the directory first
		"ann@example.test":       "refused 5.1.1 mailbox-unknown (local)",
		"ann@localhost":          "refused 5.1.1 mailbox-unknown (local)", // not in locals
		"joe@elsewhere.example":  "remote elsewhere.example" + remote,
		"joe/../../x@mx.test":    alias("joe/../../x"),
		"joe-../../../x@mx.test": "joe 507:100 /home/joe .qmail-../../../x LOCAL joe-../../../x HOST mx.test",
	})
}

func TestADomainOfBothHasAccountsAndSystemUsers(t *testing.T) {
	t.Parallel()
	newHost(t, Options{SystemUsers: true, Locals: []string{"Example.test", "catch.test"}}, nil).want(map[string]string{
		"joe@example.test": "mailbox joe@example.test final joe@example.test (local)",
		"ann@example.test": "ann 508:100 /home/ann .qmail LOCAL ann HOST example.test",
		"ann@catch.test":   "mailbox all@catch.test final all@catch.test (local)",
		"joe@mx.test":      "refused 5.1.1 mailbox-unknown (local)", // locals are said: the host name is none of them
	})
}

func TestPostmasterMayBeAUserOfTheSystem(t *testing.T) {
	t.Parallel()
	newHost(t, Options{SystemUsers: true, Postmaster: "joe@mx.test"}, nil).want(map[string]string{
		"postmaster@example.test": "forward joe@mx.test (local)", "abuse@localhost": "forward joe@mx.test (local)",
		"postmaster": "alias 7790:2108 /var/qmail/alias .qmail-postmaster LOCAL postmaster HOST mx.test",
	})
}

const assignments = "=joe:joe:507:100:/home/joe:::\n+joe-:joe:507:100:/home/joe:-::\n+list-:ann:508:100:/home/ann:-:pre-:\n" +
	"=master:root:0:0:/root:::\n+dom.ain-:dom.ain:89:89:/home/vpopmail/domains/dom.ain:-::\n=odd:joe:507:100:home:::\n.\n"

func TestUsersAssignGoesBeforePasswd(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{SystemUsers: true, Users: "@users", VirtualDomains: []string{"dom.ain:dom.ain"}}, map[string]string{"users/assign": assignments})
	want := map[string]string{
		"JOE@mx.test":          "joe 507:100 /home/joe .qmail LOCAL JOE HOST mx.test",
		"joe-Foo@mx.test":      "joe 507:100 /home/joe .qmail-Foo LOCAL joe-Foo HOST mx.test",
		"List-Foo@mx.test":     "ann 508:100 /home/ann .qmail-pre-Foo LOCAL List-Foo HOST mx.test",
		"x@dom.ain":            "dom.ain 89:89 /home/vpopmail/domains/dom.ain .qmail-x LOCAL dom.ain-x HOST dom.ain",
		"ann-x@mx.test":        "ann 508:100 /home/ann .qmail-x LOCAL ann-x HOST mx.test",
		"nobody@mx.test":       "alias 7790:2108 /var/qmail/alias .qmail-nobody LOCAL nobody HOST mx.test",
		"joe@example.test":     "mailbox joe@example.test final joe@example.test (local)",
		"master@mx.test":       "waits deliver-as-root: users/assign:4: uid 0",
		"odd@mx.test":          `waits home-not-absolute: users/assign:6: home "home"`,
		"joe@elsewhere.sample": "remote elsewhere.sample" + remote,
	}
	h.want(want)
	h.write("users/cdb", "no cdb at all") // decides where it exists
	h.want(map[string]string{"joe@example.test": want["joe@example.test"], "a@elsewhere.example": "remote elsewhere.example" + remote})
	if got := h.answer("joe@mx.test"); !strings.HasPrefix(got, "waits route-file-broken: users/cdb: ") {
		t.Error("a broken cdb:", got)
	}
	if err := os.Remove(filepath.Join(h.folder, "users/cdb")); err != nil {
		t.Fatal(err)
	}
	h.want(want)
	h.write("users/assign", assignments[:100])
	if got := h.answer("joe@mx.test"); !strings.HasPrefix(got, "waits route-file-broken: users/assign:4: ") {
		t.Error("an assign that was cut off:", got)
	}
}

func TestFilesAreReadAgainAndBrokenOnesHoldOnlyTheirMail(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{SystemUsers: true, LocalsFile: "@locals", VirtualDomainsFile: "@virtualdomains", RoutesFile: "@smtproutes"}, nil)
	h.want(map[string]string{"joe@mx.test": "joe 507:100 /home/joe .qmail LOCAL joe HOST mx.test", "joe@new.test": "remote new.test" + remote})
	h.write("locals", "new.test\n")
	h.write("virtualdomains", "other.test:joe\n")
	h.write("smtproutes", "bad.example:gw:port\n:gw.example\nmx.test:self.example\n")
	h.want(map[string]string{
		"joe@new.test":       "joe 507:100 /home/joe .qmail LOCAL joe HOST new.test",
		"joe@mx.test":        "remote mx.test via :self.example tls=opportunistic",
		"a@other.test":       "joe 507:100 /home/joe .qmail-a LOCAL joe-a HOST other.test",
		"a@elsewhere.sample": "remote elsewhere.sample via :gw.example tls=opportunistic",
		"a@bad.example":      `waits route-file-broken: smtproutes:1: relay "gw": port "port", want a number from 1 to 65535`,
	})
	if err := errors.Join(os.Remove(h.folder+"/virtualdomains"), os.Mkdir(h.folder+"/virtualdomains", 0o755)); err != nil {
		t.Fatal(err)
	}
	h.want(map[string]string{
		"joe@new.test":       "joe 507:100 /home/joe .qmail LOCAL joe HOST new.test",
		"joe@example.test":   "mailbox joe@example.test final joe@example.test (local)",
		"a@elsewhere.sample": "waits route-file-broken: virtualdomains: want a regular file",
	})
}

func TestEnvNoHostAndLocalIPHost(t *testing.T) {
	t.Parallel()
	newHost(t, Options{SystemUsers: true, Locals: []string{"a.test", "b.test"}, EnvNoHost: "A.test", LocalIPHost: "b.test"}, nil).want(map[string]string{
		"Joe":             "joe 507:100 /home/joe .qmail LOCAL Joe HOST a.test",
		"joe@[127.0.0.1]": "joe 507:100 /home/joe .qmail LOCAL joe HOST b.test",
		"joe@[192.0.2.9]": "remote [192.0.2.9]" + remote,
	})
	newHost(t, Options{SystemUsers: true, Locals: []string{"a.test"}, EnvNoHost: "far.test"}, nil).want(map[string]string{
		"joe": "remote far.test" + remote, "postmaster": "refused 4.3.5 postmaster-unset (local)",
	})
}

// A null client as qmail has it, and by its own key.
func TestANullClientSendsEverythingToItsHub(t *testing.T) {
	t.Parallel()
	want := func(domain string) string { return "remote " + domain + " via :hub.example tls=opportunistic" }
	for name, o := range map[string]Options{
		"control files": {SystemUsers: true, LocalsFile: "@locals", RoutesFile: "@smtproutes"},
		"null_client":   {NullClient: true, NextHop: "hub.example"},
	} {
		h := newHost(t, o, map[string]string{"locals": "", "smtproutes": ":hub.example\n"})
		h.want(map[string]string{
			"joe@mx.test": want("mx.test"), "joe": want("mx.test"), "root": want("mx.test"), "postmaster@mx.test": want("mx.test"),
			"joe@localhost": want("localhost"), "joe@elsewhere.example": want("elsewhere.example"), "joe@[127.0.0.1]": want("mx.test"),
		})
		if t.Failed() {
			t.Fatal(name)
		}
	}
	if _, err := New(Options{Host: "mx.test", NullClient: true}, newFake(), nil); err == nil || !strings.Contains(err.Error(), "null_client: want next_hop") {
		t.Error(err)
	}
}

func TestWrongKeysOfSystemUsersAreNamed(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Host: "mx.test", SystemUsers: true, VirtualDomains: []string{"nothing"}, UserBreak: "--", AliasHome: "alias", EnvNoHost: "a..b", LocalIPHost: "c d"}, nil, nil)
	for _, want := range []string{`virtual_domains[0] "nothing"`, `user_break "--"`, `alias_home "alias"`, "env_no_host", "local_ip_host"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if _, err = New(Options{Host: "mx.test", VirtualDomains: []string{"a:b"}}, nil, nil); err == nil || !strings.Contains(err.Error(), "virtual_domains: want system_users") {
		t.Error(err)
	}
}

func TestSendmailsTables(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{SystemUsers: true, VirtUserTable: "@virtusertable", Access: "@access", DefaultDomain: "mx.test"}, map[string]string{
		"virtusertable": "info@v.test\tjoe\nsame@v.test same@v.test\n@v.test %1@elsewhere.example\n@list.test error:nouser 550 No such list\nplus+*@mx.test joe-%2\n" +
			"wait@mx.test error:tempfail come back\nodd@mx.test error:5.7.0:550 \"go away\"\ntwo@mx.test a@b.test,c@d.test\nalone@mx.test\n@gate.test %1%3@mx.test\n" +
			"prog@mx.test |prog x\njoe@mx.test joe@mx.test,\n  JIM@far.test kim\n",
		"access": "To:spam@mx.test REJECT\nTo:gone.test ERROR:5.1.6:550 moved away\nhole@ DISCARD\nTo:ok.gone.test OK\nbad.test DENY\n10.0.0 RELAY\nTo:sub@gone.test 451 later\nskip.gone.test SKIP\n",
	})
	h.want(map[string]string{
		"info@v.test":       "forward joe@mx.test (local)",
		"any+x@V.test":      "forward any@elsewhere.example (local)",
		"any+x@gate.test":   "forward any+x@mx.test (local)",
		"same@v.test":       "remote v.test" + remote,
		"x@list.test":       "refused 5.1.1 refused-by-table (local)",
		"plus+y@mx.test":    "forward joe-y@mx.test (local)",
		"wait@mx.test":      "refused 4.2.1 deferred-by-table (local)",
		"odd@mx.test":       "refused 5.7.0 refused-by-table (local)",
		"two@mx.test":       "forward a@b.test c@d.test (local)",
		"prog@mx.test":      `waits route-file-broken: virtusertable:11: "|prog x": want addresses, or error:CODE TEXT`,
		"alone@mx.test":     "waits route-file-broken: virtusertable:9: a key alone, want blanks and a value behind it",
		"Spam@MX.test":      "refused 5.2.1 refused-by-table",
		"x@gone.test":       "refused 5.1.6 refused-by-table",
		"x@a.b.gone.test":   "refused 5.1.6 refused-by-table",
		"x@ok.gone.test":    "remote ok.gone.test" + remote,
		"x@skip.gone.test":  "refused 5.1.6 refused-by-table",
		"sub@gone.test":     "refused 4.2.1 deferred-by-table",
		"hole@anywhere.net": "discard",
		"x@bad.test":        `waits route-file-broken: access:5: "DENY": want OK, RELAY, REJECT, DISCARD, SKIP, ERROR:CODE TEXT or a reply CODE TEXT`,
		"joe@mx.test":       `forward \joe@mx.test JIM@far.test kim@mx.test (local)`,
		`\joe@mx.test`:      `joe 507:100 /home/joe .qmail LOCAL \joe HOST mx.test`,
	})
}

// Each decision names the line that made it.
func TestStepsNameFileAndLine(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{SystemUsers: true, Locals: []string{"mx.test"}, VirtualDomainsFile: "@virtualdomains", PercentHackFile: "@percenthack", RoutesFile: "@smtproutes"}, map[string]string{
		"virtualdomains": "# comment\nvirt.test:joe-vv\n", "percenthack": "ph.test\n", "smtproutes": "\n.far.test:gw.example\n",
	})
	for address, want := range map[string]string{
		"homeless%mx.test@ph.test": "percenthack:1 | route.locals:1 | passwd:4 | passwd:8",
		"a@virt.test":              "virtualdomains:2 | passwd:2",
		"a@very.far.test":          "directory: domains | smtproutes:2 .far.test:gw.example tls=opportunistic",
	} {
		r, err := h.Route(context.Background(), mail.ParseAddress(address))
		if err != nil {
			t.Fatal(err)
		}
		var places []string
		for _, s := range r.Steps {
			places = append(places, strings.ReplaceAll(s.Where, h.folder+"/", ""))
		}
		if diff := cmp.Diff(want, strings.Join(places, " | ")); diff != "" {
			t.Errorf("%s: %s", address, diff)
		}
	}
}

// Whatever an address holds: nobody gets it as root, its files are below a home and named
// .qmail…, and it never becomes a file, a program or a path of its own (qmail reference 9.3).
func TestNoAddressReachesOutsideAHome(t *testing.T) {
	t.Parallel()
	h := newHost(t, Options{SystemUsers: true, Locals: []string{"mx.test"}, VirtualDomains: []string{":joe-all"}, PercentHack: []string{"ph.test"}, AliasFiles: []string{"aliases"}, Users: "@users"},
		map[string]string{"aliases": "list: a@b.test\np: |prog\n", "users/assign": assignments})
	parts := rapid.SampledFrom([]string{"joe", "JOE", "root", "Upper", "-", ".", "..", "/", "../", "|", "&", "%", "@", "\\", "\x00", "\n", "p", "list", "master", "é", "\xff", ":", "+", " ", "alias"})
	rapid.Check(t, func(t *rapid.T) {
		a := mail.Address{Local: strings.Join(rapid.SliceOfN(parts, 0, 6).Draw(t, "local"), ""), Domain: rapid.SampledFrom([]string{"mx.test", "ph.test", "virt.test", ""}).Draw(t, "domain")}
		r, err := h.Route(context.Background(), a)
		if err != nil {
			if e := reason.As(err); e.Class != reason.Temporary {
				t.Fatalf("%q: %v", a, err)
			}
			return
		}
		if r.Kind != SystemUser {
			return
		}
		u := r.User
		if u.UID == 0 || !filepath.IsAbs(u.Home) {
			t.Fatalf("%q: %+v", a, u)
		}
		for _, name := range dotqmail.Search(u.Dash, u.Ext) {
			if slices.Contains(strings.Split(name.File, "/"), "..") || !strings.HasPrefix(name.File, ".qmail") {
				t.Fatalf("%q looks for %q", a, name.File)
			}
		}
		for _, i := range u.Instructions {
			if strings.Contains(i.Line, a.Local) && a.Local != "p" && i.Line != "!prog" {
				t.Fatalf("%q became an instruction: %q", a, i.Line)
			}
		}
	})
}
