package reason

// Who a client is: the operator's access rules, and DNS lists.
var (
	ClientRefused   = &Error{Permanent, 550, "5.7.1", "client-refused", nil, "", nil}   // the rule's text
	ClientListed    = &Error{Temporary, 451, "4.7.1", "client-listed", nil, "", nil}    // address, list, its text
	ClientBlocked   = &Error{Temporary, 451, "4.7.1", "client-blocked", nil, "", nil}   // RBLSMTPD's text
	ListsSilent     = &Error{Temporary, 451, "4.7.1", "dnslist-trouble", nil, "", nil}  // list
	EtrnRefused     = &Error{Permanent, 459, "5.7.1", "etrn-refused", nil, "", nil}     // RFC 1985 5.2; domain
	QMTPRefused     = &Error{Permanent, 554, "5.0.0", "qmtp-refused", nil, "", nil}     // host
	DANEFailed      = &Error{Temporary, 451, "4.7.5", "dane-failed", nil, "", nil}      // host, what is wrong
	DANEUnavailable = &Error{Temporary, 451, "4.4.3", "dane-unavailable", nil, "", nil} // host
	MTASTSFailed    = &Error{Temporary, 451, "4.7.5", "mta-sts-failed", nil, "", nil}   // host or domain, what is wrong
	QMTPDeferred    = &Error{Temporary, 451, "4.0.0", "qmtp-deferred", nil, "", nil}    // host
)

// netTexts are texts' part for this file.
var netTexts = map[ID][3]string{
	ClientRefused.Reason:   {"%[1]s", "접속이 거부되었습니다: %[1]s", "接続が拒否されました: %[1]s"},
	ClientListed.Reason:    {"your address %[1]s is listed by %[2]s: %[3]s", "귀하의 주소 %[1]s이(가) %[2]s에 등록되어 있습니다: %[3]s", "あなたのアドレス %[1]s は %[2]s に登録されています: %[3]s"},
	ClientBlocked.Reason:   {"%[1]s", "귀하의 주소가 차단되었습니다: %[1]s", "あなたのアドレスは遮断されています: %[1]s"},
	ListsSilent.Reason:     {"temporary RBL lookup error: %[1]s", "차단 목록 %[1]s을(를) 일시적으로 조회할 수 없습니다", "ブロックリスト %[1]s を一時的に参照できません"},
	EtrnRefused.Reason:     {"mail for %[1]s is not sent to you", "%[1]s의 메일은 귀하에게 보내지 않습니다", "%[1]s 宛てのメールはあなたには送りません"},
	QMTPRefused.Reason:     {"%[1]s does not accept the message", "%[1]s이(가) 메시지를 받지 않았습니다", "%[1]s はメッセージを受け取りませんでした"},
	DANEFailed.Reason:      {"%[1]s has published by DANE that it is sent to over verified TLS alone, but %[2]s", "%[1]s은(는) DANE로 검증된 TLS로만 보내도록 공표했지만, 다음 문제가 있습니다: %[2]s", "%[1]s は DANE で検証済みの TLS だけで送るよう公表していますが、問題があります: %[2]s"},
	DANEUnavailable.Reason: {"the TLSA records (DANE) of %[1]s cannot be looked up", "%[1]s의 TLSA 레코드(DANE)를 조회할 수 없습니다", "%[1]s の TLSA レコード(DANE)を参照できません"},
	MTASTSFailed.Reason:    {"the domain's MTA-STS policy forbids sending to %[1]s: %[2]s", "도메인의 MTA-STS 정책이 %[1]s(으)로 보내는 것을 금합니다: %[2]s", "ドメインの MTA-STS ポリシーにより %[1]s へは送れません: %[2]s"},
	QMTPDeferred.Reason:    {"%[1]s does not accept the message for now", "%[1]s이(가) 지금은 메시지를 받지 않습니다", "%[1]s は今はメッセージを受け取りません"},
}
