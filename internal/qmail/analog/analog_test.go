package analog_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/qmail/analog"
)

// oneDay is a small log, its sums computed by hand in wantOverall.
const oneDay = `1000000000.000000 status: local 0/10 remote 0/20
1000000001.100000 new msg 7
1000000001.100000 info msg 7: bytes 1200 from <Alice@A.example> qp 300 uid 7791
1000000001.200000 starting delivery 1: msg 7 to local Bob@here.example
1000000001.200000 status: local 1/10 remote 0/20
1000000001.500000 delivery 1: success: did_1+0+0/
1000000001.600000 starting delivery 2: msg 7 to remote carol@far.example
1000000003.100000 delivery 2: deferral: Connection_refused/
1000000400.800000 starting delivery 3: msg 7 to remote carol@far.example
1000000402.300000 delivery 3: success: ok/
1000000402.600000 end msg 7
1000000010.100000 new msg 8
1000000010.100000 info msg 8: bytes 800 from <> qp 301 uid 7792
1000000010.200000 starting delivery 4: msg 8 to remote nosuch@far.example
1000000012.200000 delivery 4: failure: 10.1.2.3_does_not_like_recipient./
1000000012.200000 bounce msg 8 qp 302
1000000012.300000 end msg 8
1000000013.000000 warning: unable to stat x
1000000014.000000 new msg 9
1000000014.000000 info msg 9: bytes 10 from <z@z> qp 9 uid 1
1000000015.000000 starting delivery 5: msg 9 to local q@r
`

const wantRecords = `d k 1000000001.100000 1000000001.200000 1000000001.500000 1200 <alice@a.example> local.bob@here.example 300 7791 did_1+0+0/
d z 1000000001.100000 1000000001.600000 1000000003.100000 1200 <alice@a.example> remote.carol@far.example 300 7791 Connection_refused/
d k 1000000001.100000 1000000400.800000 1000000402.300000 1200 <alice@a.example> remote.carol@far.example 300 7791 ok/
m 1000000001.100000 1000000402.600000 1200 2 0 1 <alice@a.example> 300 7791
d d 1000000010.100000 1000000010.200000 1000000012.200000 800 <> remote.nosuch@far.example 301 7792 10.1.2.3_does_not_like_recipient./
? 1000000012.200000 bounce msg 8 qp 302
m 1000000010.100000 1000000012.300000 800 0 1 0 <> 301 7792
1000000013.000000 warning: unable to stat x
`

const wantPending = `1000000014.000000 info msg 9: bytes 10 from <z@z> qp 9 uid 1
1000000014.000000 extra 9 0 0 0
1000000015.000000 starting delivery 5: msg 9 to local q@r
`

func match(t testing.TB, log string) (records, pending string) {
	t.Helper()
	var out, rest strings.Builder
	in := analog.NewLines(strings.NewReader(log))
	in.Now = time.Date(2001, 9, 30, 0, 0, 0, 0, time.UTC)
	if err := analog.Matchup(in, &out, &rest); err != nil {
		t.Fatal(err)
	}
	return out.String(), rest.String()
}

func TestMatchupJoinsLinesAndKeepsWhatIsPending(t *testing.T) {
	t.Parallel()
	records, pending := match(t, oneDay)
	if d := cmp.Diff(wantRecords, records); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	if d := cmp.Diff(wantPending, pending); d != "" {
		t.Errorf("pending (-want +got):\n%s", d)
	}
}

func TestALogCutAnywhereGivesTheSameRecords(t *testing.T) {
	t.Parallel()
	for at := range len(oneDay) {
		first, pending := match(t, oneDay[:at])
		second, _ := match(t, pending+oneDay[at:])
		if got := first + second; got != wantRecords {
			t.Fatalf("cut at %d:\n%s", at, cmp.Diff(wantRecords, got))
		}
	}
}

func TestEveryStampGivesTheSameRecords(t *testing.T) {
	t.Parallel()
	var tai, splogger, local, iso strings.Builder
	for line := range strings.Lines(oneDay) {
		stamp, text, _ := strings.Cut(line, " ")
		var sec, usec int64
		for i, part := range strings.Split(stamp, ".") {
			n := int64(0)
			for _, c := range part {
				n = n*10 + int64(c-'0')
			}
			if i == 0 {
				sec = n
			} else {
				usec = n
			}
		}
		at := time.Unix(sec, usec*1000).UTC()
		tai.WriteString(taiLabel(at) + " " + text)
		splogger.WriteString(at.Format("Jan _2 15:04:05") + " mx qmail: " + line)
		iso.WriteString(at.Format(time.RFC3339) + " mx qmail[12]: " + line)
		local.WriteString(at.Format("2006-01-02 15:04:05.000000000") + " " + text)
	}
	trim := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, "00000000 ", " "), "00000 ", " ")
	}
	for name, log := range map[string]string{"multilog": tai.String(), "splogger": splogger.String(), "syslog in ISO time": iso.String(), "tai64nlocal": local.String()} {
		got, _ := match(t, log)
		if name != "splogger" && name != "syslog in ISO time" {
			// Nine digits, and none for whole seconds, are the same times.
			got = strings.ReplaceAll(trim(got), "1000000013 ", "1000000013.0 ")
		}
		if d := cmp.Diff(trim(wantRecords), trim(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func taiLabel(t time.Time) string {
	const hex = "0123456789abcdef"
	b := []byte{'@'}
	s := uint64(t.Unix()) + 1<<62 + 10
	for i := 60; i >= 0; i -= 4 {
		b = append(b, hex[s>>i&15])
	}
	for i := 28; i >= 0; i -= 4 {
		b = append(b, hex[t.Nanosecond()>>i&15])
	}
	return string(b)
}

func TestPiecesOfSploggerAreJoined(t *testing.T) {
	t.Parallel()
	log := "Sep  9 01:46:41 mx qmail: 1000000001.1 info msg 1: bytes 5 from <a\n" +
		"Sep  9 01:46:41 mx qmail: 1000000001.1+@b> qp 3 uid 4\n" +
		"Sep  9 01:46:42 mx qmail: 1000000002.1 end msg 1\n"
	got, _ := match(t, log)
	if want := "m 1000000001.1 1000000002.1 5 0 0 0 <a@b> 3 4\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReportsByHand(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"overall": `Completed messages: 2
Recipients for completed messages: 3
Total delivery attempts for completed messages: 4
Average delivery attempts per completed message: 2
Bytes in completed messages: 2000
Bytes weighted by success: 2400
Average message qtime (s): 201.85

Total delivery attempts: 4
  success: 2
  failure: 1
  deferral: 1
Total ddelay (s): 401.600000
Average ddelay per success (s): 200.800000
Total xdelay (s): 5.300000
Average xdelay per delivery attempt (s): 1.325000
Time span (days): 0.00464699
Average concurrency: 0.0132005
`,
		"ddist": `doneby     avg  pct
  0.40    0.40  50
401.20  200.80  100
`,
		"deferrals": `del  xdelay  reason
  1    1.50  Connection refused/
`,
		"failures": `del  xdelay  reason
  1    2.00  10.1.2.3 does not like recipient./
`,
		"successes": `del  xdelay  reason
  1    0.30  did 1+0+0/
  1    1.50  ok/
`,
		"recipients": `sbytes  mess  tries  xdelay  recipient
  1200     1      1    0.30  local.bob@here.example
  1200     1      2    3.00  remote.carol@far.example
     0     1      1    2.00  remote.nosuch@far.example
`,
		"rhosts": `sbytes  mess  tries  xdelay  host
  1200     2      3    5.00  far.example
  1200     1      1    0.30  here.example
`,
		"rxdelay": ` avg  tries  recipient
0.30      1  local.bob@here.example
1.50      2  remote.carol@far.example
2.00      1  remote.nosuch@far.example
`,
		"senders": `mess  bytes  sbytes  rbytes  recips  tries    xdelay  sender
   1   1200    2400    2400       2      3  3.300000  7791/<alice@a.example>
   1    800       0     800       1      1  2.000000  7792/<>
`,
		"suids": `mess  bytes  sbytes  rbytes  recips  tries    xdelay  uid
   1   1200    2400    2400       2      3  3.300000  7791
   1    800       0     800       1      1  2.000000  7792
`,
	} {
		var out strings.Builder
		if known, err := analog.Write(name, strings.NewReader(wantRecords), &out); !known || err != nil {
			t.Errorf("%s: %v, %v", name, known, err)
		}
		head, _, _ := strings.Cut(want, "\n") // the explanation before it is left out
		_, table, _ := strings.Cut(out.String(), head)
		got := head + table
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestReportsAreDataForPrograms(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"overall":  `"figures":{"average_concurrency":0.0132005,"average_ddelay_per_success_s":200.8,`,
		"ddist":    `{"report":"ddist","rows":[{"avg":0.4,"doneby":0.4,"pct":50},{"avg":200.8,"doneby":401.2,"pct":100}]}`,
		"failures": `{"report":"failures","rows":[{"del":1,"reason":"10.1.2.3_does_not_like_recipient./","xdelay":2}]}`,
		"matchup":  `{"report":"matchup","records":[{"what":"success","birth":1000000001.1,"start":1000000001.2,"end":1000000001.5,"bytes":1200,"sender":"<alice@a.example>","to":"local.bob@here.example","qp":"300","uid":"7791","reason":"did_1+0+0/"},`,
	} {
		in := &analog.Counter{R: iotest.OneByteReader(strings.NewReader(wantRecords))}
		d, err := analog.ReadData(name, in)
		if err != nil || in.Records != 6 {
			t.Errorf("%s: %v, of %d records", name, err, in.Records)
		}
		if got, _ := json.Marshal(d); !strings.Contains(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(got)), want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for _, name := range analog.Names() {
		if _, err := analog.ReadData(name, strings.NewReader("")); err != nil {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
	if _, err := analog.ReadData("nothing", strings.NewReader("")); err == nil {
		t.Error("a report that does not exist is told nothing of")
	}
}

func TestZsendmailWritesWhatSendmailWould(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if _, err := analog.Write("sendmail", strings.NewReader(wantRecords), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, want := range map[int]string{
		0: "1000000001.500000 qp 300: to=local.bob@here.example, uid=7791, ddelay=0.400000, xdelay=0.300000, stat=Sent (did_1+0+0/)",
		3: "1000000402.600000 qp 300: from=<alice@a.example>, uid=7791, size=1200, nrcpts=2, deferrals=1, qtime=401.500000",
		5: "? 1000000012.200000 bounce msg 8 qp 302",
	} {
		if lines[i] != want {
			t.Errorf("line %d: got %q, want %q", i, lines[i], want)
		}
	}
}

func TestFiltersChooseLines(t *testing.T) {
	t.Parallel()
	for want, f := range map[int]analog.Filter{
		4: {QP: "300"}, 2: {Sender: analog.Bracketed("")}, 1: {Recipient: "local.bob@here.example"}, 6: {}, 0: {QP: "300", Sender: "<>"},
	} {
		var out strings.Builder
		if err := f.Copy(strings.NewReader(wantRecords), &out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("%+v: got %d lines, want %d", f, got, want)
		}
	}
}

func TestLogsOfSendmailAndPostfixGiveRecords(t *testing.T) {
	t.Parallel()
	const postfix = `Sep  9 01:46:40 mx postfix/smtpd[10]: 4A1B2C: client=a.test[192.0.2.3]
Sep  9 01:46:40 mx postfix/qmgr[11]: 4A1B2C: from=<A@a.test>, size=1000, nrcpt=2 (queue active)
Sep  9 01:46:42 mx postfix/smtp[12]: 4A1B2C: to=<b@B.test>, orig_to=<c@mx>, relay=b.test[192.0.2.1]:25, delay=2.5, delays=0.5/0/1/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X, thanks)
Sep  9 01:46:43 mx postfix/local[12]: 4A1B2C: to=<joe@mx.test>, relay=local, delay=3, delays=3/0/0/0.25, dsn=5.1.1, status=bounced (unknown user: "joe")
Sep  9 01:46:43 mx postfix/qmgr[11]: 4A1B2C: removed
not a line of syslog
`
	const sendmail = `Sep  9 01:46:40 mx sendmail[10]: 6ALJQ: from=<a@a.test>, size=500, class=0, nrcpts=2, relay=r [192.0.2.4]
Sep  9 01:46:42 mx sendmail[11]: 6ALJQ: to=<b@b.test>, delay=00:00:02, xdelay=00:00:01, mailer=esmtp, dsn=2.0.0, stat=Sent (ok id=1, x)
Sep  9 01:47:40 mx sendmail[11]: 6ALJQ: to=joe, delay=00:01:00, xdelay=00:00:00, mailer=local, dsn=5.1.1, stat=User unknown
`
	for form, c := range map[string]struct{ log, want string }{
		"postfix": {postfix, `d k 999999999.500000 1000000000.000000 1000000002.000000 1000 <a@a.test> remote.b@b.test 4A1B2C 0 sent_(250_2.0.0_Ok:_queued_as_X,_thanks)
d d 999999999.500000 1000000002.750000 1000000003.000000 1000 <a@a.test> local.joe@mx.test 4A1B2C 0 bounced_(unknown_user:_"joe")
m 999999999.500000 1000000003 1000 1 1 0 <a@a.test> 4A1B2C 0
`},
		"sendmail": {sendmail, `d k 1000000000.000000 1000000001.000000 1000000002.000000 500 <a@a.test> remote.b@b.test 6ALJQ 0 Sent_(ok_id=1,_x)
d d 1000000000.000000 1000000060.000000 1000000060.000000 500 <a@a.test> local.joe 6ALJQ 0 User_unknown
m 1000000000.000000 1000000060 500 1 1 0 <a@a.test> 6ALJQ 0
`},
	} {
		in := analog.NewLines(strings.NewReader(c.log))
		in.Now = time.Date(2001, 9, 30, 0, 0, 0, 0, time.UTC)
		var out strings.Builder
		if err := analog.Match(form, in, &out); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, out.String()); d != "" {
			t.Errorf("%s (-want +got):\n%s", form, d)
		}
	}
}

func TestSyslogsYearIsTheLastThatFits(t *testing.T) {
	t.Parallel()
	l := analog.NewLines(strings.NewReader(""))
	l.Now = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for line, want := range map[string]int{"Dec 31 23:00:00 x": 2025, "Jan  1 10:00:00 x": 2026, "Feb 29 10:00:00 x": 2024} {
		if at, _, ok := l.Syslog(line); !ok || at.Year() != want {
			t.Errorf("%s: got %v, %v, want %d", line, at, ok, want)
		}
	}
}

func FuzzMatchup(f *testing.F) {
	f.Add(oneDay)
	f.Add("@4000000037c219bf2ef02e94 info msg 1: bytes x from y\n")
	f.Add("Sep  9 01:46:41 mx qmail: 1000000001.1+@b> qp 3 uid 4\n1 delivery 1: x")
	f.Fuzz(func(t *testing.T, log string) {
		records, _ := match(t, log)
		for _, name := range analog.Names() {
			var out strings.Builder
			if known, err := analog.Write(name, strings.NewReader(records+log), &out); !known || err != nil {
				t.Errorf("%s: %v, %v", name, known, err)
			}
		}
		for _, form := range analog.Forms() {
			var out strings.Builder
			if err := analog.Match(form, analog.NewLines(strings.NewReader(log)), &out); err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
	})
}
