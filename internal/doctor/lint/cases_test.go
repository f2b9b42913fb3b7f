package lint_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/doctor/lint"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/control"
)

// more writes control/morercpthosts and its database.
func (f tree) more(text, compiled string) {
	f.put("/var/qmail/control/morercpthosts", text)
	var b cdb.Buffer
	if err := control.CompileRcpthosts([]byte(compiled), &b); err != nil {
		f.t.Fatal(err)
	}
	f.put("/var/qmail/control/morercpthosts.cdb", string(b.Bytes()))
}

// touch changes a file's time alone.
func (f tree) touch(name string) { f.MapFS[strings.TrimPrefix(name, "/")].ModTime = tuesday }

func (f tree) remove(names ...string) {
	for _, name := range names {
		delete(f.MapFS, strings.TrimPrefix(name, "/"))
	}
}

// person adds an account to passwd, with its home, and to nothing else.
func (f tree) person(line string) {
	f.put("/etc/passwd", string(f.MapFS["etc/passwd"].Data)+line+"\n")
}

// What is nearly wrong, and right, and what stands at the edge of it.
func TestEdges(t *testing.T) {
	checkEach(t, []changed{
		// Control files.
		{"names that differ by one letter", func(f tree) {
			for _, name := range []string{"rcpthostss", "xrcpthosts", "rcptHosts", "rcpthosst", "rcpthost.cdb", "mine", "concurrencyremot"} {
				f.put("/var/qmail/control/"+name, "x\n")
			}
		}, `warning misnamed: /var/qmail/control/concurrencyremot: no program reads a control file of this name
warning misnamed: /var/qmail/control/rcptHosts: no program reads a control file of this name
warning misnamed: /var/qmail/control/rcpthostss: no program reads a control file of this name
warning misnamed: /var/qmail/control/xrcpthosts: no program reads a control file of this name
`},
		{"concurrency at its most", func(f tree) {
			f.put("/var/qmail/control/concurrencyremote", "120\n")
			f.put("/var/qmail/control/concurrencylocal", "121\n")
			f.put("/var/qmail/control/concurrencyincoming", "500\n")
			f.put("/var/qmail/control/queuelifetime", "500\n")
		}, "warning concurrency: /var/qmail/control/concurrencylocal:1: 121 is above 120\n"},
		{"defaultdelivery with a line that bounces", func(f tree) { f.put("/var/qmail/control/defaultdelivery", "joe (home)\n") },
			"wrong qmail-file-line: /var/qmail/control/defaultdelivery:1: \"joe (home)\" has a comment or quotes in a forward: want the bare address\n"},
		{"a control file that is a folder", func(f tree) { f.dir("/var/qmail/control/databytes", 0o755, 0) },
			"wrong unreadable: /var/qmail/control/databytes: it cannot be read: invalid argument\n"},
		{"locals missing: me alone is local", func(f tree) {
			f.remove("/var/qmail/control/locals")
			f.put("/var/qmail/control/virtualdomains", "virt.test:joe\nMX.example.test:joe\n")
		}, "wrong locals-and-virtualdomains: /var/qmail/control/virtualdomains:2: \"MX.example.test\" is in locals too, at /var/qmail/control/me:1\n"},
		{"a catch-all of virtualdomains, and exceptions", func(f tree) {
			f.put("/var/qmail/control/virtualdomains", ":joe-all\nnot.taken.test:\n.not.taken.test:\n")
		}, ""},
		{"a domain of morercpthosts is taken", func(f tree) {
			f.put("/var/qmail/control/virtualdomains", "more.test:joe\nother.test:joe\n")
			f.more("more.test\n", "more.test\n")
		}, "wrong not-in-rcpthosts: /var/qmail/control/virtualdomains:2: \"other.test\" is not in rcpthosts\n"},
		{"percenthack of a domain in morercpthosts", func(f tree) {
			f.put("/var/qmail/control/percenthack", "more.test\n")
			f.more("more.test\n", "more.test\n")
		}, "wrong percenthack-relay: /var/qmail/control/percenthack:1: \"more.test\" is taken from everybody\n"},

		// Databases.
		{"morercpthosts changed since", func(f tree) {
			f.more("more.test\nlater.test\n", "more.test\n")
			f.touch("/var/qmail/control/morercpthosts")
		}, "wrong cdb-older: /var/qmail/control/morercpthosts.cdb: it is older than /var/qmail/control/morercpthosts, and does not hold what that says\n"},
		{"morercpthosts in another order", func(f tree) { f.more("more.test\nlater.test\n", "later.test\nmore.test\n") }, ""},
		{"users/cdb that is a folder", func(f tree) { f.dir("/var/qmail/users/cdb", 0o755, 0) },
			"wrong unreadable: /var/qmail/users/cdb: it cannot be read: invalid argument\n"},
		{"users/cdb no database", func(f tree) { f.put("/var/qmail/users/cdb", "x") },
			"wrong cdb-older: /var/qmail/users/cdb: it does not hold what /var/qmail/users/assign says\n"},
		{"rules in every folder, and none in leftovers", func(f tree) {
			for _, name := range []string{"/etc/tcprules.d/tcp.qmail-smtpd", "/var/qmail/control/tcp.pop3", "/etc/tcp.smtp~", "/etc/tcp.smtp.tmp"} {
				f.put(name, ":allow\n")
			}
		}, `wrong cdb-missing: /etc/tcprules.d/tcp.qmail-smtpd: /etc/tcprules.d/tcp.qmail-smtpd.cdb is missing
wrong cdb-missing: /var/qmail/control/tcp.pop3: /var/qmail/control/tcp.pop3.cdb is missing
`},
		{"relaying for some, and for those who are turned away", func(f tree) {
			f.rules("10.:allow,RELAYCLIENT=\"\"\n:deny,RELAYCLIENT=\"\"\n")
		}, ""},
		{"relaying among other variables", func(f tree) { f.rules("10.:allow\n:allow,RBLSMTPD=\"\",RELAYCLIENT=\"\"\n") },
			"wrong rule-open-relay: /etc/tcp.smtp:2: every client that no other rule names may relay\n"},

		// Users.
		{"accounts that get no mail by intention, or by name", func(f tree) {
			f.person("nobody:x:65534:65534::/none:/bin/sh")
			f.person("system:x:999:999::/none:/bin/sh")
			f.person("off:x:1002:100::/none:/bin/false")
			f.person(strings.Repeat("l", 31) + ":x:1003:100::/srv/l:/bin/sh")
			f.person(strings.Repeat("m", 32) + ":x:1004:100::/srv/m:/bin/sh")
			f.dir("/srv/l", 0o755, 1003)
			f.dir("/srv/m", 0o755, 1004)
		}, fmt.Sprintf(`wrong account-new: /etc/passwd:8: user %q is not in users/assign
wrong user-skipped: /etc/passwd:9: user %q has a name of more than 31 bytes
wrong account-new: /etc/passwd:9: user %[2]q is not in users/assign
`, strings.Repeat("l", 31), strings.Repeat("m", 32))},
		{"an account that users/assign names whatever passwd is like", func(f tree) {
			f.person("kim:x:1002:100::/none:/bin/sh")
			f.assign(strings.Replace(assigned, ".\n", "=Kim:kim:1002:100:/none:::\n.\n", 1))
		}, ""},
		{"users/assign that is nobody's copy of passwd", func(f tree) {
			f.assign("=joe:joe:1002:100:/home/joe:::\n+joe-:joe:1002:100:/home/joe:-::\n.\n")
			f.person("kim:x:1002:100::/home/kim:/bin/sh")
			f.dir("/home/kim", 0o755, 1002)
			f.put("/var/qmail/alias/.qmail-kim", "&x@far.test\n")
		}, "warning alias-hidden: /var/qmail/alias/.qmail-kim: \"kim\" belongs to user \"kim\", by /etc/passwd:5\n"},
		{"the first person, and homes of passwd alone", func(f tree) {
			f.remove("/var/qmail/users/assign", "/var/qmail/users/cdb")
			f.person("first:x:1000:100::/none:/bin/sh")
			f.person("nobody:x:65534:65534::/srv/nobody:/bin/sh")
			f.dir("/srv/nobody", 0o777, 65534)
			f.dir("/home/joe", 0o757, 1001)
		}, `wrong user-skipped: /etc/passwd:5: user "first" has no home: "/none" does not exist
wrong home-writable: /home/joe: others can write into it
`},
		{"accounts that pw2u leaves out", func(f tree) {
			f.person("kim:x:1002:100::/home/kim:/bin/sh")
			f.dir("/home/kim", 0o755, 1002)
			f.put("/var/qmail/users/exclude", "kim\n")
		}, ""},
		{"accounts under other names", func(f tree) { f.put("/var/qmail/users/mailnames", "joe:joseph:jo\n") },
			"wrong account-new: /etc/passwd:4: user \"joe\" is not in users/assign\n"},
		{"entries that are not a person's own", func(f tree) {
			f.assign(strings.Replace(assigned, ".\n", "=sales:gone:1003:100:/home/gone:-:sales:\n=shop:shop:1004:100:/srv/shop:::\n+gone-:gone:1003:100:/home/gone:-::\n.\n", 1))
		}, ""},
		{"group and home changed since pw2u", func(f tree) {
			f.put("/etc/passwd", strings.Replace(passwd, "joe:x:1001:100", "joe:x:1001:200", 1))
		}, "wrong account-changed: /var/qmail/users/assign:4: user \"joe\" has uid 1001, gid 200, home \"/home/joe\" in passwd\n"},
		{"an alias hidden by a user of passwd", func(f tree) {
			f.remove("/var/qmail/users/assign", "/var/qmail/users/cdb")
			f.put("/var/qmail/alias/.qmail-joe", "&x@far.test\n")
			f.put("/var/qmail/alias/.qmail-kim", "&x@far.test\n")
			f.put("/var/qmail/alias/.qmail-joe-default", "&x@far.test\n")
			f.put("/var/qmail/alias/.qmail-j:oe", "&x@far.test\n")
			f.person("lee:x:1002:100::/home/lee:/bin/sh")
			f.dir("/home/lee", 0o755, 1002)
			f.dir("/var/qmail/alias/.qmail-lee", 0o755, 7790) // which is no alias
		}, "warning alias-hidden: /var/qmail/alias/.qmail-joe: \"joe\" belongs to user \"joe\", by /etc/passwd:4\n"},
		{"the alias user's home elsewhere", func(f tree) {
			f.put("/etc/passwd", strings.Replace(passwd, "/var/qmail/alias", "/home/alias", 1))
			f.assign(strings.ReplaceAll(assigned, "/var/qmail/alias", "/home/alias"))
			f.dir("/home/alias", 0o777, 7790)
		}, `wrong home-writable: /home/alias: others can write into it
warning no-mailer-daemon: /home/alias/.qmail-mailer-daemon: it is missing
wrong no-postmaster: /home/alias/.qmail-postmaster: it is missing
warning no-root: /home/alias/.qmail-root: it is missing
`},
		{"system aliases by the default", func(f tree) {
			f.remove("/var/qmail/alias/.qmail-postmaster", "/var/qmail/alias/.qmail-root", "/var/qmail/alias/.qmail-mailer-daemon")
			f.put("/var/qmail/alias/.qmail-default", "&joe@example.test\n")
		}, ""},
		{"system aliases that are users", func(f tree) {
			f.remove("/var/qmail/alias/.qmail-postmaster", "/var/qmail/alias/.qmail-root")
			f.assign(strings.Replace(assigned, ".\n", "=postmaster:joe:1001:100:/home/joe:-:pm:\n=root:root:0:0:/root:::\n.\n", 1))
		}, `warning no-root: /var/qmail/alias/.qmail-root: it is missing
wrong assign-root: /var/qmail/users/assign:7: "root" belongs to uid 0
`},
		{"lists of fastforward", func(f tree) {
			f.put("/var/qmail/alias/.qmail-default", "|fastforward -d /etc/aliases.cdb\n")
			f.put("/etc/aliases", "a: :include:/lists/a\nb: :include:/lists/b\nc: :include:/lists/c\n")
			f.put("/etc/aliases.cdb", "")
			for _, name := range []string{"/lists/a", "/lists/b", "/lists/b.bin", "/lists/c", "/lists/c.bin"} {
				f.put(name, "x@far.test\n")
			}
			f.touch("/lists/b")
			f.touch("/lists/c.bin")
		}, "wrong cdb-older: /lists/b.bin: it is older than /lists/b\n"},
		{"aliases that nothing reads", func(f tree) { f.put("/etc/aliases", "bad\n") }, ""},
		{"aliases not compiled", func(f tree) {
			f.put("/var/qmail/alias/.qmail-default", "|fastforward -d /etc/aliases.cdb\n")
			f.put("/etc/aliases", "a: kim\n")
		}, "wrong cdb-missing: /etc/aliases: /etc/aliases.cdb is missing\n"},
		{"homes of users/assign, each once", func(f tree) {
			f.assign(strings.Replace(assigned, ".\n", "=shop:shop:1004:100:/srv/shop:::\n+shop-:shop:1004:100:/srv/shop:-::\n.\n", 1))
			f.dir("/srv/shop", 0o757, 1004)
			f.put("/srv/shop/.qmail-", "\n./Maildir/\n")
			f.MapFS["srv/shop/.qmail-"].Mode = fs.ModeNamedPipe | 0o666
			f.put("/srv/shop/.qmail-a", "\n./Maildir/\n")
			f.dir("/srv/shop/.qmail-b", 0o777, 1004)
		}, `wrong home-writable: /srv/shop: others can write into it
wrong qmail-file-refused: /srv/shop/.qmail-a:1: Uh-oh: first line of .qmail file is blank. (#4.2.1)
`},
		{"homes of the system, and of root", func(f tree) {
			f.person("www:x:33:33::/var/www:/bin/sh")
			f.dir("/var/www", 0o777, 0)
			f.person("all:x:1002:100::/:/bin/sh")
			f.dir("/", 0o777, 1002)
			f.assign(strings.Replace(assigned, ".\n", "=all:all:1002:100:/:::\n+all-:all:1002:100:/:-::\n.\n", 1))
		}, ""},
		{"the x bit is the owner's", func(f tree) {
			f.put("/home/joe/.qmail-c", "|true\n")
			f.MapFS["home/joe/.qmail-c"].Mode = 0o611
		}, ""},
	})
}

func TestAnInstallationElsewhere(t *testing.T) {
	t.Parallel()
	f := tree{t, fstest.MapFS{}}
	f.put("/opt/qmail/control/me", "mx\n")
	found, err := lint.Check(context.Background(), lint.Tree{Root: f.MapFS, Qmail: "/opt/../opt/qmail/"}, lint.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found {
		if !strings.HasPrefix(x.File, "/opt/qmail/") {
			t.Errorf("a finding at %s: %s", x.Where(), x.What)
		}
	}
	if len(found) == 0 {
		t.Error("nothing was found")
	}
}

// Without owners of files, nobody is accused of having none.
func TestWithoutOwnersOnlyFilesAreJudged(t *testing.T) {
	t.Parallel()
	f := healthy(t)
	f.person("nohome:x:1003:100::/home/none:/bin/sh")
	f.remove("/var/qmail/users/assign", "/var/qmail/users/cdb")
	f.put("/var/qmail/alias/.qmail-joe", "&x@far.test\n")
	found, err := lint.Check(context.Background(), lint.Tree{Root: f.MapFS}, lint.Deps{})
	if err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// exchangers is a DNS in which each domain's mail goes to the hosts named, and each host has another's address.
func exchangers(t *testing.T, hosts map[string][]string, asked func(domain string)) lint.Deps {
	return lint.Deps{
		MX: func(_ context.Context, domain string) ([]string, error) {
			asked(domain)
			if h, ok := hosts[domain]; ok {
				return h, nil
			}
			return nil, errors.New("no answer")
		},
		Addresses: func(_ context.Context, host string) ([]netip.Addr, error) {
			if strings.HasPrefix(host, "unknown.") {
				return nil, errors.New("no answer")
			}
			return []netip.Addr{netip.MustParseAddr("198.51.100.7")}, nil
		},
		Own: func(netip.Addr) bool { return false },
	}
}

func TestOnlyWhatIsKnownOfExchangersIsTold(t *testing.T) {
	t.Parallel()
	f := healthy(t)
	f.put("/var/qmail/control/rcpthosts", "mx.example.test\nexample.test\nvirt.test\n.wild.test\nVIRT.test\nfour.test\nnone.test\nunsure.test\n")
	asked := make(chan string, 100)
	d := exchangers(t, map[string][]string{
		"example.test": {"other.test.", "MX.example.test."}, // this host by its name
		"four.test":    {"a.test.", "b.test.", "c.test.", "d.test."},
		"none.test":    {},
		"unsure.test":  {"a.test.", "unknown.test."},
	}, func(domain string) { asked <- domain })
	const told = "warning control-line: /var/qmail/control/rcpthosts:5: \"VIRT.test\" stands in line 3 already\n"
	const want = told + "warning mx-elsewhere: /var/qmail/control/rcpthosts:6: mail for \"four.test\" goes to a.test., b.test., c.test. by its MX, which is not this host\n"
	if diff := cmp.Diff(want, check(t, f, d)); diff != "" {
		t.Error(diff)
	}
	close(asked)
	times := map[string]int{}
	for domain := range asked {
		times[domain]++
	}
	wantAsked := map[string]int{"mx.example.test": 1, "example.test": 1, "virt.test": 1, "far.test": 1, "four.test": 1, "none.test": 1, "unsure.test": 1}
	if diff := cmp.Diff(wantAsked, times); diff != "" {
		t.Errorf("asked for: %s", diff)
	}
	for _, incomplete := range []lint.Deps{{MX: d.MX, Addresses: d.Addresses}, {MX: d.MX, Own: d.Own}, {Addresses: d.Addresses, Own: d.Own}} {
		if got := check(t, f, incomplete); got != told {
			t.Error(got)
		}
	}
}

func TestManyDomainsAreNotAllLookedUp(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n, asked int
		want     string
	}{{199, 200, ""}, {200, 200, "warning mx-many: /var/qmail/control: 201 domains, of which 200 were looked up in DNS\n"}} {
		f := healthy(t)
		f.put("/var/qmail/control/locals", "localhost\n")
		f.put("/var/qmail/control/virtualdomains", "virt.test:joe\n")
		var b strings.Builder
		b.WriteString("virt.test\n")
		for i := range tc.n {
			fmt.Fprintf(&b, "d%d.test\n", i)
		}
		f.put("/var/qmail/control/rcpthosts", b.String())
		asked := make(chan string, 1000)
		if diff := cmp.Diff(tc.want, check(t, f, exchangers(t, nil, func(domain string) { asked <- domain }))); diff != "" {
			t.Error(diff)
		}
		if len(asked) != tc.asked {
			t.Errorf("%d domains were asked for, want %d", len(asked), tc.asked)
		}
	}
}

// A file without end is not read without end.
func TestAFileThatIsTooLargeIsTold(t *testing.T) {
	t.Parallel()
	f := healthy(t)
	found, err := lint.Check(context.Background(), lint.Tree{Root: endless{f.MapFS, "var/qmail/control/databytes"}}, lint.Deps{})
	if err != nil || len(found) != 1 || found[0].What != "it cannot be read: it is larger than 67108864 bytes" {
		t.Errorf("%+v, %v", found, err)
	}
}

// endless is a tree with a file that never ends.
type endless struct {
	fs.FS
	name string
}

func (e endless) Open(name string) (fs.File, error) {
	if name != e.name {
		return e.FS.Open(name)
	}
	return endlessFile{}, nil
}

type endlessFile struct{ fs.File }

func (endlessFile) Read(p []byte) (int, error) { return len(p), nil }
func (endlessFile) Close() error               { return nil }
