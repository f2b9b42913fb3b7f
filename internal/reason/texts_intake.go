package reason

// What a session ends with where qmail ends it otherwise than we do.
var (
	// BareNewlineLater is BareNewline as qmail answers it: with a temporary code.
	BareNewlineLater = &Error{Temporary, 451, "4.6.11", "bare-newline", nil, "", nil}
	// MailboxTooBig is MessageTooBig by the limit of an account or domain here (RFC 3463 3.3, X.2.3).
	MailboxTooBig = &Error{Permanent, 552, "5.2.3", "message-too-big", nil, "", nil}
	TooManyLogins = &Error{Temporary, 421, "4.7.0", "too-many-failed-logins", nil, "", nil}
)

// intakeTexts are texts' part for this file.
var intakeTexts = map[ID][3]string{
	TooManyLogins.Reason: {"too many failed logins, closing connection", "로그인 실패가 너무 많아 연결을 닫습니다", "ログインの失敗が多すぎるため接続を閉じます"},
}
