package reason

// This file is the reasons of addresses that files of the operator decide about: qmail's lists,
// users/assign, sendmail's tables, aliases. What is wrong with a file, and where, is the private
// cause: it is told to the operator and not to whoever writes.

// What such files come to.
var (
	RouteFileBroken   = &Error{Temporary, 451, "4.3.5", "route-file-broken", nil, "", nil}
	RefusedByTable    = &Error{Permanent, 550, "5.2.1", "refused-by-table", nil, "", nil}     // what the table says
	DeferredByTable   = &Error{Temporary, 451, "4.2.1", "deferred-by-table", nil, "", nil}    // what the table says
	AliasNestsTooDeep = &Error{Permanent, 554, "5.4.6", "alias-nests-too-deep", nil, "", nil} // the alias
)

// routeTexts are texts' part for this file.
var routeTexts = map[ID][3]string{
	RouteFileBroken.Reason:   {"a file that decides about this address is being mended, please try again later", "이 주소를 처리하는 설정 파일을 고치는 중입니다. 나중에 다시 시도하십시오", "このアドレスの扱いを決めるファイルを修正中です。後でもう一度お試しください"},
	RefusedByTable.Reason:    {"mail to this address is refused: %[1]s", "이 주소로 보내는 메일은 거부됩니다: %[1]s", "このアドレス宛てのメールは拒否されます: %[1]s"},
	DeferredByTable.Reason:   {"mail to this address has to wait: %[1]s", "이 주소로 보내는 메일은 기다려야 합니다: %[1]s", "このアドレス宛てのメールは待つ必要があります: %[1]s"},
	AliasNestsTooDeep.Reason: {"the alias %[1]s leads through too many others", "별칭 %[1]s이(가) 너무 많은 다른 별칭을 거칩니다", "エイリアス %[1]s は多すぎる別のエイリアスを経由します"},
}
