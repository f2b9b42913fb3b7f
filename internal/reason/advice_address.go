package reason

// addressAdvice is about addresses: who they are, and what files say of them.
var addressAdvice = map[ID]advice{
	"bad-address": {
		[3]string{"the address is not written as mail addresses are", "메일 주소의 형식이 아닙니다", "メールアドレスの形式になっていません"},
		[3]string{"write it as name@domain, without blanks", "이름@도메인 형식으로, 공백 없이 적으십시오", "名前@ドメイン の形で、空白を入れずに書いてください"}},
	"mailbox-unknown": {
		[3]string{"the domain is here, but nobody has that name", "도메인은 이 서버의 것이지만 그런 이름의 사용자가 없습니다", "ドメインはこのサーバーのものですが、その名前の利用者はいません"},
		[3]string{"check the spelling of the address, or ask the recipient for it; the operator can make an account or an alias (`account add`, `alias add`)", "주소의 철자를 확인하거나 받는 사람에게 주소를 물어보십시오. 관리자는 계정이나 별칭을 만들 수 있습니다(`account add`, `alias add`)", "アドレスのつづりを確かめるか、相手にアドレスを尋ねてください。管理者はアカウントや別名を作れます(`account add`、`alias add`)"}},
	"no-dot-qmail": {
		[3]string{"no user has this name, and no .qmail file of the address's owner fits", "이 이름의 사용자가 없고, 주소 소유자의 .qmail 파일 중 맞는 것도 없습니다", "この名前のユーザーがなく、アドレスの持ち主の .qmail にも合うものがありません"},
		[3]string{"check the spelling of the address; the operator can make a user, an alias in ~alias or a .qmail-default (`address test` shows what was looked for)", "주소의 철자를 확인하십시오. 관리자는 사용자, ~alias의 별칭, .qmail-default를 만들 수 있습니다(`address test`가 찾은 과정을 보여 줍니다)", "アドレスのつづりを確かめてください。管理者はユーザー、~alias の別名、.qmail-default を作れます(`address test` で探した過程が分かります)"}},
	"mailbox-disabled": {
		[3]string{"the operator has disabled the account", "관리자가 계정의 사용을 중지했습니다", "管理者がアカウントを停止しています"},
		[3]string{"reach the recipient in another way; the operator enables it with `account set`", "다른 방법으로 받는 사람에게 연락하십시오. 관리자는 `account set`으로 다시 사용하게 할 수 있습니다", "別の方法で相手に連絡してください。管理者は `account set` で再開できます"}},
	"domain-disabled": {
		[3]string{"the operator has held the domain's mail", "관리자가 도메인의 메일을 보류했습니다", "管理者がドメインのメールを保留しています"},
		[3]string{"nothing: the mail waits; the operator goes on with `domain set`", "할 일이 없습니다. 메일은 큐에서 기다립니다. 관리자는 `domain set`으로 재개할 수 있습니다", "何もする必要はありません。メールはキューで待機しています。管理者は `domain set` で再開できます"}},
	"alias-loop": {
		[3]string{"the alias's targets lead back to the alias alone", "별칭의 대상이 모두 그 별칭 자신으로 돌아옵니다", "別名の行き先がすべてその別名自身に戻ります"},
		[3]string{"give the alias a target that is a mailbox", "별칭의 대상에 사서함을 넣으십시오", "別名の行き先にメールボックスを入れてください"}},
	"alias-nests-too-deep": {
		[3]string{"aliases lead to aliases, too many one behind the other", "별칭이 다른 별칭을 거치는 단계가 너무 많습니다", "別名が別の別名を経由する段数が多すぎます"},
		[3]string{"let the alias name the mailboxes themselves", "별칭이 사서함을 직접 가리키게 하십시오", "別名が直接メールボックスを指すようにしてください"}},
	"postmaster-unset": {
		[3]string{"RFC 5321 wants somebody behind postmaster, and the address that was named does not exist", "RFC 5321에 따라 postmaster의 메일을 받을 사람이 있어야 하는데, 지정한 주소가 없습니다", "RFC 5321 では postmaster 宛てを受け取る人が必要ですが、指定されたアドレスが存在しません"},
		[3]string{"give route.postmaster an address that exists, or add an account or alias for it", "route.postmaster에 있는 주소를 지정하거나, 그 계정이나 별칭을 추가하십시오", "route.postmaster に存在するアドレスを指定するか、そのアカウントか別名を追加してください"}},
	"directory-unavailable": {
		[3]string{"role directory does not answer, or its disk fails", "directory 역할이 응답하지 않거나 디스크에 오류가 있습니다", "ロール directory が応答しないか、ディスクに障害があります"},
		[3]string{"nothing for senders: it is tried again; the operator looks at `postilion status` and the log", "보내는 사람은 할 일이 없습니다. 다시 시도합니다. 관리자는 `postilion status`와 로그를 확인하십시오", "送信者は何もする必要はありません。再試行されます。管理者は `postilion status` とログを確認してください"}},
	"route-file-broken": {
		[3]string{"a file that decides about the address has a wrong line; mail for it waits", "주소를 처리하는 파일에 잘못된 줄이 있습니다. 그 주소의 메일은 큐에서 기다립니다", "アドレスの扱いを決めるファイルに誤った行があります。その宛先のメールはキューで待機しています"},
		[3]string{"`config check` and the log name file and line; mend it, and the mail goes on", "`config check`와 로그가 파일과 줄을 알려 줍니다. 고치면 메일이 다시 나갑니다", "`config check` とログがファイルと行を示します。直せばメールは配送されます"}},
	"refused-by-table": {
		[3]string{"a table of the operator (virtusertable, access, aliases) refuses the address, with this text", "관리자의 표(virtusertable, access, aliases)가 이 문구와 함께 주소를 거부합니다", "管理者の表(virtusertable、access、aliases)がこの文とともにアドレスを拒否しています"},
		[3]string{"use another address; `address test` names the file and line", "다른 주소를 쓰십시오. `address test`가 파일과 줄을 알려 줍니다", "別のアドレスを使ってください。`address test` がファイルと行を示します"}},
	"deferred-by-table": {
		[3]string{"a table of the operator (virtusertable, access, aliases) lets the address's mail wait", "관리자의 표(virtusertable, access, aliases)가 이 주소의 메일을 기다리게 합니다", "管理者の表(virtusertable、access、aliases)がこのアドレス宛てのメールを待たせています"},
		[3]string{"wait; `address test` names the file and line", "기다리십시오. `address test`가 파일과 줄을 알려 줍니다", "お待ちください。`address test` がファイルと行を示します"}},
	"forward-loop": {
		[3]string{"the message came by this address before: a forward leads back to it", "메시지가 이미 이 주소를 거쳤습니다. 전달 설정이 되돌아옵니다", "メッセージはすでにこのアドレスを通っています。転送が戻ってきています"},
		[3]string{"take out the forward that leads back", "되돌아오는 전달 설정을 지우십시오", "戻ってくる転送設定を取り除いてください"}},
	"delivered-to-loop": {
		[3]string{"the message was delivered to this address before: a forward leads back to it", "메시지가 이미 이 주소로 배달되었습니다. 전달 설정이 되돌아옵니다", "メッセージはすでにこのアドレスへ配送されました。転送が戻ってきています"},
		[3]string{"take out the forward that leads back", "되돌아오는 전달 설정을 지우십시오", "戻ってくる転送設定を取り除いてください"}},
	"message-loops": {
		[3]string{"the message was delivered to this mailbox before: something sends it back", "메시지가 이미 이 사서함으로 배달되었습니다. 무언가가 되돌려 보냅니다", "メッセージはすでにこのメールボックスへ配送されました。何かが送り返しています"},
		[3]string{"find the forward, script or list that sends the mailbox's mail back", "사서함의 메일을 되돌려 보내는 전달 설정이나 스크립트, 목록을 찾으십시오", "メールボックスのメールを送り返している転送設定、スクリプト、リストを探してください"}},
	"queue-lifetime": {
		[3]string{"every attempt failed until the time for a message was over; the last one's reason stands before", "메시지의 보관 시간이 끝날 때까지 모든 시도가 실패했습니다. 마지막 이유는 그 앞에 있습니다", "メッセージの期限まで、すべての試行が失敗しました。最後の理由はその前にあります"},
		[3]string{"see that reason; send again once it is mended (dispatch.lifetime says how long is tried)", "그 이유를 보십시오. 해결된 뒤에 다시 보내십시오(dispatch.lifetime이 시도하는 기간입니다)", "その理由を見てください。解決してから送り直してください(dispatch.lifetime が試行する期間です)"}},
	"given-up": {
		[3]string{"the operator ended the attempts (`queue bounce`)", "관리자가 배달 시도를 끝냈습니다(`queue bounce`)", "管理者が配送の試行を打ち切りました(`queue bounce`)"},
		[3]string{"ask the operator, or send again", "관리자에게 문의하거나 다시 보내십시오", "管理者に問い合わせるか、送り直してください"}},
}
