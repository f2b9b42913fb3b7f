package pop3d

import (
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/reason"
)

// language is a language of replies (RFC 6856 3), with reason's numbers.
type language = reason.Language

// languages are the tags of LANG in the order of reason.Language, with the names
// that the listing gives them.
var languages = [...]struct{ tag, name string }{
	{"en", "English"}, {"ko", "한국어"}, {"ja", "日本語"},
}

// languageOf finds a language by its tag, of which only the first part counts:
// "ko-KR" is Korean.
func languageOf(tag string) (language, bool) {
	primary, _, _ := strings.Cut(tag, "-")
	for i, l := range languages {
		if strings.EqualFold(primary, l.tag) {
			return language(i), true
		}
	}
	return reason.English, false
}

// text is what a reply says, in each language.
type text [3]string

// The texts of replies. An argument is %[1]s and so on.
var (
	textReady        = text{"Postilion POP3 server ready", "Postilion POP3 서버가 준비되었습니다", "Postilion POP3 サーバー準備完了"}
	textBye          = text{"bye", "안녕히 가십시오", "さようなら"}
	textByeDone      = text{"bye, %[1]s deleted, %[2]s left", "안녕히 가십시오. %[1]s 삭제, %[2]s개 남음", "さようなら。%[1]sを削除、残り %[2]s 通"}
	textLoggedIn     = text{"%[1]s has %[2]s (%[3]s octets)", "%[1]s: %[2]s(%[3]s 옥텟)", "%[1]s: %[2]s (%[3]s オクテット)"}
	textName         = text{"name taken, send PASS", "이름을 받았습니다. PASS를 보내십시오", "ユーザー名を受け付けました。PASS を送ってください"}
	textCapa         = text{"capabilities follow", "기능 목록", "機能一覧"}
	textHelp         = text{"commands follow", "명령 목록", "コマンド一覧"}
	textLangs        = text{"languages follow", "언어 목록", "言語一覧"}
	textMechs        = text{"mechanisms follow", "인증 방식 목록", "認証方式一覧"}
	textUTF8         = text{"UTF8 enabled", "UTF8을 사용합니다", "UTF8 を有効にしました"}
	textBeginTLS     = text{"begin TLS", "TLS를 시작하십시오", "TLS を開始してください"}
	textList         = text{"%[1]s (%[2]s octets)", "%[1]s(%[2]s 옥텟)", "%[1]s (%[2]s オクテット)"}
	textUIDL         = text{"unique ids follow", "고유 식별자 목록", "固有識別子一覧"}
	textOctets       = text{"%[1]s octets", "%[1]s 옥텟", "%[1]s オクテット"}
	textTop          = text{"top of message follows", "메시지의 앞부분", "メッセージの先頭部分"}
	textDeleted      = text{"message %[1]s deleted, QUIT makes it final", "메시지 %[1]s 삭제, QUIT 때 확정됩니다", "メッセージ %[1]s を削除。QUIT で確定します"}
	textReset        = text{"%[1]s (%[2]s octets), nothing is deleted", "%[1]s(%[2]s 옥텟), 삭제를 취소했습니다", "%[1]s (%[2]s オクテット)、削除を取り消しました"}
	textNoop         = text{"still here", "연결되어 있습니다", "接続中です"}
	textUnknown      = text{"unknown command %[1]s, HELP lists them", "알 수 없는 명령 %[1]s. HELP가 목록을 보여 줍니다", "不明なコマンド %[1]s。HELP で一覧を表示します"}
	textEmpty        = text{"empty line, HELP lists the commands", "빈 줄입니다. HELP가 명령을 보여 줍니다", "空行です。HELP でコマンド一覧を表示します"}
	textNotBefore    = text{"%[1]s works only after login", "%[1]s은(는) 로그인 후에만 쓸 수 있습니다", "%[1]s はログイン後にのみ使えます"}
	textNotAfter     = text{"%[1]s works only before login", "%[1]s은(는) 로그인 전에만 쓸 수 있습니다", "%[1]s はログイン前にのみ使えます"}
	textUsage        = text{"usage: %[1]s", "사용법: %[1]s", "使い方: %[1]s"}
	textNul          = text{"NUL byte in command", "명령에 NUL 바이트가 있습니다", "コマンドに NUL バイトがあります"}
	textTooLong      = text{"line longer than %[1]s bytes", "줄이 %[1]s바이트를 넘습니다", "行が %[1]s バイトを超えています"}
	textBadNumber    = text{"%[1]s is no message number", "%[1]s은(는) 메시지 번호가 아닙니다", "%[1]s はメッセージ番号ではありません"}
	textNoMessage    = text{"no message %[1]s, there are %[2]s", "메시지 %[1]s이(가) 없습니다. 모두 %[2]s개입니다", "メッセージ %[1]s はありません。全部で %[2]s 通です"}
	textIsDeleted    = text{"message %[1]s is deleted, RSET brings it back", "메시지 %[1]s은(는) 삭제되었습니다. RSET으로 되돌립니다", "メッセージ %[1]s は削除済みです。RSET で戻せます"}
	textGone         = text{"message %[1]s was removed by another program", "메시지 %[1]s은(는) 다른 프로그램이 삭제했습니다", "メッセージ %[1]s は他のプログラムが削除しました"}
	textUnreadable   = text{"message %[1]s cannot be read now", "메시지 %[1]s을(를) 지금 읽을 수 없습니다", "メッセージ %[1]s は今読めません"}
	textUserFirst    = text{"PASS needs USER first", "먼저 USER를 보내십시오", "先に USER を送ってください"}
	textNeedTLS      = text{"passwords need TLS here, send STLS first", "비밀번호에는 TLS가 필요합니다. 먼저 STLS를 보내십시오", "パスワードには TLS が必要です。先に STLS を送ってください"}
	textNoAPOP       = text{"APOP is not offered here", "APOP을 제공하지 않습니다", "APOP は提供していません"}
	textNoTLS        = text{"TLS is not available here", "TLS를 사용할 수 없습니다", "TLS は利用できません"}
	textHasTLS       = text{"TLS is on already", "이미 TLS를 사용 중입니다", "すでに TLS を使用中です"}
	textNoMechanism  = text{"no mechanism %[1]s, there are %[2]s", "인증 방식 %[1]s이(가) 없습니다. 제공: %[2]s", "認証方式 %[1]s はありません。提供: %[2]s"}
	textCancelled    = text{"login cancelled", "로그인을 취소했습니다", "ログインを取り消しました"}
	textBadBase64    = text{"response is not base64", "응답이 base64가 아닙니다", "応答が base64 ではありません"}
	textBadResponse  = text{"response does not fit the mechanism", "응답이 인증 방식에 맞지 않습니다", "応答が認証方式に合いません"}
	textTooSoon      = text{"log in again in %[1]s seconds", "%[1]s초 뒤에 다시 로그인하십시오", "%[1]s 秒後に再度ログインしてください"}
	textInUse        = text{"mailbox held by %[1]s since %[2]s (session %[3]s)", "사서함을 %[1]s이(가) %[2]s부터 사용 중입니다(세션 %[3]s)", "メールボックスは %[1]s が %[2]s から使用中です (セッション %[3]s)"}
	textLocked       = text{"mailbox held by another program: %[1]s", "다른 프로그램이 사서함을 사용 중입니다: %[1]s", "他のプログラムがメールボックスを使用中です: %[1]s"}
	textNoMailbox    = text{"mailbox cannot be opened now, please try again later", "사서함을 지금 열 수 없습니다. 나중에 다시 시도하십시오", "メールボックスを今開けません。後でもう一度お試しください"}
	textTaken        = text{"the operator has freed the mailbox, nothing was deleted", "관리자가 사서함을 해제했습니다. 아무것도 삭제하지 않았습니다", "管理者がメールボックスを解放しました。何も削除していません"}
	textQuitFailed   = text{"%[1]s of %[2]s messages could not be deleted", "메시지 %[2]s개 중 %[1]s개를 삭제하지 못했습니다", "メッセージ %[2]s 通のうち %[1]s 通を削除できませんでした"}
	textNoLanguage   = text{"no language %[1]s, LANG lists them", "언어 %[1]s이(가) 없습니다. LANG이 목록을 보여 줍니다", "言語 %[1]s はありません。LANG で一覧を表示します"}
	textTimeout      = text{"silent for too long, closing", "응답이 없어 연결을 닫습니다", "応答がないため接続を閉じます"}
	textTooManyBad   = text{"too many errors, closing", "오류가 너무 많아 연결을 닫습니다", "エラーが多すぎるため接続を閉じます"}
	textTooManyMore  = text{"too many commands, closing", "명령이 너무 많아 연결을 닫습니다", "コマンドが多すぎるため接続を閉じます"}
	textLoginTooLate = text{"no login in time, closing", "제때 로그인하지 않아 연결을 닫습니다", "時間内にログインしなかったため接続を閉じます"}
	textStopping     = text{"server is stopping, please try again later", "서버를 종료하는 중입니다. 나중에 다시 시도하십시오", "サーバーを停止します。後でもう一度お試しください"}
)

// in renders the text.
func (t text) in(l language, args ...any) string {
	if len(args) == 0 {
		return t[l]
	}
	return fmt.Sprintf(t[l], args...)
}

// messages counts messages in words.
func (s *state) messages(n int) string {
	if n == 1 && s.lang == reason.English {
		return "1 message"
	}
	return text{"%[1]d messages", "메시지 %[1]d개", "メッセージ %[1]d 通"}.in(s.lang, n)
}

// maxEcho bounds what is repeated of a client's words, in bytes.
const maxEcho = 40

// quoted repeats a client's word safely.
func quoted(s string) string {
	more := ""
	if len(s) > maxEcho {
		s, more = s[:maxEcho], "…"
	}
	return fmt.Sprintf("%+q", s) + more
}

// printable keeps text of our own side on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
