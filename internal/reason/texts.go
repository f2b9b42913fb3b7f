package reason

import (
	"fmt"
	"maps"
	"slices"
)

// Language is a language that texts exist in.
type Language uint8

// The languages.
const (
	English Language = iota
	Korean
	Japanese
)

// The reasons. Each is a value to return as it is, or through With and Because.
var (
	LocalError       = &Error{Temporary, 451, "4.3.0", "local-error", nil, "", nil}
	QueueUnavailable = &Error{Temporary, 451, "4.3.0", "queue-unavailable", nil, "", nil}
	DiskFull         = &Error{Temporary, 452, "4.3.1", "disk-full", nil, "", nil}
)

// Routing and delivery to other hosts. Codes: qmail reference 11.1 and A.5, RFC 3463, RFC 5248.
var (
	BadAddress           = &Error{Permanent, 553, "5.1.3", "bad-address", nil, "", nil}
	MailboxUnknown       = &Error{Permanent, 550, "5.1.1", "mailbox-unknown", nil, "", nil}
	MailboxDisabled      = &Error{Permanent, 550, "5.2.1", "mailbox-disabled", nil, "", nil}
	DomainDisabled       = &Error{Temporary, 450, "4.2.1", "domain-disabled", nil, "", nil}
	AliasLoop            = &Error{Permanent, 554, "5.4.6", "alias-loop", nil, "", nil}
	PostmasterUnset      = &Error{Temporary, 451, "4.3.5", "postmaster-unset", nil, "", nil}
	DirectoryUnavailable = &Error{Temporary, 451, "4.3.0", "directory-unavailable", nil, "", nil}

	DNSTemporary       = &Error{Temporary, 451, "4.1.2", "dns-temporary", nil, "", nil}
	HostUnknown        = &Error{Permanent, 550, "5.1.2", "host-unknown", nil, "", nil}
	HostNoAddress      = &Error{Permanent, 550, "5.4.4", "host-no-address", nil, "", nil}
	NullMX             = &Error{Permanent, 556, "5.1.10", "null-mx", nil, "", nil} // RFC 7505 4
	MXIsMe             = &Error{Permanent, 554, "5.4.6", "mx-is-me", nil, "", nil}
	ConnectFailed      = &Error{Temporary, 451, "4.4.1", "connect-failed", nil, "", nil}
	HostResting        = &Error{Temporary, 451, "4.4.1", "host-resting", nil, "", nil}
	ConnectionLost     = &Error{Temporary, 451, "4.4.2", "connection-lost", nil, "", nil}
	PossibleDuplicate  = &Error{Temporary, 451, "4.4.2", "connection-lost-possible-duplicate", nil, "", nil}
	RemoteProtocol     = &Error{Temporary, 451, "4.5.0", "remote-protocol", nil, "", nil}
	TLSNotOffered      = &Error{Temporary, 451, "4.7.4", "tls-not-offered", nil, "", nil}
	TLSFailed          = &Error{Temporary, 451, "4.7.5", "tls-failed", nil, "", nil}
	RequireTLS         = &Error{Permanent, 550, "5.7.30", "requiretls-impossible", nil, "", nil} // RFC 8689 4.2.1
	AuthNotPossible    = &Error{Temporary, 451, "4.7.0", "remote-auth-not-possible", nil, "", nil}
	RemoteSize         = &Error{Permanent, 552, "5.3.4", "remote-size", nil, "", nil}
	SMTPUTF8Needed     = &Error{Permanent, 553, "5.6.7", "smtputf8-needed", nil, "", nil}   // RFC 6531 3.5
	ConversionNeeded   = &Error{Permanent, 554, "5.6.3", "conversion-needed", nil, "", nil} // RFC 6152 3
	AttemptInterrupted = &Error{Temporary, 451, "4.3.2", "attempt-interrupted", nil, "", nil}
)

// What another host refused: the class and the codes are those of its reply.
const (
	RemoteGreeting  ID = "remote-greeting-refused"
	RemoteHelo      ID = "remote-helo-refused"
	RemoteAuth      ID = "remote-auth-refused"
	RemoteSender    ID = "remote-sender-refused"
	RemoteRecipient ID = "remote-recipient-refused"
	RemoteData      ID = "remote-data-refused"
	RemoteMessage   ID = "remote-message-refused"
)

// Delivery into mailboxes: qmail reference 9.1, 19.2. The quota's class is the operator's choice.
var (
	QuotaExceeded      = &Error{Temporary, 452, "4.2.2", "quota-exceeded", nil, "", nil}
	QuotaTooSmall      = &Error{Temporary, 452, "4.2.2", "quota-too-small", nil, "", nil}
	MessageLoops       = &Error{Permanent, 554, "5.4.6", "message-loops", nil, "", nil}
	MailboxUnavailable = &Error{Temporary, 451, "4.3.0", "mailbox-unavailable", nil, "", nil}
	MailboxHangs       = &Error{Temporary, 451, "4.3.0", "mailbox-hangs", nil, "", nil}
)

// Intake: what is refused in a session. Codes: RFC 5321 4.2.3, 1870, 2034, 3463, 4954, 5248, 6531, 9422.
var (
	CommandUnknown    = &Error{Permanent, 500, "5.5.1", "command-unknown", nil, "", nil}
	CommandSyntax     = &Error{Permanent, 501, "5.5.4", "command-syntax", nil, "", nil}
	CommandOrder      = &Error{Permanent, 503, "5.5.1", "command-order", nil, "", nil}
	CommandNotOffered = &Error{Permanent, 502, "5.5.1", "command-not-offered", nil, "", nil}
	LineTooLong       = &Error{Permanent, 500, "5.5.6", "line-too-long", nil, "", nil}
	ParameterUnknown  = &Error{Permanent, 555, "5.5.4", "parameter-unknown", nil, "", nil}
	SenderSyntax      = &Error{Permanent, 501, "5.1.7", "sender-syntax", nil, "", nil}
	RecipientSyntax   = &Error{Permanent, 501, "5.1.3", "recipient-syntax", nil, "", nil}
	UTF8NotDeclared   = &Error{Permanent, 553, "5.6.7", "smtputf8-not-declared", nil, "", nil}
	NotAMailClient    = &Error{Permanent, 554, "5.5.0", "not-a-mail-client", nil, "", nil}
	EarlyTalker       = &Error{Permanent, 554, "5.5.0", "early-talker", nil, "", nil}
	EarlyPipelining   = &Error{Permanent, 554, "5.5.0", "early-pipelining", nil, "", nil}
	BareNewline       = &Error{Permanent, 550, "5.6.11", "bare-newline", nil, "", nil}
	NoRecipients      = &Error{Permanent, 554, "5.5.1", "no-valid-recipients", nil, "", nil}

	TooManyErrors   = &Error{Temporary, 421, "4.7.0", "too-many-errors", nil, "", nil}
	TooManyCommands = &Error{Temporary, 421, "4.7.0", "too-many-commands", nil, "", nil}
	IdleTimeout     = &Error{Temporary, 421, "4.4.2", "idle-timeout", nil, "", nil}
	Stopping        = &Error{Temporary, 421, "4.3.2", "stopping", nil, "", nil}
	OverLimit       = &Error{Temporary, 421, "4.7.0", "over-limit", nil, "", nil}
	LoadTooHigh     = &Error{Temporary, 421, "4.3.2", "load-too-high", nil, "", nil}

	SenderRefused     = &Error{Permanent, 550, "5.7.1", "sender-refused", nil, "", nil}
	RecipientRefused  = &Error{Permanent, 550, "5.7.1", "recipient-refused", nil, "", nil}
	RelayDenied       = &Error{Permanent, 550, "5.7.1", "relay-denied", nil, "", nil}
	ReceiveOnly       = &Error{Permanent, 550, "5.7.1", "receive-only", nil, "", nil}
	SendingForbidden  = &Error{Permanent, 550, "5.7.1", "sending-forbidden", nil, "", nil}
	SenderNotYours    = &Error{Permanent, 553, "5.7.1", "sender-not-yours", nil, "", nil}
	MessageTooBig     = &Error{Permanent, 552, "5.3.4", "message-too-big", nil, "", nil}
	TooManyRecipients = &Error{Temporary, 452, "4.5.3", "too-many-recipients", nil, "", nil}
	RateExceeded      = &Error{Temporary, 450, "4.7.1", "rate-exceeded", nil, "", nil}
	TooManyHops       = &Error{Permanent, 554, "5.4.6", "too-many-hops", nil, "", nil}

	AuthRequired   = &Error{Permanent, 530, "5.7.0", "auth-required", nil, "", nil}
	TLSRequired    = &Error{Permanent, 530, "5.7.0", "tls-required", nil, "", nil}
	TLSForAuth     = &Error{Permanent, 538, "5.7.11", "tls-required-for-auth", nil, "", nil}
	TLSUnavailable = &Error{Temporary, 454, "4.7.0", "tls-unavailable", nil, "", nil}
	AuthMechanism  = &Error{Permanent, 504, "5.5.4", "auth-mechanism-unknown", nil, "", nil}
	AuthCancelled  = &Error{Permanent, 501, "5.7.0", "auth-cancelled", nil, "", nil}
	AuthEncoding   = &Error{Permanent, 501, "5.5.2", "auth-encoding", nil, "", nil}
	// AuthBinding takes SCRAM's server-error (RFC 5802 7).
	AuthBinding      = &Error{Permanent, 535, "5.7.8", "auth-channel-binding", nil, "", nil}
	AuthTooLong      = &Error{Permanent, 500, "5.5.6", "auth-too-long", nil, "", nil}
	VerifyNotOffered = &Error{Permanent, 502, "5.7.0", "expansion-not-offered", nil, "", nil}
)

// Reasons of dispatch. QueueLifetime and GivenUp take the text and the ID of the last
// temporary failure.
var (
	QueueLifetime = &Error{Permanent, 554, "5.4.7", "queue-lifetime", nil, "", nil}
	GivenUp       = &Error{Permanent, 554, "5.4.7", "given-up", nil, "", nil}
	ForwardLoop   = &Error{Permanent, 554, "5.4.6", "forward-loop", nil, "", nil}
)

// Logins. auth.Failed and auth.Blocked are declared beside their seam.
var AuthBusy = &Error{Temporary, 454, "4.7.0", "auth-busy", nil, "", nil}

// Who a message says that it is from. AuthorNotYours and AuthorUnreadable take the header
// field's name and what it holds.
var (
	SenderIsOurs     = &Error{Permanent, 550, "5.7.1", "sender-is-ours", nil, "", nil}
	SenderUnknown    = &Error{Permanent, 550, "5.1.0", "sender-unknown", nil, "", nil}
	AuthorNotYours   = &Error{Permanent, 550, "5.7.1", "author-not-yours", nil, "", nil}
	AuthorUnreadable = &Error{Permanent, 550, "5.7.1", "author-unreadable", nil, "", nil}
)

// texts gives each reason's public text. %[1]s takes the first of the Error's Args.
var texts = join(coreTexts, intakeTexts, injectTexts, adminTexts, localTexts, runasTexts, routeTexts, netTexts, contentTexts)

// join makes one map of those that the files of this package hold.
func join(parts ...map[ID][3]string) map[ID][3]string {
	all := make(map[ID][3]string)
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

var coreTexts = map[ID][3]string{
	LocalError.Reason:       {English: "local error in processing", Korean: "서버 내부 오류", Japanese: "サーバー内部エラー"},
	QueueUnavailable.Reason: {English: "queue is not available, please try again later", Korean: "큐를 사용할 수 없습니다. 나중에 다시 시도하십시오", Japanese: "キューが利用できません。後でもう一度お試しください"},
	DiskFull.Reason:         {English: "insufficient system storage", Korean: "시스템 저장 공간이 부족합니다", Japanese: "システムの記憶領域が不足しています"},

	// Routing and delivery to other hosts.
	BadAddress.Reason:           {"this is no mail address: %[1]s", "올바른 메일 주소가 아닙니다: %[1]s", "正しいメールアドレスではありません: %[1]s"},
	MailboxUnknown.Reason:       {"no mailbox here by that name: %[1]s", "이 서버에 해당 사서함이 없습니다: %[1]s", "このサーバーにそのメールボックスはありません: %[1]s"},
	MailboxDisabled.Reason:      {"this mailbox is disabled and takes no mail: %[1]s", "사용이 중지된 사서함이라 메일을 받지 않습니다: %[1]s", "このメールボックスは停止中のため受け取れません: %[1]s"},
	DomainDisabled.Reason:       {"mail for domain %[1]s is held up for now, please try again later", "도메인 %[1]s의 메일은 지금 보류되어 있습니다. 나중에 다시 시도하십시오", "ドメイン %[1]s 宛てのメールは現在保留されています。後でもう一度お試しください"},
	AliasLoop.Reason:            {"the alias %[1]s leads to itself only", "별칭 %[1]s이(가) 자기 자신만 가리킵니다", "エイリアス %[1]s は自分自身だけを指しています"},
	PostmasterUnset.Reason:      {"nobody takes this host's postmaster mail: %[1]s does not exist", "이 호스트의 postmaster 메일을 받을 사람이 없습니다: %[1]s이(가) 없습니다", "このホストの postmaster 宛てメールの受取人がいません: %[1]s が存在しません"},
	DirectoryUnavailable.Reason: {"the directory of accounts cannot be read, please try again later", "계정 디렉터리를 읽을 수 없습니다. 나중에 다시 시도하십시오", "アカウントのディレクトリを読めません。後でもう一度お試しください"},
	DNSTemporary.Reason:         {"Sorry, I couldn't find any host by that name: DNS gave no answer about %[1]s.", "DNS에서 %[1]s에 대한 답을 얻지 못했습니다", "DNS から %[1]s についての応答が得られませんでした"},
	HostUnknown.Reason:          {"Sorry, I couldn't find any host named %[1]s.", "%[1]s(이)라는 호스트를 찾을 수 없습니다", "%[1]s というホストが見つかりません"},
	HostNoAddress.Reason:        {"Sorry, I couldn't find a mail exchanger or IP address for %[1]s.", "%[1]s의 메일 서버나 IP 주소를 찾을 수 없습니다", "%[1]s のメールサーバーも IP アドレスも見つかりません"},
	NullMX.Reason:               {"the domain %[1]s takes no mail (null MX)", "도메인 %[1]s은(는) 메일을 받지 않습니다 (null MX)", "ドメイン %[1]s はメールを受け取りません (null MX)"},
	MXIsMe.Reason:               {"Sorry. Although I'm listed as a best-preference MX or A for %[1]s, it isn't one of my domains, so I don't treat it as local.", "이 호스트가 %[1]s의 최우선 메일 서버로 등록되어 있지만 자기 도메인으로 다루지 않습니다", "このホストは %[1]s の最優先メールサーバーとして登録されていますが、自分のドメインとして扱っていません"},
	ConnectFailed.Reason:        {"Sorry, I wasn't able to establish an SMTP connection to %[1]s.", "%[1]s에 SMTP로 연결할 수 없었습니다", "%[1]s に SMTP で接続できませんでした"},
	HostResting.Reason:          {"%[1]s did not answer lately and is not tried for now", "%[1]s이(가) 최근 응답하지 않아 당분간 시도하지 않습니다", "%[1]s は最近応答がないため、当分試行しません"},
	ConnectionLost.Reason:       {"Connected to %[1]s but connection died.", "%[1]s에 연결했으나 연결이 끊어졌습니다", "%[1]s に接続しましたが、接続が切れました"},
	PossibleDuplicate.Reason:    {"Connected to %[1]s but connection died. Possible duplicate!", "%[1]s에 연결했으나 연결이 끊어졌습니다. 중복 배달될 수 있습니다!", "%[1]s に接続しましたが、接続が切れました。重複して配送される可能性があります!"},
	RemoteProtocol.Reason:       {"%[1]s does not keep to the protocol", "%[1]s이(가) 프로토콜을 지키지 않습니다", "%[1]s がプロトコルに従っていません"},
	TLSNotOffered.Reason:        {"TLS is required, but was not offered by %[1]s", "TLS가 필요하지만 %[1]s이(가) 제공하지 않습니다", "TLS が必要ですが、%[1]s は提供していません"},
	TLSFailed.Reason:            {"TLS with %[1]s failed: %[2]s", "%[1]s와(과)의 TLS 연결에 실패했습니다: %[2]s", "%[1]s との TLS に失敗しました: %[2]s"},
	RequireTLS.Reason:           {"the sender requires TLS all the way, which is not possible by %[1]s: %[2]s", "보낸 사람이 전 구간 TLS를 요구하지만 %[1]s(으)로는 불가능합니다: %[2]s", "差出人は全経路の TLS を求めていますが、%[1]s では不可能です: %[2]s"},
	AuthNotPossible.Reason:      {"cannot log in to %[1]s: %[2]s", "%[1]s에 로그인할 수 없습니다: %[2]s", "%[1]s にログインできません: %[2]s"},
	RemoteSize.Reason:           {"the message has %[2]s bytes, %[1]s takes at most %[3]s", "메시지 크기는 %[2]s바이트이고, %[1]s은(는) 최대 %[3]s바이트까지 받습니다", "メッセージは %[2]s バイトですが、%[1]s は最大 %[3]s バイトです"},
	SMTPUTF8Needed.Reason:       {"the message needs SMTPUTF8, which %[1]s does not offer", "이 메시지에는 SMTPUTF8이 필요하지만 %[1]s이(가) 지원하지 않습니다", "このメッセージには SMTPUTF8 が必要ですが、%[1]s は対応していません"},
	ConversionNeeded.Reason:     {"the message cannot be converted for %[1]s, which takes 7-bit mail only: %[2]s", "7비트 메일만 받는 %[1]s용으로 메시지를 변환할 수 없습니다: %[2]s", "7 ビットのメールのみ受け取る %[1]s 向けにメッセージを変換できません: %[2]s"},
	AttemptInterrupted.Reason:   {"the attempt was interrupted", "배달 시도가 중단되었습니다", "配送の試行が中断されました"},
	RemoteGreeting:              {"Connected to %[1]s but greeting failed.", "%[1]s에 연결했으나 첫 응답에서 거부되었습니다", "%[1]s に接続しましたが、最初の応答で拒否されました"},
	RemoteHelo:                  {"Connected to %[1]s but my name was rejected.", "%[1]s에 연결했으나 이 서버의 이름(HELO)이 거부되었습니다", "%[1]s に接続しましたが、このサーバーの名前 (HELO) が拒否されました"},
	RemoteAuth:                  {"Connected to %[1]s but my login was rejected.", "%[1]s에 연결했으나 로그인이 거부되었습니다", "%[1]s に接続しましたが、ログインが拒否されました"},
	RemoteSender:                {"Connected to %[1]s but sender was rejected.", "%[1]s에 연결했으나 보낸 사람이 거부되었습니다", "%[1]s に接続しましたが、差出人が拒否されました"},
	RemoteRecipient:             {"%[1]s does not like recipient.", "%[1]s이(가) 받는 사람을 거부했습니다", "%[1]s が宛先を拒否しました"},
	RemoteData:                  {"%[1]s failed on DATA command.", "%[1]s이(가) DATA 명령을 거부했습니다", "%[1]s が DATA コマンドを拒否しました"},
	RemoteMessage:               {"%[1]s failed after I sent the message.", "메시지를 보낸 뒤 %[1]s이(가) 거부했습니다", "メッセージ送信後に %[1]s が拒否しました"},

	// Delivery into mailboxes.
	QuotaExceeded.Reason:      {English: "Quota exceeded: the mailbox is full; its owner can make room by deleting messages (the usual cause is a mail program that leaves messages on the server)", Korean: "Quota exceeded: 사서함이 가득 찼습니다. 소유자가 메시지를 삭제하면 공간이 생깁니다(대개 메일 프로그램이 서버에 메시지를 남겨 두기 때문입니다)", Japanese: "Quota exceeded: メールボックスが一杯です。所有者がメッセージを削除すれば空きができます（多くはメールソフトがサーバーにメッセージを残しているためです）"},
	QuotaTooSmall.Reason:      {English: "Message size exceeds remaining quota: Quota exceeded by this message", Korean: "Message size exceeds remaining quota: 이 메시지는 남은 할당량보다 큽니다", Japanese: "Message size exceeds remaining quota: このメッセージは残りの容量を超えています"},
	MessageLoops.Reason:       {English: "This message is looping: it already has my Delivered-To line.", Korean: "메시지가 순환하고 있습니다. 이미 이 주소의 Delivered-To 줄이 있습니다.", Japanese: "メッセージがループしています。このアドレスの Delivered-To 行がすでにあります。"},
	MailboxUnavailable.Reason: {English: "Temporary error on maildir delivery.", Korean: "사서함 배달 중 일시적인 오류가 발생했습니다.", Japanese: "メールボックスへの配送で一時的なエラーが発生しました。"},
	MailboxHangs.Reason:       {English: "The file system of the mailbox does not answer.", Korean: "사서함의 파일 시스템이 응답하지 않습니다.", Japanese: "メールボックスのファイルシステムが応答しません。"},

	// Intake.
	CommandUnknown.Reason:    {"command not recognised", "알 수 없는 명령입니다", "認識できないコマンドです"},
	CommandSyntax.Reason:     {"syntax error: %[1]s", "구문 오류: %[1]s", "構文エラー: %[1]s"},
	CommandOrder.Reason:      {"bad sequence of commands: %[1]s", "명령 순서가 잘못되었습니다: %[1]s", "コマンドの順序が正しくありません: %[1]s"},
	CommandNotOffered.Reason: {"command not offered here", "여기서는 제공하지 않는 명령입니다", "ここでは提供していないコマンドです"},
	LineTooLong.Reason:       {"line too long: want at most %[1]s bytes", "줄이 너무 깁니다. 최대 %[1]s바이트입니다", "行が長すぎます。最大 %[1]s バイトです"},
	ParameterUnknown.Reason:  {"parameter not recognised: %[1]s", "알 수 없는 매개변수입니다: %[1]s", "認識できないパラメーターです: %[1]s"},
	SenderSyntax.Reason:      {"bad sender address: %[1]s", "보내는 사람 주소가 잘못되었습니다: %[1]s", "差出人アドレスが正しくありません: %[1]s"},
	RecipientSyntax.Reason:   {"bad recipient address: %[1]s", "받는 사람 주소가 잘못되었습니다: %[1]s", "宛先アドレスが正しくありません: %[1]s"},
	UTF8NotDeclared.Reason:   {"international address without SMTPUTF8", "SMTPUTF8 없이 국제화 주소를 사용했습니다", "SMTPUTF8 の指定なしに国際化アドレスが使われました"},
	NotAMailClient.Reason:    {"this is a mail server, not a web server", "이 서버는 웹 서버가 아니라 메일 서버입니다", "これはメールサーバーであり、ウェブサーバーではありません"},
	EarlyTalker.Reason:       {"you spoke before the greeting", "인사말 전에 데이터를 보냈습니다", "こちらの最初の応答より先に送信されました"},
	EarlyPipelining.Reason:   {"you did not wait for the reply to %[1]s", "%[1]s의 응답을 기다리지 않았습니다", "%[1]s への応答を待たずに送信されました"},
	BareNewline.Reason:       {"message holds a bare CR or LF: want CRLF at the end of each line", "메시지에 단독 CR 또는 LF가 있습니다. 각 줄은 CRLF로 끝나야 합니다", "メッセージに単独の CR または LF があります。各行は CRLF で終わる必要があります"},
	NoRecipients.Reason:      {"no valid recipients", "유효한 받는 사람이 없습니다", "有効な宛先がありません"},
	TooManyErrors.Reason:     {"too many errors, closing connection", "오류가 너무 많아 연결을 닫습니다", "エラーが多すぎるため接続を閉じます"},
	TooManyCommands.Reason:   {"too many commands without a message, closing connection", "메시지 없이 명령이 너무 많아 연결을 닫습니다", "メッセージのないコマンドが多すぎるため接続を閉じます"},
	IdleTimeout.Reason:       {"nothing came for too long, closing connection", "너무 오래 응답이 없어 연결을 닫습니다", "長時間受信がないため接続を閉じます"},
	Stopping.Reason:          {"server is stopping, please try again shortly", "서버를 멈추는 중입니다. 잠시 후 다시 시도하십시오", "サーバーを停止しています。しばらくして再試行してください"},
	OverLimit.Reason:         {"%[1]s, please try again later", "%[1]s. 나중에 다시 시도하십시오", "%[1]s。後でもう一度お試しください"},
	LoadTooHigh.Reason:       {"load is too high, please try again later", "부하가 너무 높습니다. 나중에 다시 시도하십시오", "負荷が高すぎます。後でもう一度お試しください"},
	SenderRefused.Reason:     {"mail from this sender is refused: %[1]s", "이 보낸 사람의 메일은 거부됩니다: %[1]s", "この差出人からのメールは拒否されます: %[1]s"},
	RecipientRefused.Reason:  {"mail to this recipient is refused: %[1]s", "이 받는 사람에게 보내는 메일은 거부됩니다: %[1]s", "この宛先へのメールは拒否されます: %[1]s"},
	RelayDenied.Reason:       {"relaying denied: %[1]s is not a domain of this server", "중계가 거부되었습니다. %[1]s은(는) 이 서버의 도메인이 아닙니다", "中継は拒否されました。%[1]s はこのサーバーのドメインではありません"},
	ReceiveOnly.Reason:       {"this server only receives mail", "이 서버는 메일을 받기만 합니다", "このサーバーはメールの受信専用です"},
	SendingForbidden.Reason:  {"this account may not send mail: %[1]s", "이 계정은 메일을 보낼 수 없습니다: %[1]s", "このアカウントはメールを送信できません: %[1]s"},
	SenderNotYours.Reason:    {"this sender address does not belong to your account: %[1]s", "이 보낸 사람 주소는 귀하의 계정에 속하지 않습니다: %[1]s", "この差出人アドレスはあなたのアカウントのものではありません: %[1]s"},
	MessageTooBig.Reason:     {"Message is too large; %[1]s bytes max", "메시지가 너무 큽니다. 최대 %[1]s바이트입니다", "メッセージが大きすぎます。最大 %[1]s バイトです"},
	RateExceeded.Reason:      {"you have sent to %[1]s recipients within an hour, which is the most allowed; try again later", "한 시간에 보낼 수 있는 받는 사람 수 %[1]s명을 다 채웠습니다. 나중에 다시 시도하십시오", "1 時間に送れる宛先 %[1]s 件に達しました。後でやり直してください"},
	TooManyRecipients.Reason: {"too many recipients: want at most %[1]s a message", "받는 사람이 너무 많습니다. 메시지당 최대 %[1]s명입니다", "宛先が多すぎます。1 通につき最大 %[1]s 件です"},
	TooManyHops.Reason:       {"too many hops, this message is looping", "전달 횟수가 너무 많습니다. 메시지가 순환하고 있습니다", "転送回数が多すぎます。メッセージがループしています"},
	AuthRequired.Reason:      {"authentication required", "인증이 필요합니다", "認証が必要です"},
	TLSRequired.Reason:       {"must issue a STARTTLS command first", "먼저 STARTTLS 명령을 보내야 합니다", "先に STARTTLS コマンドが必要です"},
	TLSForAuth.Reason:        {"encryption required for this mechanism: issue STARTTLS first", "이 인증 방식에는 암호화가 필요합니다. 먼저 STARTTLS를 보내십시오", "この認証方式には暗号化が必要です。先に STARTTLS を送ってください"},
	TLSUnavailable.Reason:    {"TLS is not available for now", "지금은 TLS를 사용할 수 없습니다", "現在 TLS は利用できません"},
	AuthMechanism.Reason:     {"authentication mechanism not offered", "제공하지 않는 인증 방식입니다", "提供していない認証方式です"},
	AuthCancelled.Reason:     {"authentication cancelled", "인증이 취소되었습니다", "認証は中止されました"},
	AuthEncoding.Reason:      {"cannot decode the response: want base64", "응답을 해독할 수 없습니다. base64여야 합니다", "応答を復号できません。base64 が必要です"},
	AuthBinding.Reason:       {"%[1]s: client and server do not agree on binding the login to this connection", "%[1]s: 로그인을 이 연결에 묶는 방법이 클라이언트와 서버 사이에 맞지 않습니다", "%[1]s: ログインをこの接続に結び付ける方法がクライアントとサーバーで合いません"},
	AuthTooLong.Reason:       {"authentication exchange line is too long", "인증 줄이 너무 깁니다", "認証の行が長すぎます"},
	VerifyNotOffered.Reason:  {"lists and aliases are not told here", "목록과 별칭은 알려 주지 않습니다", "リストと別名はここでは公開していません"},
	// dispatch
	QueueLifetime.Reason: {"%[1]s. I'm not going to try again; this message has been in the queue too long.", "%[1]s. 메시지가 큐에 너무 오래 있어 더 이상 시도하지 않습니다.", "%[1]s。メッセージがキューに長く留まりすぎたため、これ以上試みません。"},
	GivenUp.Reason:       {"the operator of this server gave this message up", "이 서버의 관리자가 이 메시지의 배달을 중단했습니다", "このサーバーの管理者がこのメッセージの配送を打ち切りました"},
	ForwardLoop.Reason:   {"this message is looping: it already has my Delivered-To line for %[1]s", "메시지가 순환하고 있습니다. %[1]s의 Delivered-To 줄이 이미 있습니다", "メッセージがループしています。%[1]s の Delivered-To 行が既にあります"},

	// Who a message says that it is from.
	SenderIsOurs.Reason:     {"mail from %[1]s is taken only from who logs in", "%[1]s에서 보내는 메일은 로그인한 경우에만 받습니다", "%[1]s からのメールはログインした場合のみ受け付けます"},
	SenderUnknown.Reason:    {"there is no sender here by that name: %[1]s", "이 서버에 그런 이름의 보낸 사람이 없습니다: %[1]s", "このサーバーにその名前の差出人はいません: %[1]s"},
	AuthorNotYours.Reason:   {"the address in the %[1]s field does not belong to your account: %[2]s", "%[1]s 필드의 주소가 귀하의 계정에 속하지 않습니다: %[2]s", "%[1]s フィールドのアドレスはあなたのアカウントのものではありません: %[2]s"},
	AuthorUnreadable.Reason: {"the %[1]s field must hold an address of your account, and this is none that can be read: %[2]s", "%[1]s 필드에는 귀하의 계정 주소가 있어야 하는데 읽을 수 있는 주소가 아닙니다: %[2]s", "%[1]s フィールドにはあなたのアカウントのアドレスが必要ですが、読み取れるアドレスではありません: %[2]s"},

	// Logins.
	"auth-failed":   {English: "authentication failed: user name or password is wrong", Korean: "인증 실패: 사용자 이름 또는 비밀번호가 올바르지 않습니다", Japanese: "認証に失敗しました: ユーザー名またはパスワードが正しくありません"},
	"auth-blocked":  {English: "too many failed logins, please wait %[1]s seconds", Korean: "로그인 실패가 너무 많습니다. %[1]s초 후에 다시 시도하십시오", Japanese: "ログインの失敗が多すぎます。%[1]s 秒後にもう一度お試しください"},
	"auth-barred":   {English: "logging in is blocked by the operator", Korean: "관리자가 로그인을 차단했습니다", Japanese: "ログインは管理者によって遮断されています"},
	AuthBusy.Reason: {English: "too many logins at once, please try again later", Korean: "동시 로그인이 너무 많습니다. 나중에 다시 시도하십시오", Japanese: "同時ログインが多すぎます。後でもう一度お試しください"},
}

// IDs returns the names of all reasons, sorted.
func IDs() []string {
	var all []string
	for r := range texts {
		all = append(all, string(r))
	}
	slices.Sort(all)
	return all
}

// Text returns the public text in the given language, without codes.
func (e *Error) Text(lang Language) string {
	t, ok := texts[e.Reason]
	if !ok {
		return string(e.Reason)
	}
	s := t[lang]
	if s == "" {
		s = t[English]
	}
	if len(e.Args) == 0 {
		return s
	}
	args := make([]any, len(e.Args))
	for i, a := range e.Args {
		args[i] = a
	}
	return fmt.Sprintf(s, args...)
}
