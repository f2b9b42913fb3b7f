package reason

// This file is the reasons of deliveries for users of the system, as qmail-lspawn and qmail-local
// word them (qmail reference 8.1, 8.2, 9.1, 9.3 to 9.7, A.5). The English text with its code in
// parentheses is the family's line, which tools and people know.

// Who may be served at all.
var (
	DeliverAsRoot   = &Error{Temporary, 451, "4.3.5", "deliver-as-root", nil, "", nil}
	AliasUserAbsent = &Error{Temporary, 451, "4.3.5", "alias-user-absent", nil, "", nil}
	NoSystemUsers   = &Error{Temporary, 451, "4.3.5", "no-system-users", nil, "", nil}
	HomeNotAbsolute = &Error{Temporary, 451, "4.3.5", "home-not-absolute", nil, "", nil}
	HomeUnreachable = &Error{Temporary, 451, "4.3.0", "home-unreachable", nil, "", nil} // folder, error
	HomeWritable    = &Error{Temporary, 451, "4.7.0", "home-writable", nil, "", nil}
	HomeSticky      = &Error{Temporary, 451, "4.2.1", "home-sticky", nil, "", nil}
)

// Instructions in .qmail files. NoDotQmail is qmail's word for an address that nobody has.
var (
	NoDotQmail          = &Error{Permanent, 550, "5.1.1", "no-dot-qmail", nil, "", nil}
	DeliveredToLoop     = &Error{Permanent, 554, "5.4.6", "delivered-to-loop", nil, "", nil}
	DotQmailUnreadable  = &Error{Temporary, 451, "4.3.0", "dot-qmail-unreadable", nil, "", nil} // file, error
	DotQmailWritable    = &Error{Temporary, 451, "4.7.0", "dot-qmail-writable", nil, "", nil}
	DotQmailBlank       = &Error{Temporary, 451, "4.2.1", "dot-qmail-blank", nil, "", nil}
	DotQmailFileNotList = &Error{Temporary, 451, "4.7.0", "dot-qmail-file-with-x", nil, "", nil}
	DotQmailProgNotList = &Error{Temporary, 451, "4.7.0", "dot-qmail-program-with-x", nil, "", nil}
	DotQmailNUL         = &Error{Temporary, 451, "4.2.1", "dot-qmail-nul", nil, "", nil}
	DotQmailLongForward = &Error{Temporary, 451, "4.2.1", "dot-qmail-long-forward", nil, "", nil} // file and line, most bytes
	DotQmailBadForward  = &Error{Temporary, 451, "4.2.1", "dot-qmail-bad-forward", nil, "", nil}  // file and line
	DotQmailTooBig      = &Error{Temporary, 451, "4.3.0", "dot-qmail-too-big", nil, "", nil}      // file, most bytes
)

// What instructions came to. ProgramDeferred and ProgramRefused take what the program said,
// perhaps nothing at all; see Report.
var (
	ProgramDeferred   = &Error{Temporary, 451, "4.3.0", "program-report", nil, "", nil}
	ProgramRefused    = &Error{Permanent, 554, "5.3.0", "program-report", nil, "", nil}
	ProgramCrashed    = &Error{Temporary, 451, "4.3.0", "program-crashed", nil, "", nil}
	ProgramTimeout    = &Error{Temporary, 451, "4.3.0", "program-timeout", nil, "", nil} // the line
	ProgramNotRun     = &Error{Temporary, 451, "4.3.0", "program-not-run", nil, "", nil} // error
	MaildirAbsent     = &Error{Temporary, 451, "4.2.1", "maildir-absent", nil, "", nil}
	MaildirTimeout    = &Error{Temporary, 451, "4.3.0", "maildir-timeout", nil, "", nil}
	MaildirTrouble    = &Error{Temporary, 451, "4.3.0", "maildir-trouble", nil, "", nil}
	MessageUnreadable = &Error{Temporary, 451, "4.3.0", "message-unreadable", nil, "", nil}
	MailboxUnopened   = &Error{Temporary, 451, "4.2.1", "mailbox-file-unopened", nil, "", nil} // file, error
	MailboxLocked     = &Error{Temporary, 451, "4.3.0", "mailbox-file-locked", nil, "", nil}
	MailboxBusy       = &Error{Temporary, 451, "4.3.0", "mailbox-file-busy", nil, "", nil}
	MailboxUnwritten  = &Error{Temporary, 451, "4.3.0", "mailbox-file-unwritten", nil, "", nil} // file, error
)

// ProgramReport is the reason of a program that deferred or refused a message.
const ProgramReport ID = "program-report"

// Report returns what a program said that deferred or refused the message: in bounces and logs it
// stands alone, as qmail-local passes it on. False is of any other reason.
func (e *Error) Report() (string, bool) {
	if e.Reason != ProgramReport || len(e.Args) == 0 {
		return "", false
	}
	return e.Args[0], true
}

// localTexts are texts' part for this file.
var localTexts = map[ID][3]string{
	DeliverAsRoot.Reason:   {"Not allowed to perform deliveries as root.", "root 권한으로는 배달할 수 없습니다.", "root としての配送は許可されていません。"},
	AliasUserAbsent.Reason: {"Unable to find alias user!", "alias 사용자를 찾을 수 없습니다!", "alias ユーザーが見つかりません!"},
	NoSystemUsers.Reason:   {"Deliveries for users of this system are switched off.", "시스템 사용자에 대한 배달이 꺼져 있습니다.", "システムユーザーへの配送は無効になっています。"},
	HomeNotAbsolute.Reason: {"The home directory is not an absolute path.", "홈 디렉터리가 절대 경로가 아닙니다.", "ホームディレクトリが絶対パスではありません。"},
	HomeUnreachable.Reason: {"Unable to switch to %[1]s: %[2]s.", "%[1]s(으)로 이동할 수 없습니다: %[2]s.", "%[1]s に移動できません: %[2]s。"},
	HomeWritable.Reason:    {"Uh-oh: home directory is writable.", "홈 디렉터리에 다른 사용자가 쓸 수 있습니다.", "ホームディレクトリに他のユーザーが書き込めます。"},
	HomeSticky.Reason:      {"Home directory is sticky: user is editing his .qmail file.", "홈 디렉터리에 sticky 비트가 있습니다: 사용자가 .qmail 파일을 고치는 중입니다.", "ホームディレクトリに sticky ビットがあります: ユーザーが .qmail を編集中です。"},

	NoDotQmail.Reason:          {"Sorry, no mailbox here by that name.", "죄송합니다. 그런 이름의 사서함은 여기 없습니다.", "申し訳ありません。その名前のメールボックスはここにありません。"},
	DeliveredToLoop.Reason:     {"This message is looping: it already has my Delivered-To line.", "메일이 순환하고 있습니다: 이미 이곳의 Delivered-To 줄이 있습니다.", "メールがループしています: すでにこちらの Delivered-To 行があります。"},
	DotQmailUnreadable.Reason:  {"Unable to open %[1]s: %[2]s.", "%[1]s 파일을 열 수 없습니다: %[2]s.", "%[1]s を開けません: %[2]s。"},
	DotQmailWritable.Reason:    {"Uh-oh: .qmail file is writable.", ".qmail 파일에 다른 사용자가 쓸 수 있습니다.", ".qmail ファイルに他のユーザーが書き込めます。"},
	DotQmailBlank.Reason:       {"Uh-oh: first line of .qmail file is blank.", ".qmail 파일의 첫 줄이 비어 있습니다.", ".qmail ファイルの最初の行が空です。"},
	DotQmailFileNotList.Reason: {"Uh-oh: .qmail has file delivery but has x bit set.", ".qmail에 파일 배달이 있으나 x 비트가 설정되어 있습니다.", ".qmail にファイル配送がありますが x ビットが立っています。"},
	DotQmailProgNotList.Reason: {"Uh-oh: .qmail has prog delivery but has x bit set.", ".qmail에 프로그램 배달이 있으나 x 비트가 설정되어 있습니다.", ".qmail にプログラム配送がありますが x ビットが立っています。"},
	DotQmailNUL.Reason:         {"Uh-oh: .qmail file has a NUL byte, it is no text file.", ".qmail 파일에 NUL 바이트가 있습니다: 텍스트 파일이 아닙니다.", ".qmail に NUL バイトがあります。テキストファイルではありません。"},
	DotQmailLongForward.Reason: {"Uh-oh: %[1]s forwards to an address of more than %[2]s bytes.", "%[1]s의 전달 주소가 %[2]s바이트보다 깁니다.", "%[1]s の転送先アドレスが %[2]s バイトより長いです。"},
	DotQmailBadForward.Reason:  {"Uh-oh: %[1]s forwards to an address with a control character.", "%[1]s의 전달 주소에 제어 문자가 있습니다.", "%[1]s の転送先アドレスに制御文字があります。"},
	DotQmailTooBig.Reason:      {"The file %[1]s is too big: more than %[2]s bytes.", "%[1]s 파일이 너무 큽니다: %[2]s바이트를 넘습니다.", "%[1]s が大きすぎます: %[2]s バイトを超えています。"},

	ProgramReport:            {"a program did not take the message: %[1]s", "프로그램이 메일을 받지 않았습니다: %[1]s", "プログラムがメールを受け取りませんでした: %[1]s"},
	ProgramCrashed.Reason:    {"Aack, child crashed.", "프로그램이 비정상 종료되었습니다.", "プログラムが異常終了しました。"},
	ProgramTimeout.Reason:    {"Program took too long and was ended: %[1]s.", "프로그램이 너무 오래 걸려 끝냈습니다: %[1]s.", "プログラムに時間がかかりすぎたため終了させました: %[1]s。"},
	ProgramNotRun.Reason:     {"Unable to run /bin/sh: %[1]s.", "/bin/sh를 실행할 수 없습니다: %[1]s.", "/bin/sh を実行できません: %[1]s。"},
	MaildirAbsent.Reason:     {"Unable to chdir to maildir.", "Maildir로 이동할 수 없습니다.", "Maildir に移動できません。"},
	MaildirTimeout.Reason:    {"Timeout on maildir delivery.", "Maildir 배달 시간이 초과되었습니다.", "Maildir への配送がタイムアウトしました。"},
	MaildirTrouble.Reason:    {"Temporary error on maildir delivery.", "Maildir 배달 중 일시적 오류가 났습니다.", "Maildir への配送で一時的なエラーが起きました。"},
	MessageUnreadable.Reason: {"Unable to read message.", "메일을 읽을 수 없습니다.", "メッセージを読めません。"},
	MailboxUnopened.Reason:   {"Unable to open %[1]s: %[2]s.", "%[1]s 파일을 열 수 없습니다: %[2]s.", "%[1]s を開けません: %[2]s。"},
	MailboxLocked.Reason:     {"File has been locked for 30 seconds straight.", "파일이 30초 동안 계속 잠겨 있습니다.", "ファイルが 30 秒間ロックされたままです。"},
	MailboxBusy.Reason:       {"File has been locked for some seconds, and enough deliveries wait for locks.", "파일이 몇 초째 잠겨 있고, 잠금을 기다리는 배달이 이미 충분합니다.", "ファイルが数秒間ロックされており、ロックを待つ配送がすでに十分あります。"},
	MailboxUnwritten.Reason:  {"Unable to write %[1]s: %[2]s.", "%[1]s 파일에 쓸 수 없습니다: %[2]s.", "%[1]s に書き込めません: %[2]s。"},
}
