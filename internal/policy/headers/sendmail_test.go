package headers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cfText is what guides of the time tell to add to a sendmail.cf; a tab parts the sides of rules.
const cfText = `# the end of a sendmail.cf
HReceived: $?sfrom $s $.by $j
H?P?Return-Path: <$g>
HSubject: $>Check_Subject
D{MPat}ILOVEYOU
D{WORMmsg}Access Denied - This message may contain a virus.
SCheck_Subject
R${MPat}	$#error $: 501 ${WORMmsg}
RRe: ILOVEYOU	$#error $: 501 ${WORMmsg}	a comment
RFW:ILOVEYOU	$#error $: 501 ${WORMmsg}
HContent-Disposition:$>check_sircam
D{SIRCAM}"Warning: I Guess Sircam.worm Virus"
Scheck_sircam
RMultipart message	$#error $: 550 ${SIRCAM}
HContent-Type: $>check_ct
D{NIMDA}"I guess NIMDA.WORM!!!"
Scheck_ct
R$+boundary="====_ABC1234567890DEF_===="	$#error $: 550 ${NIMDA}
H*: $>+check_all
Scheck_all
R$* costs nothing $*	$#error $@ 5.7.1 $: "550 no gifts"
R$-	$: OK
R$* four $- words	$#discard $: discard
R$* later $*	$#error $@ 4.7.1 $: 451 later
Sother
R$*	$: $1 rewritten
`

func TestVector52SendmailsHeaderChecksAnswerAfterTheDot(t *testing.T) {
	t.Parallel()
	s := open1(t, Options{}, "sendmail:", cfText)
	for header, want := range map[string]string{
		"Subject: ILOVEYOU":                      "8 REJECT: Subject: ILOVEYOU\n501 5.0.0 Access Denied - This message may contain a virus.\n",
		"Subject: Re:ILOVEYOU":                   "9 REJECT: Subject: Re:ILOVEYOU\n501 5.0.0 Access Denied - This message may contain a virus.\n",
		"Subject: Re: ILOVEYOU":                  "9 REJECT: Subject: Re: ILOVEYOU\n501 5.0.0 Access Denied - This message may contain a virus.\n",
		"Subject: fw: iloveyou":                  "10 REJECT: Subject: fw: iloveyou\n501 5.0.0 Access Denied - This message may contain a virus.\n",
		"Subject: ILOVEYOU (not seen)":           "8 REJECT: Subject: ILOVEYOU\n501 5.0.0 Access Denied - This message may contain a virus.\n",
		"Subject: I LOVE YOU":                    "",
		"Subject: ILOVEYOU from me":              "",
		"Content-Disposition: Multipart message": "14 REJECT: Content-Disposition: Multipart message\n550 5.0.0 Warning: I Guess Sircam.worm Virus\n",
		"Content-Type: multipart/x;\n\tboundary=\"====_ABC1234567890DEF_====\"": "18 REJECT: Content-Type: multipart/x;\tboundary=\"====_ABC1234567890DEF_====\"\n550 5.0.0 I guess NIMDA.WORM!!!\n",
		"X-Any: it costs nothing at all":                                        "21 REJECT: X-Any: it costs nothing at all\n550 5.7.1 no gifts\n",
		"X-Any: one":                                                            "",
		"X-Any: here are four good words":                                       "23 REJECT: X-Any: here are four good words\n550 5.7.1 message content rejected\n",
		"X-Any: try later":                                                      "24 DEFER: X-Any: try later\n451 4.7.1 later\n",
		"Content-Type: multipart/x; boundary=b\n\n--b\nContent-Disposition: Multipart message\n": "", // sendmail looks at no parts
	} {
		if got := outcome(look(t, s, header+"\n\n", 5)); got != want {
			t.Errorf("%s: -want +got:\n%s", header, cmp.Diff(want, got))
		}
	}
}

func TestOfSendmailsRulesWhatCannotBeDoneIsNamed(t *testing.T) {
	t.Parallel()
	hook := "HSubject: $>x\nSx\n"
	for text, want := range map[string]string{
		"":                                       `CF: no H line calls a ruleset that looks at a header`,
		"HSubject: $>x\n":                        `CF:1: there is no ruleset "x"`,
		hook + "Ra $#error $: 550 x\n":           `CF:3: "a $#error $: 550 x": want a tab between the left and the right side`,
		hook + "R$=w\t$#error $: 550 x\n":        `CF:3: "$=w": of the left side $*, $+, $-, $@ and ${name} can be read, classes and the like cannot`,
		hook + "R$*\t$: $1\n":                    `CF:3: "1": want $#error, $#discard or OK on the right side: values are not rewritten`,
		hook + "R$*\t$#smtp $@ x $: y\n":         `CF:3: "$#smtp $@ x $: y": want $#error, $#discard or $#quarantine: mail is not routed by its header`,
		hook + "R${n}\t$#error $: 550 x\n":       `CF:3: no D line says what ${n} is`,
		hook + "R$*\t$#error $: 550 ${n\n":       `CF:3: "$#error $: 550 ${n": want a closing brace`,
		hook + "Ra$\t$#error $: 550 x\n":         `CF:3: "a$": want something behind the $`,
		hook + "Ra\t$#error $@ 4.7.1 $: 550 x\n": `CF:3: 4.7.1 and 550 are of different classes`,
	} {
		path := write(t, text)
		_, err := Open(Options{Files: []string{"sendmail:" + path}}, nil)
		if err == nil || strings.ReplaceAll(err.Error(), path, "CF") != want {
			t.Errorf("%q:\nhave %v\nwant %s", text, err, want)
		}
	}
}
