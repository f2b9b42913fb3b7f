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
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/doctor/lint"
	"github.com/postilion/postilion/internal/qmail/assign"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/tcprules"
)

var (
	monday  = time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC)
	tuesday = monday.Add(24 * time.Hour)
)

// tree is files by their path from "/" on.
type tree struct {
	t *testing.T
	fstest.MapFS
}

func (f tree) put(name, text string) {
	f.MapFS[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(text), Mode: 0o644, ModTime: monday, Sys: uint32(0)}
}

func (f tree) dir(name string, mode fs.FileMode, uid uint32) {
	f.MapFS[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Mode: fs.ModeDir | mode, ModTime: monday, Sys: uid}
}

// assign writes users/assign and its database.
func (f tree) assign(text string) {
	f.put("/var/qmail/users/assign", text)
	entries, err := assign.Parse("", []byte(text))
	if err != nil {
		f.t.Fatal(err)
	}
	var b cdb.Buffer
	if err := assign.Compile(entries, &b); err != nil {
		f.t.Fatal(err)
	}
	f.put("/var/qmail/users/cdb", string(b.Bytes()))
}

// rules writes /etc/tcp.smtp and its database.
func (f tree) rules(text string) {
	f.put("/etc/tcp.smtp", text)
	entries, err := tcprules.Parse("", []byte(text))
	if err != nil {
		f.t.Fatal(err)
	}
	var b cdb.Buffer
	if err := tcprules.Compile(entries, &b); err != nil {
		f.t.Fatal(err)
	}
	f.put("/etc/tcp.smtp.cdb", string(b.Bytes()))
}

const passwd = "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\nalias:x:7790:2108::/var/qmail/alias:/bin/true\njoe:x:1001:100::/home/joe:/bin/sh\n"

const assigned = "+:alias:7790:2108:/var/qmail/alias:-::\n=alias:alias:7790:2108:/var/qmail/alias:::\n+alias-:alias:7790:2108:/var/qmail/alias:-::\n=joe:joe:1001:100:/home/joe:::\n+joe-:joe:1001:100:/home/joe:-::\n.\n"

// healthy is an installation that nothing is wrong with.
func healthy(t *testing.T) tree {
	f := tree{t, fstest.MapFS{}}
	f.put("/var/qmail/control/me", "mx.example.test\n")
	f.put("/var/qmail/control/locals", "localhost\nmx.example.test\nexample.test\n")
	f.put("/var/qmail/control/rcpthosts", "mx.example.test\nexample.test\nvirt.test\n.wild.test\n")
	f.put("/var/qmail/control/virtualdomains", "virt.test:joe-virt\n.wild.test:joe\njoe@far.test:joe\nfar.test:\n")
	f.put("/var/qmail/control/defaultdelivery", "|preline procmail\n./Maildir/\n")
	for _, name := range []string{"postmaster", "mailer-daemon", "root"} {
		f.put("/var/qmail/alias/.qmail-"+name, "&joe@example.test\n")
	}
	f.dir("/var/qmail/alias", 0o755, 7790)
	f.dir("/home/joe", 0o755, 1001)
	f.dir("/usr/sbin", 0o755, 0)
	f.put("/home/joe/.qmail", "# mine\n./Maildir/\n")
	f.dir("/home/joe/Maildir", 0o700, 1001)
	f.put("/home/joe/.qmail-virt-default", "|cat >> log\n&kim@far.test\n")
	f.put("/etc/passwd", passwd)
	f.assign(assigned)
	f.rules("127.:allow,RELAYCLIENT=\"\"\n:allow\n")
	return f
}

func check(t *testing.T, f tree, d lint.Deps) string {
	t.Helper()
	d.Owner = func(info fs.FileInfo) (uint32, bool) {
		uid, ok := info.Sys().(uint32)
		return uid, ok
	}
	found, err := lint.Check(context.Background(), lint.Tree{Root: f.MapFS}, d)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, x := range found {
		if x.What == "" || x.Consequence == "" || x.Cure == "" {
			t.Errorf("%+v: want what, consequence and cure", x)
		}
		fmt.Fprintf(&b, "%s %s: %s: %s\n", x.Level, x.Case, x.Where(), x.What)
	}
	return b.String()
}

func TestNothingIsWrongWithAHealthyInstallation(t *testing.T) {
	t.Parallel()
	if got := check(t, healthy(t), lint.Deps{}); got != "" {
		t.Error(got)
	}
}

// changed is a healthy installation in which something was changed, and what there is to say of it.
type changed struct {
	name   string
	change func(tree)
	want   string
}

func checkEach(t *testing.T, cases []changed) {
	t.Parallel()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := healthy(t)
			tc.change(f)
			if d := cmp.Diff(tc.want, check(t, f, lint.Deps{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCases(t *testing.T) {
	checkEach(t, []changed{
		{"a domain in locals and virtualdomains", func(f tree) {
			f.put("/var/qmail/control/virtualdomains", "# x\nExample.test:joe\nkim@example.test:joe\n")
		},
			`wrong locals-and-virtualdomains: /var/qmail/control/virtualdomains:2: "Example.test" is in locals too, at /var/qmail/control/locals:3
wrong locals-and-virtualdomains: /var/qmail/control/virtualdomains:3: "example.test" is in locals too, at /var/qmail/control/locals:3
`},
		{"domains that are not in rcpthosts", func(f tree) { f.put("/var/qmail/control/rcpthosts", "mx.example.test\n") },
			`wrong not-in-rcpthosts: /var/qmail/control/locals:3: "example.test" is not in rcpthosts
wrong not-in-rcpthosts: /var/qmail/control/virtualdomains:1: "virt.test" is not in rcpthosts
wrong not-in-rcpthosts: /var/qmail/control/virtualdomains:2: ".wild.test" is not in rcpthosts
`},
		{"rcpthosts missing", func(f tree) { delete(f.MapFS, "var/qmail/control/rcpthosts") },
			"wrong open-relay: /var/qmail/control/rcpthosts: it is missing\n"},
		{"percenthack of a domain that is taken", func(f tree) { f.put("/var/qmail/control/percenthack", "example.test\nother.test\n") },
			"wrong percenthack-relay: /var/qmail/control/percenthack:1: \"example.test\" is taken from everybody\n"},
		{"morercpthosts not compiled", func(f tree) { f.put("/var/qmail/control/morercpthosts", "more.test\n") },
			"wrong cdb-missing: /var/qmail/control/morercpthosts: /var/qmail/control/morercpthosts.cdb is missing\n"},
		{"morercpthosts.cdb no database", func(f tree) { f.put("/var/qmail/control/morercpthosts.cdb", "x") },
			"wrong cdb-broken: /var/qmail/control/morercpthosts.cdb: not a constant database: 1 bytes, want at least 2048\n"},
		{"assign newer than cdb", func(f tree) {
			f.put("/var/qmail/users/assign", strings.Replace(assigned, ".\n", "=x:joe:1001:100:/home/joe:-:x:\n.\n", 1))
			f.MapFS["var/qmail/users/assign"].ModTime = tuesday
		}, "wrong cdb-older: /var/qmail/users/cdb: it is older than /var/qmail/users/assign, and does not hold what that says\n"},
		{"assign touched alone", func(f tree) { f.MapFS["var/qmail/users/assign"].ModTime = tuesday }, ""},
		{"tcp.smtp changed", func(f tree) { f.put("/etc/tcp.smtp", "127.:allow\n") },
			"wrong cdb-older: /etc/tcp.smtp.cdb: it does not hold what /etc/tcp.smtp says\n"},
		{"tcp.smtp broken", func(f tree) { f.put("/etc/tcp.smtp", "127.:allow\n1.2.3.4:alow\n") },
			"wrong rule-syntax: /etc/tcp.smtp:2: unable to parse this line: \"1.2.3.4:alow\": want allow or deny behind the colon\n"},
		{"tcp.smtp for everybody", func(f tree) { f.rules(":allow,RELAYCLIENT=\"\"\n10.1:allow\n") },
			`wrong rule-open-relay: /etc/tcp.smtp:1: every client that no other rule names may relay
warning rule-line: /etc/tcp.smtp:2: "10.1:allow" is a whole address, which no client has: a prefix ends with a dot
`},
		{"assign without its last line", func(f tree) { f.put("/var/qmail/users/assign", strings.TrimSuffix(assigned, ".\n")) },
			"wrong assign-format: /var/qmail/users/assign:6: the file ends here, want a last line that is a dot: it may have been cut off\n"},
		{"accounts changed since pw2u", func(f tree) {
			f.put("/etc/passwd", strings.Replace(passwd, "joe:x:1001", "joe:x:1005", 1)+"kim:x:1002:100::/home/kim:/bin/sh\n")
			f.dir("/home/kim", 0o755, 1002)
			f.dir("/home/joe", 0o755, 1005)
			f.assign(strings.Replace(assigned, ".\n", "=lee:lee:1003:100:/home/lee:::\n.\n", 1))
		}, `wrong account-new: /etc/passwd:5: user "kim" is not in users/assign
wrong account-changed: /var/qmail/users/assign:4: user "joe" has uid 1005, gid 100, home "/home/joe" in passwd
wrong account-gone: /var/qmail/users/assign:6: user "lee" is not in passwd any more
`},
		{"an alias hidden by a user", func(f tree) {
			f.put("/var/qmail/alias/.qmail-joe", "&x@far.test\n")
			f.put("/var/qmail/alias/.qmail-joe-list", "&x@far.test\n")
		}, `warning alias-hidden: /var/qmail/alias/.qmail-joe: "joe" belongs to user "joe", by /var/qmail/users/assign:4
warning alias-hidden: /var/qmail/alias/.qmail-joe-list: "joe-list" belongs to user "joe", by /var/qmail/users/assign:5
`},
		{"lines of .qmail files", func(f tree) {
			f.put("/home/joe/.qmail-a", "&Kim <kim@far.test>\n ./Maildir/\nkim@far.test (home)\n")
			f.put("/home/joe/.qmail-b", "\n./Maildir/\n")
			f.put("/home/joe/.qmail-c", "|true\n")
			f.MapFS["home/joe/.qmail-c"].Mode = 0o700
			f.put("/home/joe/.qmail-d", "./Maildir/\n")
			f.MapFS["home/joe/.qmail-d"].Mode = 0o666
			f.put("/home/joe/.qmail-My.list", "&kim@far.test\n")
			f.put("/home/joe/.qmail-e", "~/Maildir/\n!prog\n&~kim@far.test\nk\u00fcm@far.test\n1@far.test\n")
			f.put("/home/joe/.qmail-f", "./Maildir\n./Lists/\n./box\n/srv/none/\n/dev/null\n")
			f.put("/home/joe/.qmail-g", "+list\n&kim@far.test\n")
		}, `warning qmail-file-name: /home/joe/.qmail-My.list: a dot or capitals in the name
wrong qmail-file-line: /home/joe/.qmail-a:1: "&Kim <kim@far.test>" has < or > in a forward: want the bare address
wrong qmail-file-line: /home/joe/.qmail-a:2: " ./Maildir/" begins with a blank, so it is a forward to an address with a blank, and bounces
wrong qmail-file-line: /home/joe/.qmail-a:3: "kim@far.test (home)" has a comment or quotes in a forward: want the bare address
wrong qmail-file-refused: /home/joe/.qmail-b:1: Uh-oh: first line of .qmail file is blank. (#4.2.1)
wrong qmail-file-refused: /home/joe/.qmail-c:1: Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)
wrong qmail-file-writable: /home/joe/.qmail-d: others can write it
wrong qmail-file-line: /home/joe/.qmail-e:1: "~/Maildir/" is a forward to an address of that name: want &ADDRESS, a file that begins with . or /, or | and a command
wrong qmail-file-line: /home/joe/.qmail-e:2: "!prog" is a forward to an address of that name: want &ADDRESS, a file that begins with . or /, or | and a command
wrong mbox-is-folder: /home/joe/.qmail-f:1: ./Maildir is a folder
wrong maildir-missing: /home/joe/.qmail-f:2: there is no Maildir ./Lists/
wrong maildir-missing: /home/joe/.qmail-f:4: there is no Maildir /srv/none/
`},
		{"mailboxes that root made", func(f tree) {
			f.dir("/home/joe/Maildir", 0o700, 0)
			f.dir("/home/joe/Lists", 0o755, 0)
			f.dir("/srv/shared", 0o775, 0)
			f.dir("/home/joe/own", 0o755, 1001)
			f.put("/home/joe/.qmail-a", "./Lists/\n/srv/shared/\n./own/\n./box\n")
			f.put("/home/joe/box", "")
		}, `wrong mailbox-of-root: /home/joe/.qmail-a:1: ./Lists/ belongs to root, and the user cannot write it
wrong mailbox-of-root: /home/joe/.qmail-a:4: ./box belongs to root, and the user cannot write it
wrong mailbox-of-root: /home/joe/Maildir: it belongs to root, and the user cannot write it
`},
		{"homes", func(f tree) { f.dir("/home/joe", 0o757|fs.ModeSticky, 1001) },
			"wrong home-writable: /home/joe: others can write into it\nwrong home-sticky: /home/joe: it has the sticky bit\n"},
		{"concurrency", func(f tree) { f.put("/var/qmail/control/concurrencyremote", "200\n") },
			"warning concurrency: /var/qmail/control/concurrencyremote:1: 200 is above 120\n"},
		{"control lines", func(f tree) {
			f.put("/var/qmail/control/databytes", "10M\n")
			f.put("/var/qmail/control/rcpthost", "x\n")
			f.put("/var/qmail/control/smtproutes", "nothing\n")
		}, `warning control-line: /var/qmail/control/databytes:1: "10M" is read as 10: want digits alone
warning misnamed: /var/qmail/control/rcpthost: no program reads a control file of this name
warning control-line: /var/qmail/control/smtproutes:1: "nothing" has no colon, so it is ignored
`},
		{"users that get no mail", func(f tree) {
			f.put("/etc/passwd", passwd+"Cap:x:1002:100::/home/cap:/bin/sh\nnohome:x:1003:100::/home/none:/bin/sh\nstolen:x:1004:100::/home/joe:/bin/sh\nftp:x:1005:100::/srv:/usr/sbin/nologin\n")
		}, `wrong user-skipped: /etc/passwd:5: user "Cap" has capitals in the name
wrong user-skipped: /etc/passwd:6: user "nohome" has no home: "/home/none" does not exist
wrong user-skipped: /etc/passwd:7: user "stolen" has a home that belongs to uid 1001: "/home/joe"
`},
		{"qmail's own users, whose home is root's", func(f tree) {
			f.put("/etc/passwd", passwd+"qmaild:x:7791:2108::/var/qmail:/bin/true\nqmails:x:7796:2107::/var/qmail/:/nonexistent\n")
		}, ""},
		{"system aliases", func(f tree) {
			delete(f.MapFS, "var/qmail/alias/.qmail-postmaster")
			delete(f.MapFS, "var/qmail/alias/.qmail-root")
		}, "wrong no-postmaster: /var/qmail/alias/.qmail-postmaster: it is missing\nwarning no-root: /var/qmail/alias/.qmail-root: it is missing\n"},
		{"system aliases of fastforward", func(f tree) {
			f.put("/var/qmail/alias/.qmail-default", "|fastforward -d /etc/aliases.cdb\n")
			delete(f.MapFS, "var/qmail/alias/.qmail-postmaster")
			delete(f.MapFS, "var/qmail/alias/.qmail-root")
			f.put("/etc/aliases", "postmaster: joe\njoe: kim\nlist: /var/mail/list, :include:/none\nbad\n")
			f.put("/etc/aliases.cdb", "")
			f.MapFS["etc/aliases"].ModTime = tuesday
		}, `warning alias-hidden: /etc/aliases:2: "joe" belongs to user "joe", by /var/qmail/users/assign:4
wrong aliases-file: /etc/aliases:3: "/var/mail/list" delivers to a file
wrong aliases-include: /etc/aliases:3: the list "/none" is missing
wrong aliases-line: /etc/aliases:4: "bad", want name: target, target
wrong cdb-older: /etc/aliases.cdb: it is older than /etc/aliases
warning no-root: /var/qmail/alias/.qmail-root: it is missing
`},
		{"control/me missing", func(f tree) { delete(f.MapFS, "var/qmail/control/me") },
			"wrong no-me: /var/qmail/control/me: it is missing\n"},
		{"control/me without a dot", func(f tree) { f.put("/var/qmail/control/me", "mx\n") },
			"warning me-not-full: /var/qmail/control/me:1: \"mx\" has no dot\n"},
		{"assign as root", func(f tree) {
			f.assign(strings.Replace(assigned, ".\n", "=ops:root:0:0:/root:-:ops:\n=odd:joe:x:1:/home/joe:::\n.\n", 1))
		}, `wrong assign-root: /var/qmail/users/assign:6: "ops" belongs to uid 0
wrong assign-number: /var/qmail/users/assign:7: user "joe": uid "x", want a number up to 4294967295
`},
		{"assign with a group of power", func(f tree) {
			f.put("/etc/group", "root:x:0:\ndisk:x:6:\nstaff:x:50:\n")
			f.person("lee:x:1002:50::/home/lee:/bin/sh")
			f.dir("/home/lee", 0o755, 1002)
			f.assign(strings.Replace(assigned, ".\n", "=a:joe:1001:6:/home/joe:-:a:\n=lee:lee:1002:50:/home/lee:::\n=b:joe:1001:50:/home/joe:-:b:\n=c:joe:1001:0:/home/joe:-:c:\n.\n", 1))
		}, `wrong assign-group: /var/qmail/users/assign:6: "a" has gid 6, that of group "disk"
wrong assign-group: /var/qmail/users/assign:8: "b" has gid 50, that of group "staff"
wrong assign-group: /var/qmail/users/assign:9: "c" has gid 0, that of group "root"
`},
	})
}

func TestNoQmailAtAll(t *testing.T) {
	t.Parallel()
	const want = `wrong no-alias-home: /var/qmail/alias: it is missing
wrong no-control: /var/qmail/control: the folder cannot be read: file does not exist
wrong open-relay: /var/qmail/control/rcpthosts: it is missing
`
	if d := cmp.Diff(want, check(t, tree{t, fstest.MapFS{}}, lint.Deps{})); d != "" {
		t.Error(d)
	}
}

func TestExchangersElsewhere(t *testing.T) {
	t.Parallel()
	own := netip.MustParseAddr("192.0.2.1")
	d := lint.Deps{
		MX: func(_ context.Context, domain string) ([]string, error) {
			switch domain {
			case "virt.test":
				return []string{"mx1.provider.test.", "mx2.provider.test."}, nil
			case "example.test":
				return []string{"backup.test.", "this.test."}, nil
			case "far.test":
				return nil, errors.New("no answer")
			}
			return []string{domain}, nil
		},
		Addresses: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host == "this.test." || host == "mx.example.test" {
				return []netip.Addr{own}, nil
			}
			return []netip.Addr{netip.MustParseAddr("198.51.100.7")}, nil
		},
		Own: func(a netip.Addr) bool { return a == own },
	}
	const want = "warning mx-elsewhere: /var/qmail/control/virtualdomains:1: mail for \"virt.test\" goes to mx1.provider.test., mx2.provider.test. by its MX, which is not this host\n"
	if diff := cmp.Diff(want, check(t, healthy(t), d)); diff != "" {
		t.Error(diff)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lint.Check(ctx, lint.Tree{Root: fstest.MapFS{}}, lint.Deps{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
