package route

import (
	"fmt"
	"strings"
	"testing"
)

const etcAliases = `# the host's aliases
postmaster: root
root: joe, ann@elsewhere.example
joe: joe, copy@elsewhere.example
Bells: "|/usr/local/bin/ring -l 'a b'", /var/spool/bells, ann
list: :include:FOLDER/list, "|archive"
owner-list: ann
team: joe@mx.test, ann, owned
owned: a@elsewhere.example, b@elsewhere.example
owner-owned: ann, joe
loop: pool
pool: loop
self: self@mx.test
null: /dev/null
exact: \\ann
bad list: x
bad: "open
deep0: deep1
plus+*: joe
whole@mx.test: ann@elsewhere.example
inlist: :include:FOLDER/progs
nolist: :include:FOLDER/none
continued: a@elsewhere.example,
  b@elsewhere.example
`

func TestAliases(t *testing.T) {
	t.Parallel()
	text := etcAliases
	for i := range 25 {
		text += fmt.Sprintf("deep%d: deep%d\n", i+1, i+2)
	}
	text += "deep26: joe\n"
	h := newHost(t, Options{SystemUsers: true, Locals: []string{"mx.test", "other.test"}, VirtualDomains: []string{"virt.test:joe"}, AliasFiles: []string{"aliases"}}, map[string]string{
		"list": "# members\na@elsewhere.example, ann\nB <b@elsewhere.example>\nA@elsewhere.example\n", "progs": "a@b.test\n|prog\n",
	})
	h.write("aliases", strings.ReplaceAll(text, "FOLDER", h.folder))
	user := func(name, local string) string {
		ids := map[string]string{"joe": "507:100 /home/joe .qmail", "ann": "508:100 /home/ann .qmail"}
		return name + " " + ids[name] + " LOCAL " + local + " HOST mx.test"
	}
	alias := func(local, rest string) string {
		return "alias 7790:2108 /var/qmail/alias .qmail-" + local + " LOCAL " + local + " HOST mx.test" + rest
	}
	h.want(map[string]string{
		"postmaster@mx.test":    "forward \\joe@mx.test copy@elsewhere.example ann@elsewhere.example (local)",
		"Root@mx.test":          "forward \\joe@mx.test copy@elsewhere.example ann@elsewhere.example (local)",
		"joe@mx.test":           "forward \\joe@mx.test copy@elsewhere.example (local)",
		`\joe@mx.test`:          user("joe", `\joe`),
		"bells@mx.test":         alias("bells", " {!/usr/local/bin/ring -l 'a b'} {/var/spool/bells} {&ann@mx.test}"),
		"list@mx.test":          alias("list", " {!archive} {&a@elsewhere.example} {&ann@mx.test} {&b@elsewhere.example} owner ann@mx.test"),
		"team@mx.test":          "forward \\joe@mx.test copy@elsewhere.example ann@mx.test owned@mx.test (local)",
		"owned@mx.test":         "forward a@elsewhere.example b@elsewhere.example (local)",
		"owner-list@mx.test":    "forward ann@mx.test (local)",
		"loop@mx.test":          "refused 5.4.6 alias-loop (local)",
		"self@mx.test":          "forward \\self@mx.test (local)",
		"null@mx.test":          "discard",
		"exact@mx.test":         "forward \\ann@mx.test (local)",
		"ann@mx.test":           user("ann", "ann"),
		"deep0@mx.test":         "refused 5.4.6 alias-nests-too-deep (local)",
		"deep10@mx.test":        "forward \\joe@mx.test copy@elsewhere.example (local)",
		"plus+x@mx.test":        "forward \\joe@mx.test copy@elsewhere.example (local)",
		"plus@mx.test":          `waits route-file-broken: aliases:16: "bad list: x", want one name without blanks before the colon`,
		"nobody@mx.test":        `waits route-file-broken: aliases:16: "bad list: x", want one name without blanks before the colon`,
		"bad@mx.test":           `waits route-file-broken: aliases:17: " \"open": a quote does not end`,
		"whole@mx.test":         "forward ann@elsewhere.example (local)",
		"bells@virt.test":       "joe 507:100 /home/joe .qmail-bells LOCAL joe-bells HOST virt.test",
		"bells@elsewhere.test":  "remote elsewhere.test" + remote,
		"inlist@mx.test":        "waits route-file-broken: progs:2: a program in an :include: list, want addresses alone: programs and files stand in the file of aliases",
		"nolist@mx.test":        "waits route-file-broken: aliases:22: none: there is no such file",
		"continued@mx.test":     "forward a@elsewhere.example b@elsewhere.example (local)",
		"continued@other.test":  "forward a@elsewhere.example b@elsewhere.example (local)",
		"joe@elsewhere.example": "remote elsewhere.example" + remote,
	})
}

func TestProgramsOfAliasesNeedSomebodyWhoRunsThem(t *testing.T) {
	t.Parallel()
	newHost(t, Options{AliasFiles: []string{"aliases"}}, map[string]string{"aliases": "p: |prog\na: b@c.test\n"}).want(map[string]string{
		"p@mx.test":          "waits route-file-broken: aliases:1: a program or a file, but route.system_users is off: nobody is there to run it",
		"a@mx.test":          "forward b@c.test (local)",
		"joe@mx.test":        "refused 5.1.1 mailbox-unknown (local)",
		"postmaster@mx.test": "refused 4.3.5 postmaster-unset (local)",
	})
}

func TestAMissingFileOfAliasesHoldsWhatItDecides(t *testing.T) {
	t.Parallel()
	newHost(t, Options{SystemUsers: true, AliasFiles: []string{"aliases"}, VirtualDomains: []string{"virt.test:joe"}}, nil).want(map[string]string{
		"joe@mx.test": "waits route-file-broken: aliases: there is no such file", "x@virt.test": "joe 507:100 /home/joe .qmail-x LOCAL joe-x HOST virt.test",
		"joe@example.test": "mailbox joe@example.test final joe@example.test (local)",
	})
}
