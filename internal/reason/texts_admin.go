package reason

// What those are told who manage domains and accounts without being the server's owner. Texts name nothing
// that they did not name themselves. Codes: RFC 3463.
var (
	AdminNotYours    = &Error{Permanent, 550, "5.7.1", "admin-not-yours", nil, "", nil}    // what
	AdminOwnerOnly   = &Error{Permanent, 550, "5.7.1", "admin-owner-only", nil, "", nil}   // what
	AdminAbove       = &Error{Permanent, 550, "5.7.1", "admin-above", nil, "", nil}        // account
	AdminSelf        = &Error{Permanent, 550, "5.7.1", "admin-self", nil, "", nil}         // account
	AdminAppPassword = &Error{Permanent, 550, "5.7.1", "admin-app-password", nil, "", nil} // account
	AdminCatchAll    = &Error{Permanent, 550, "5.7.1", "admin-catch-all", nil, "", nil}    // address
	AdminTarget      = &Error{Permanent, 550, "5.7.1", "admin-target", nil, "", nil}       // target
	AdminGone        = &Error{Permanent, 535, "5.7.8", "admin-gone", nil, "", nil}
	AdminSystemUser  = &Error{Permanent, 550, "5.7.1", "admin-system-user", nil, "", nil} // user
	AdminLogin       = &Error{Permanent, 530, "5.7.0", "admin-login", nil, "", nil}
	AdminBusy        = &Error{Temporary, 451, "4.3.2", "admin-busy", nil, "", nil}
	AdminUserBusy    = &Error{Temporary, 451, "4.7.0", "admin-user-busy", nil, "", nil}
)

// adminTexts are their texts.
var adminTexts = map[ID][3]string{
	"admin-not-yours":    {"%[1]s is not yours to manage", "%[1]s은(는) 관리할 권한이 없는 대상입니다", "%[1]s を管理する権限がありません"},
	"admin-owner-only":   {"%[1]s: only the server's owner may do that", "%[1]s: 서버 소유자만 할 수 있습니다", "%[1]s: サーバーの所有者だけができます"},
	"admin-above":        {"%[1]s administers more than you do: only the server's owner may change it", "%[1]s은(는) 관리 범위가 더 넓으므로 서버 소유자만 변경할 수 있습니다", "%[1]s は管理する範囲がより広いため、サーバーの所有者だけが変更できます"},
	"admin-self":         {"%[1]s: its owner may change its passwords; the rest is its administrator's", "%[1]s: 계정 주인은 비밀번호만 바꿀 수 있고 나머지는 관리자가 바꿉니다", "%[1]s: 本人が変更できるのはパスワードだけで、その他は管理者が変更します"},
	"admin-app-password": {"%[1]s: an app password may not change the account it belongs to; log in with the account's own password", "%[1]s: 앱 비밀번호로는 자신의 계정을 바꿀 수 없습니다. 계정 비밀번호로 로그인하십시오", "%[1]s: アプリパスワードでは自身のアカウントを変更できません。アカウントのパスワードでログインしてください"},
	"admin-catch-all":    {"catch-all %[1]s: an administrator may set an address of a domain that is his, or none; an alias there leads further", "%[1]s: 관리자는 자신이 관리하는 도메인의 주소만 catch-all로 지정할 수 있습니다", "%[1]s: 管理者が catch-all に指定できるのは、自分の管理するドメインのアドレスだけです"},
	"admin-target":       {"target %[1]s: want the address of a person; programs and files are no targets here", "%[1]s: 사람의 주소여야 합니다. 프로그램과 파일은 대상이 될 수 없습니다", "%[1]s: 人のアドレスを指定してください。プログラムやファイルは宛先にできません"},
	"admin-gone":         {"your account is disabled or removed", "계정이 비활성화되었거나 삭제되었습니다", "アカウントが無効か、削除されています"},
	"admin-system-user":  {"%[1]s is a user of this system: nothing of it is managed here; passwd(1) changes its password", "%[1]s은(는) 이 시스템의 사용자이므로 여기서 관리하지 않습니다. 비밀번호는 passwd(1)로 바꾸십시오", "%[1]s はこのシステムの利用者なので、ここでは管理しません。パスワードは passwd(1) で変更してください"},
	"admin-login":        {"log in first", "먼저 로그인하십시오", "先にログインしてください"},
	"admin-busy":         {"too many administrators are at work; try again later", "작업 중인 관리자가 너무 많습니다. 나중에 다시 시도하십시오", "作業中の管理者が多すぎます。後でやり直してください"},
	"admin-user-busy":    {"your user of this host has too many connections here; try again later", "이 호스트의 같은 사용자가 연 연결이 너무 많습니다. 나중에 다시 시도하십시오", "このホストの同じ利用者の接続が多すぎます。後でやり直してください"},
}
