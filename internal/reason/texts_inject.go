package reason

// What a program of this host is told by the local socket. Codes: RFC 3463; qmail reference 5.3.
var (
	InjectBusy      = &Error{Temporary, 451, "4.3.2", "inject-busy", nil, "", nil}
	InjectUserBusy  = &Error{Temporary, 451, "4.7.0", "inject-user-busy", nil, "", nil}
	InjectRate      = &Error{Temporary, 451, "4.7.0", "inject-rate", nil, "", nil}
	InjectVersion   = &Error{Temporary, 451, "4.5.0", "inject-version", nil, "", nil}
	InjectForbidden = &Error{Permanent, 510, "5.7.1", "inject-forbidden", nil, "", nil} // qmail reference 25.1

	FilterRefused = &Error{Permanent, 554, "5.3.0", "filter-refused", nil, "", nil}
	FilterFailed  = &Error{Temporary, 451, "4.3.0", "filter-failed", nil, "", nil}
)

// injectTexts are their texts. English ones of filters are those of qmail's clients, given as the argument.
var injectTexts = map[ID][3]string{
	"inject-busy":      {"too many programs hand in mail at once; try again later", "메일을 넘기는 프로그램이 너무 많습니다. 나중에 다시 시도하십시오", "メールを渡すプログラムが多すぎます。後でやり直してください"},
	"inject-user-busy": {"too many programs of your user hand in mail at once; try again later", "같은 사용자의 프로그램이 한꺼번에 너무 많은 메일을 넘기고 있습니다. 나중에 다시 시도하십시오", "同じ利用者のプログラムが同時に多すぎるメールを渡しています。後でやり直してください"},
	"inject-rate":      {"your user hands in too many messages a minute; try again later", "이 사용자가 1분에 넘기는 메시지가 너무 많습니다. 나중에 다시 시도하십시오", "この利用者が1分間に渡すメッセージが多すぎます。後でやり直してください"},
	"inject-version":   {"this program and the server are of different versions", "프로그램과 서버의 버전이 서로 다릅니다", "プログラムとサーバーのバージョンが異なります"},
	"inject-forbidden": {"You are not permitted to see the queue", "대기열을 볼 권한이 없습니다", "キューを見る権限がありません"},
	"filter-refused":   {"%[1]s", "필터가 메시지를 거부했습니다: %[1]s", "フィルターがメッセージを拒否しました: %[1]s"},
	"filter-failed":    {"%[1]s", "필터가 메시지를 처리하지 못했습니다: %[1]s", "フィルターがメッセージを処理できませんでした: %[1]s"},
}
