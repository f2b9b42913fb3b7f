package bounce

import (
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// This file is a notice in its reader's language. Programs go on reading it: the first paragraph, the
// recipients' own lines and what comes below stay as they are in English (QSBMF), and the words for people
// stand beside them, in a paragraph of their own and behind each recipient's report.

// What the operator may write into notices: lines of a message, bytes of a subject.
const (
	maxMessageLines = 50
	maxSubject      = 200
)

// Validate names what is wrong.
func (o *Options) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := reason.LanguageOf(o.Language); o.Language != "" && !ok {
		wrong("language: %q: want en, ko or ja", o.Language)
	}
	for _, e := range o.Languages {
		if _, _, err := parseLanguage(e); err != nil {
			wrong("languages: %q: %w", e, err)
		}
	}
	for _, k := range []struct{ key, value string }{{"bouncesubject", o.Subject}, {"doublebouncesubject", o.DoubleSubject}} {
		if len(k.value) > maxSubject || oneLine(k.value) != k.value {
			wrong("%s: %q: want one line of at most %d bytes", k.key, k.value, maxSubject)
		}
	}
	for _, k := range []struct {
		key   string
		lines []string
	}{{"bouncemessage", o.Message}, {"doublebouncemessage", o.DoubleMessage}} {
		if len(k.lines) > maxMessageLines {
			wrong("%s: want at most %d lines", k.key, maxMessageLines)
		}
		for _, line := range k.lines {
			if oneLine(line) != line || len(line) > maxLine || strings.TrimSpace(line) == "" || line[0] == '<' || line[0] == '-' {
				wrong("%s: %q: want lines of up to %d bytes, none empty and none that begins with < or -, after which programs look", k.key, line, maxLine)
			}
		}
	}
	return errors.Join(errs...)
}

// parseLanguage reads "DOMAIN LANGUAGE", where ".suffix" stands for all domains below.
func parseLanguage(entry string) (domain string, lang reason.Language, err error) {
	domain, tag, ok := strings.Cut(strings.TrimSpace(entry), " ")
	lang, known := reason.LanguageOf(strings.TrimSpace(tag))
	if !ok || !known || smtp.CheckDomain(strings.TrimPrefix(domain, ".")) != nil {
		return "", lang, errors.New("want a domain, or .suffix for all below it, and en, ko or ja")
	}
	return domain, lang, nil
}

// languageFor returns the language that somebody reads notices in: the longest entry of Languages that
// fits their domain, or Language.
func (b *Builder) languageFor(to mail.Address) reason.Language {
	lang, _ := reason.LanguageOf(b.Language)
	best := 0
	domain := smtp.DomainKey(to.Domain)
	for _, e := range b.Languages {
		d, l, err := parseLanguage(e)
		if err != nil {
			continue
		}
		suffix, below := strings.CutPrefix(d, ".")
		key := smtp.DomainKey(suffix)
		fits := domain == key
		if below {
			fits = strings.HasSuffix(domain, "."+key)
		}
		if length := 2*len(key) + 1; fits && length > best {
			best, lang = length, l
		}
	}
	return lang
}

// phrases are what a notice says to people besides the text that programs know. %[1]s is the host.
type phrases struct {
	failure, double, delay, success []string
	why, todo                       string
	delivered, relayed, expanded    string // %[1]s is the next host
	until, transcript               string
	late                            string // before the cause of the last attempt
}

// phrasesIn are those of each language; English has the text itself.
var phrasesIn = map[reason.Language]phrases{
	reason.Korean: {
		failure: []string{
			"%[1]s의 메일 서버에서 알려 드립니다.",
			"보내신 메일을 아래 주소로 배달하지 못했습니다.",
			"다시 시도해도 배달할 수 없는 오류이므로 더 이상 시도하지 않습니다.",
		},
		double: []string{
			"%[1]s의 메일 서버에서 알려 드립니다.",
			"아래 주소로 반송 메일을 배달하려 했지만, 그 반송 메일도 반송되었습니다.",
		},
		delay: []string{
			"%[1]s의 메일 서버에서 알려 드립니다.",
			"보내신 메일이 늦어지고 있을 뿐, 아직 실패한 것은 없습니다. 아래 주소로",
			"계속 배달을 시도하고 있으니 다시 보내지 않으셔도 됩니다.",
		},
		success: []string{
			"%[1]s의 메일 서버에서 알려 드립니다.",
			"요청하신 대로, 보내신 메일을 아래와 같이 처리했음을 알려 드립니다.",
		},
		why: "이유", todo: "해결 방법",
		delivered: "배달했습니다.", relayed: "이런 알림을 보내지 않는 호스트로 넘겼습니다: %[1]s.", expanded: "여러 주소로 전달했습니다.",
		until: "%[1]s까지 계속 시도합니다.", transcript: "%[1]s와(과) 주고받은 내용:",
		late: "보관 시간이 다 될 때까지 배달하지 못했습니다",
	},
	reason.Japanese: {
		failure: []string{
			"%[1]s のメールサーバーからのお知らせです。",
			"お送りになったメールを、下記の宛先に配送できませんでした。",
			"再試行しても配送できないエラーのため、これ以上の配送は行いません。",
		},
		double: []string{
			"%[1]s のメールサーバーからのお知らせです。",
			"下記の宛先にエラー通知を配送しようとしましたが、その通知もエラーになりました。",
		},
		delay: []string{
			"%[1]s のメールサーバーからのお知らせです。",
			"お送りになったメールの配送が遅れていますが、まだ失敗したわけではありません。",
			"下記の宛先への配送を引き続き試みますので、送り直す必要はありません。",
		},
		success: []string{
			"%[1]s のメールサーバーからのお知らせです。",
			"ご依頼により、お送りになったメールを下記のとおり取り扱ったことをお知らせします。",
		},
		why: "理由", todo: "対処方法",
		delivered: "配送しました。", relayed: "このような通知を送らないホストに引き渡しました: %[1]s。", expanded: "複数のアドレスに転送しました。",
		until: "%[1]s まで配送を試みます。", transcript: "%[1]s との通信の記録:",
		late: "期限までに配送できませんでした",
	},
}

// advised are the reasons that whoever sent the message can do something about; what is to be done about the
// others is the operator's.
var advised = map[reason.ID]bool{
	reason.BadAddress.Reason: true, reason.MailboxUnknown.Reason: true, reason.NoDotQmail.Reason: true, reason.MailboxDisabled.Reason: true,
	reason.HostUnknown.Reason: true, reason.HostNoAddress.Reason: true, reason.NullMX.Reason: true,
	reason.QuotaExceeded.Reason: true, reason.QuotaTooSmall.Reason: true, reason.MessageTooBig.Reason: true, reason.RemoteSize.Reason: true,
	reason.SMTPUTF8Needed.Reason: true, reason.ConversionNeeded.Reason: true, reason.RequireTLS.Reason: true, reason.GivenUp.Reason: true,
	reason.RemoteRecipient: true, reason.RemoteSender: true, reason.RemoteMessage: true, reason.RemoteData: true, reason.QMTPRefused.Reason: true,
}

// told writes a recipient's reason in the reader's language, behind the report that programs read.
func (w *writer) told(e *reason.Error) {
	p, ok := phrasesIn[w.lang]
	if !ok || e == nil {
		return
	}
	why, about := e.Text(w.lang), e.Reason
	if _, report := e.Report(); report { // what the program said stands above
		why, _, _ = reason.Advice(about, w.lang)
	}
	if e.Reason == reason.QueueLifetime.Reason && len(e.Args) > 1 {
		about = reason.ID(e.Args[1])
		why = p.late
		if cause, _, known := reason.Advice(about, w.lang); known {
			why += ": " + cause
		}
	}
	w.paragraph(p.why + ": " + strings.ReplaceAll(why, "\n", " "))
	if _, remedy, known := reason.Advice(about, w.lang); known && advised[about] {
		w.paragraph(p.todo + ": " + firstSentence(remedy))
	}
}

// firstSentence is the part of a remedy for whoever sent the message; what follows is the operator's.
func firstSentence(s string) string {
	for _, end := range []string{". ", "。"} {
		s, _, _ = strings.Cut(s, end)
	}
	return s
}

// intro writes the paragraph for people, behind the one that programs know.
func (w *writer) intro(host string) {
	p, ok := phrasesIn[w.lang]
	if !ok {
		return
	}
	lines := p.failure
	switch {
	case w.n.Kind == Delay:
		lines = p.delay
	case w.n.Kind == Success:
		lines = p.success
	case w.n.Of.From.IsZero():
		lines = p.double
	}
	for _, line := range lines {
		if strings.Contains(line, "%[1]s") {
			line = fmt.Sprintf(line, host)
		}
		w.printf("%s\n", line)
	}
	w.printf("\n")
}

// say returns a phrase about a host or time: that of the reader's language, or the English one.
func (w *writer) say(english string, pick func(*phrases) string, arg string) string {
	if p, ok := phrasesIn[w.lang]; ok {
		english = pick(&p)
	}
	if !strings.Contains(english, "%[1]s") {
		return english
	}
	return fmt.Sprintf(english, arg)
}

// subject is the operator's, in a form that a header can carry, or the kind of notice.
func (w *writer) subject() string {
	s := ""
	switch {
	case w.n.Kind != Failure:
	case w.n.Of.From.IsZero():
		s = w.b.DoubleSubject
	default:
		s = w.b.Subject
	}
	if s = oneLine(s); len(s) > maxSubject {
		s = s[:cutAt(s, maxSubject)]
	}
	if strings.TrimSpace(s) == "" {
		return w.n.Kind.String()
	}
	if asciiOnly(s) == s {
		return s
	}
	// The words of a long text are separated by blanks, where the field may be folded (RFC 2047 2).
	return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", s), "?= =?", "?=\n =?")
}

// message is what the operator says in place of the apology; nil where that stays.
func (b *Builder) message(n *Notice) []string {
	switch {
	case n.Kind != Failure:
		return nil
	case n.Of.From.IsZero():
		return b.DoubleMessage
	}
	return b.Message
}
