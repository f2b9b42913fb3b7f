package mtasts

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	whole := "version: STSv1\nmode: enforce\nmx: mx.dest.test\nmax_age: 86400\n"
	for _, c := range []struct {
		text, err string
		want      Policy
	}{
		{text: whole, want: Policy{Enforce, []string{"mx.dest.test"}, 24 * time.Hour}},
		{text: strings.ReplaceAll(whole, "\n", "\r\n"), want: Policy{Enforce, []string{"mx.dest.test"}, 24 * time.Hour}},
		{text: strings.TrimSuffix(whole, "\n"), want: Policy{Enforce, []string{"mx.dest.test"}, 24 * time.Hour}},
		{text: "max_age:1\nmx:*.Dest.Test.\n\nmode:  testing \t\nmx: ünter.test\nversion:STSv1\nnews: of: tomorrow\n", want: Policy{Testing, []string{"*.dest.test", "xn--nter-zra.test"}, time.Second}},
		{text: whole + "mode: none\nmax_age: x\nversion: 2\n", want: Policy{Enforce, []string{"mx.dest.test"}, 24 * time.Hour}},
		{text: "version: STSv1\nmode: none\nmax_age: 4294967295\n", want: Policy{None, nil, maxAge}},
		{text: "", err: "no version"},
		{text: "<html>", err: `"<html>": want NAME: VALUE`},
		{text: "version: STSv2\n", err: `version "STSv2": want STSv1`},
		{text: "version: STSv1\nmode: on\n", err: `mode "on": want enforce, testing or none`},
		{text: "version: STSv1\nmode: none\nmax_age: -1\n", err: `max_age "-1": want seconds`},
		{text: "version: STSv1\nmode: none\nmax_age: 4294967296\n", err: `max_age "4294967296": want seconds`},
		{text: "version: STSv1\nmode: enforce\nmax_age: 1\n", err: "no mx"},
		{text: "version: STSv1\nmax_age: 1\nmx: a.test\n", err: "no mode"},
		{text: "version: STSv1\nmode: enforce\nmx: a.test\n", err: "no max_age"},
		{text: "mx: *\n", err: `mx "*": a domain name holds letters, digits, hyphens and dots`},
		{text: "mx: a.*.test\n", err: `mx "a.*.test": a domain name holds letters, digits, hyphens and dots`},
		{text: "mx: ../../etc\n", err: `mx "../../etc": each label of a domain name has 1 to 63 characters`},
		{text: strings.Repeat("mx: a.test\n", maxHosts+1), err: "more than 64 mx"},
		{text: strings.Repeat("x: \n", maxPolicy/4+1), err: "a policy of more than 65536 bytes"},
	} {
		got, err := Parse(c.text)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if said != c.err || err == nil && !cmp.Equal(got, c.want) {
			t.Errorf("%q: %+v, %q; want %+v, %q", c.text[:min(len(c.text), 100)], got, said, c.want, c.err)
		}
	}
}

func TestAStarIsOneLabel(t *testing.T) {
	t.Parallel()
	p := Policy{MX: []string{"mx.dest.test", "*.mail.test"}}
	for host, want := range map[string]bool{
		"mx.dest.test": true, "dest.test": false, "a.mx.dest.test": false, "a.mail.test": true, "mail.test": false, "a.b.mail.test": false, "": false, "test": false,
	} {
		if p.Names(host) != want {
			t.Errorf("%q: %t, want %t", host, !want, want)
		}
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		records []string
		id      string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=STSv1 ;  id = 7 ; more=x", "v=spf1 -all", "v=STSv12; id=9"}, "7"},
		{[]string{"v=STSv1;id=7;id=8"}, "7"},
		{[]string{"v=STSv1; id=7", "v=STSv1; id=7"}, ""},
		{[]string{"v=STSv1; id=7", "v=STSv1"}, ""},
		{[]string{" v=STSv1; id=7"}, ""},
		{[]string{"id=7; v=STSv1"}, ""},
		{[]string{"v=STSv1; id="}, ""},
		{[]string{"v=STSv1; id=a b"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("7", 33)}, ""},
		{nil, ""},
	} {
		if got := recordID(c.records); got != c.id {
			t.Errorf("%q: %q, want %q", c.records, got, c.id)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("version: STSv1\nmode: enforce\nmx: *.dest.test\nmax_age: 86400\n")
	f.Add("version: STSv1\r\nmode: none\r\nmax_age: 0")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(p.text())
		if err != nil || !cmp.Equal(p, again) {
			t.Errorf("%q is %+v, written and read again %+v, %v", text, p, again, err)
		}
	})
}
