package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/tools"
	"github.com/postilion/postilion/internal/tools/tool"
)

func call(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = run(t.Context(), &tool.Env{Args: args, Stdout: &o, Stderr: &e})
	return code, o.String(), e.String()
}

func TestAProgramIsFoundByItsLinkOrByTheFirstArgument(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"/usr/bin/svok"}, {"postilion-tools", "svok"}, {"./postilion-tools", "/usr/bin/svok"}} {
		code, _, errs := call(t, args...)
		if strings.HasPrefix(args[len(args)-1], "/") && len(args) > 1 {
			if code != 100 || !strings.Contains(errs, "there is no program") {
				t.Errorf("%q: %d, %q", args, code, errs)
			}
			continue
		}
		if code != 100 || errs != "svok: usage: svok dir\n" {
			t.Errorf("%q: %d, %q", args, code, errs)
		}
	}
	if code, out, _ := call(t, "postilion-tools", "--list"); code != 0 || !strings.Contains(out, "\nforward ") {
		t.Errorf("--list: %d, %q", code, out)
	}
	if code, _, _ := call(t, "postilion-tools"); code != 100 {
		t.Errorf("without arguments: %d", code)
	}
}

func TestEveryProgramHasOneNameAndSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range tools.Programs() {
		if seen[p.Name] || p.Short == "" || p.Run == nil {
			t.Errorf("%+v", p)
		}
		seen[p.Name] = true
	}
	for name := range strings.FieldsSeq("sendmail qmail-inject new-inject mailq newaliases qmail-queue ofmipd forward condredirect bouncesaying except " +
		"preline predate mailsubj qreceipt qbiff datemail elq pinq maildirmake maildir2mbox maildirwatch maildirsmtp maildirqmtp maildirserial safecat " +
		"iftocc 822field 822header 822date 822received 822print tai64n tai64nlocal setuidgid softlimit svstat svc svok qmailctl qmail-qread qmail-qstat " +
		"qmail-tcpto qmail-tcpok qmail-showctl qmail-newmrh qmail-newu qmail-pw2u tcprules tcprulescheck dot-forward fastforward newinclude printforward " +
		"matchup zoverall zddist zdeferrals zfailures zrecipients zrhosts zrxdelay zsenders zsendmail zsuids zsuccesses xqp xsender xrecipient " +
		"ezmlm-make ezmlm-sub ezmlm-unsub ezmlm-list ezmlm-issubn ezmlm-checksub ezmlm-reject ezmlm-send ezmlm-store ezmlm-gate ezmlm-moderate " +
		"ezmlm-confirm ezmlm-clean ezmlm-weed ezmlm-return ezmlm-warn ezmlm-manage ezmlm-request ezmlm-split ezmlm-get ezmlm-tstdig ezmlm-idx") {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestTheBinaryIsLight holds off what costs each start: package initialisers of engines and of
// libraries for servers.
func TestTheBinaryIsLight(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, heavy := range []string{"cockroachdb/pebble", "modernc.org/sqlite", "spf13/cobra", "prometheus/", "caddyserver/", "go.uber.org/zap", "miekg/dns"} {
		if strings.Contains(string(out), heavy) {
			t.Errorf("postilion-tools is linked with %s", heavy)
		}
	}
}
