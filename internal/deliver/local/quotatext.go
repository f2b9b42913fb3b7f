package local

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mailbox/maildir"
)

// This file is the words of a warning that a mailbox is nearly full.

// warningText is the warning in one language.
type warningText struct{ language, subject, body string }

var warnings = []warningText{
	{"en", "Your mailbox is {percent} % full", `The mailbox {address} holds {used} of {quota} ({percent} %).
When it is full, new messages for it are turned away.

How to make room:

- Delete messages that you no longer need, and those in the trash.
- The usual cause is a mail program that leaves messages on the server. Turn "leave
  messages on the server" off in the settings of its account, or have it remove them
  after some days; look at every device that reads this mailbox.
- Ask postmaster@{domain} for more room.
`},
	{"ko", "사서함이 {percent} % 찼습니다", `사서함 {address}은(는) {quota} 중 {used}을(를) 쓰고 있습니다({percent} %).
가득 차면 새 메일을 받을 수 없습니다.

공간을 만드는 방법:

- 필요 없는 메일과 휴지통에 있는 메일을 지우십시오.
- 대개 메일 프로그램이 서버에 메일을 남겨 두기 때문입니다. 계정 설정에서 "서버에 메시지
  복사본 남기기"를 끄거나 며칠 뒤에 지우도록 하십시오. 이 사서함을 읽는 모든 기기에서
  확인하십시오.
- 공간이 더 필요하면 postmaster@{domain}에 문의하십시오.
`},
	{"ja", "メールボックスの使用量が {percent} % です", `メールボックス {address} は {quota} のうち {used} を使っています ({percent} %)。
一杯になると、新しいメールを受け取れなくなります。

空きを作る方法:

- 不要なメールと、ごみ箱の中のメールを削除してください。
- 多くの場合、メールソフトがサーバーにメールを残していることが原因です。アカウントの設定で
  「サーバーにメッセージのコピーを置く」をオフにするか、数日後に削除するようにしてください。
  このメールボックスを読むすべての機器で確認してください。
- 容量を増やしたい場合は postmaster@{domain} にお問い合わせください。
`},
}

// builtinWarning is a warning's header and body in the languages given, one below the other.
func builtinWarning(languages []string, a *directory.Account) string {
	if len(languages) == 0 {
		languages = []string{"en"}
	}
	var subjects, bodies []string
	for _, l := range languages {
		for _, w := range warnings {
			if w.language == l && !slices.Contains(subjects, w.subject) {
				subjects, bodies = append(subjects, w.subject), append(bodies, w.body)
			}
		}
	}
	return "Subject: " + strings.Join(subjects, " / ") + "\n\n" + strings.Join(bodies, "\n")
}

// parseWarning checks the text of a file: a header with a Subject, an empty line, a body. Its errors name file and line.
func parseWarning(path string, p []byte) (string, error) {
	text := strings.ReplaceAll(string(p), "\r\n", "\n")
	header, _, ok := strings.Cut(text, "\n\n")
	switch {
	case !utf8.ValidString(text):
		return "", fmt.Errorf("%s: want UTF-8", path)
	case !ok:
		return "", fmt.Errorf("%s: want a header, an empty line and a text", path)
	}
	n, subject := 0, false
	for line := range strings.Lines(header) {
		n++
		line = strings.TrimRight(line, "\n")
		if n > 1 && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return "", fmt.Errorf("%s:%d: %q: want a header field, such as Subject: Your mailbox is nearly full", path, n, line)
		}
		subject = subject || strings.EqualFold(name, "Subject") && strings.TrimSpace(value) != ""
	}
	if !subject {
		return "", errors.New(path + ":1: want a Subject field in the header")
	}
	return text, nil
}

// renderWarning makes the message: its text with what the placeholders stand for, and the fields that a message needs
// where the text has none of its own.
func renderWarning(text string, a *directory.Account, q maildir.Quota, u maildir.Usage, message id.ID, now time.Time) []byte {
	holds, most := quotaWords(q, u)
	text = strings.NewReplacer("{address}", oneLine(a.Address.String()), "{domain}", a.Address.Domain, "{used}", holds, "{quota}", most, "{percent}", strconv.Itoa(q.Percent(u))).Replace(text)
	header, body, _ := strings.Cut(text, "\n\n")
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <>\nDelivered-To: %s\nDate: %s\n", oneLine(a.Address.String()), now.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	for _, f := range []struct{ name, value string }{
		{"From", "postmaster@" + a.Address.Domain}, {"To", oneLine(a.Address.Quoted())}, {"Message-Id", "<" + message.String() + ".overquota@" + a.Address.Domain + ">"},
		{"Auto-Submitted", "auto-generated"}, {"Mime-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "8bit"},
	} {
		if !hasField(header, f.name) {
			fmt.Fprintf(&b, "%s: %s\n", f.name, f.value)
		}
	}
	for line := range strings.Lines(header) {
		line = strings.TrimRight(line, "\n")
		if name, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(name, "Subject") {
			line = name + ": " + mime.BEncoding.Encode("utf-8", value)
			line = strings.ReplaceAll(line, "?= =?", "?=\n =?")
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("\n" + body)
	if !strings.HasSuffix(body, "\n") {
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func hasField(header, name string) bool {
	for line := range strings.Lines(header) {
		if n, _, ok := strings.Cut(line, ":"); ok && textproto.CanonicalMIMEHeaderKey(n) == name {
			return true
		}
	}
	return false
}

// quotaWords are what a mailbox holds and may hold, by the limit that it is nearest to.
func quotaWords(q maildir.Quota, u maildir.Usage) (holds, most string) {
	byBytes, byMessages := maildir.Quota{Bytes: q.Bytes}.Percent(u), maildir.Quota{Messages: q.Messages}.Percent(u)
	if byMessages > byBytes {
		return strconv.FormatInt(u.Messages, 10), strconv.FormatInt(q.Messages, 10) + " messages"
	}
	return SizeWords(u.Bytes), SizeWords(q.Bytes)
}

// SizeWords writes bytes in a unit that people read.
func SizeWords(n int64) string {
	const unit = 1024
	switch {
	case n < unit:
		return strconv.FormatInt(n, 10) + " bytes"
	case n < unit*unit:
		return fmt.Sprintf("%.1f KiB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/unit/unit/unit)
}
