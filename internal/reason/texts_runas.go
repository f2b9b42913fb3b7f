package reason

// This file is the reasons of the part that becomes users of the system.

// Why that part does nothing for a user.
var (
	RunasUnavailable = &Error{Temporary, 451, "4.3.0", "runas-unavailable", nil, "", nil}
	RunasBusy        = &Error{Temporary, 451, "4.3.2", "runas-busy", nil, "", nil}          // user
	RunasOnlyOwn     = &Error{Temporary, 451, "4.3.5", "runas-only-own-user", nil, "", nil} // user, the server's user
	RunasReserved    = &Error{Temporary, 451, "4.3.5", "runas-reserved-user", nil, "", nil} // user
	RunasGroup       = &Error{Temporary, 451, "4.3.5", "runas-refused-group", nil, "", nil} // user, group
)

// runasTexts are texts' part for this file.
var runasTexts = map[ID][3]string{
	RunasUnavailable.Reason: {"The part that serves users of this system does not answer.", "시스템 사용자를 처리하는 부분이 응답하지 않습니다.", "システムユーザーを扱う部分が応答しません。"},
	RunasBusy.Reason:        {"Too much is under way for user %[1]s at once.", "사용자 %[1]s의 작업이 동시에 너무 많이 진행 중입니다.", "ユーザー %[1]s の処理が同時に多すぎます。"},
	RunasOnlyOwn.Reason:     {"This server was not started as root: it can serve only its own user %[2]s, not %[1]s.", "이 서버는 root로 시작되지 않았습니다: 자기 사용자 %[2]s만 처리할 수 있고 %[1]s은(는) 처리할 수 없습니다.", "このサーバーは root で起動されていません。自分のユーザー %[2]s だけを扱え、%[1]s は扱えません。"},
	RunasReserved.Reason:    {"User %[1]s is one of the server's own and gets no deliveries.", "사용자 %[1]s은(는) 서버 자체의 사용자이므로 배달을 받지 않습니다.", "ユーザー %[1]s はサーバー自身のユーザーであり、配送を受けません。"},
	RunasGroup.Reason:       {"User %[1]s would be served with group %[2]s, which gives power over the machine.", "사용자 %[1]s의 배달에 시스템 전체를 다룰 수 있는 그룹 %[2]s이(가) 지정되어 있습니다.", "ユーザー %[1]s の配送に、マシン全体への権限を持つグループ %[2]s が指定されています。"},
}
