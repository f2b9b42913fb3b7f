package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWhatIsPastedIsExplained(t *testing.T) {
	t.Parallel()
	english := []string{"explain", "--language", "en"}
	for _, c := range []struct {
		args []string
		in   string
		code int
		says []string
	}{
		{args: append(english, "Sorry, no mailbox here by that name. (#5.1.1)"),
			says: []string{"qmail-local says, permanent: Sorry, no mailbox here by that name. (#5.1.1)", "cause:  ", "remedy: "}},
		{args: english, in: "@4000000067 delivery 4: deferral: Uh-oh:_home_directory_is_writable._(#4.7.0)/\nnothing of note\n",
			says: []string{"qmail-local says, temporary: Uh-oh: home directory is writable. (#4.7.0)"}},
		{args: append(english, "550 5.7.1 relaying denied: far.test is not a domain of this server"), says: []string{"[relay-denied]", "587"}},
		{args: append(english, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"), says: []string{"qmail-smtpd says, permanent"}},
		{args: append(english, "reason=quota-exceeded"), says: []string{"[quota-exceeded]"}},
		{args: append(english, `level=ERROR msg="the database is damaged" path=/x`), says: []string{"postilion logs: the database is damaged"}},
		{args: append(english, "5.4.6"), says: []string{"status 5.4.6, permanent", "circle"}},
		{args: append(english, "exit 111"), says: []string{"exit code 111"}},
		{args: append(english, "end 25229 status 0; exited with 25600"), says: []string{"exit code 100"}},
		{args: append(english, "said: 554 no"), says: []string{"reply 554, permanent"}},
		{args: append(english, "mailbox ful quota exceded"), says: []string{"resembles", "full"}},
		{args: append(english, "postfix/smtp: status=bounced (host mx said: 554 Relay access denied)"), says: []string{"Postfix says: Relay access denied"}},
		{args: []string{"explain", "--language", "ko", "relay-denied"}, says: []string{"원인: ", "조치: ", "postilion의 문구: 중계가 거부되었습니다", "[relay-denied]"}},
		{args: []string{"explain", "--language", "ja", "5.1.1 exit 100"}, says: []string{"状態コード 5.1.1 (恒久的)", "終了コード 100"}},
		{args: english, in: "nothing of note\n", code: exitFailure, says: []string{"no line of that has"}},
		{args: []string{"explain", "--language", "ja", "delivery 1: failure: user_is_over_quota/"}, says: []string{"原因: メールボックスが一杯です", "対処: "}},
		{args: append(english, "--list"), says: []string{"[mailbox-unknown]", "qmail-send says", "exit code 99", "status 7.1"}},
		{args: append(english, "--json", "qqqq zzzz"), says: []string{"[]"}},
		{args: append(english, "qqqq zzzz"), code: exitFailure, says: []string{"nothing is known of that"}},
		{args: []string{"explain", "--language", "de", "x"}, code: exitUsage, says: []string{"want en, ko or ja"}},
		{args: english, in: "\x1b[31mUh-oh: home directory is writable. (#4.7.0)\n", says: []string{`\x1b[31mUh-oh`}},
		{args: english, in: strings.Repeat("x", maxExplainLine+1), code: exitFailure, says: []string{"reading the standard input"}},
	} {
		var out, errOut bytes.Buffer
		code := run(c.args, strings.NewReader(c.in), &out, &errOut)
		all := out.String() + errOut.String()
		for _, want := range c.says {
			if code != c.code || !strings.Contains(all, want) {
				t.Errorf("%v: exit code %d, want %d and %q: %s", c.args, code, c.code, want, all[:min(len(all), 2000)])
			}
		}
		if strings.ContainsAny(all, "\x1b\x00") {
			t.Errorf("%v: control characters are printed", c.args)
		}
	}
}
