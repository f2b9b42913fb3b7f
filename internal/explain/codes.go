package explain

// This file is what numbers mean: enhanced status codes (RFC 3463, RFC 5248 and their registry), SMTP
// reply codes (RFC 5321 4.2), and exit codes (qmail reference 5.3, 9.5, 14.2, A.4; sysexits).

// told is a cause and a remedy in the order of reason.Language.
type told struct{ cause, remedy [3]string }

// Remedies that many codes share.
var (
	spell    = [3]string{"check the spelling of the address", "주소의 철자를 확인하십시오", "アドレスのつづりを確かめてください"}
	sender   = [3]string{"check the sender's address in the mail program, and its domain in DNS", "메일 프로그램의 보낸 사람 주소와 그 도메인의 DNS를 확인하십시오", "メールソフトの差出人アドレスと、そのドメインの DNS を確認してください"}
	reach    = [3]string{"reach the recipient in another way", "다른 방법으로 받는 사람에게 연락하십시오", "別の方法で相手に連絡してください"}
	smaller  = [3]string{"send less at once", "더 작게 나누어 보내십시오", "小さく分けて送ってください"}
	again    = [3]string{"wait: it is tried again while it is temporary; the text beside the code says more", "일시적이면 다시 시도하므로 기다리십시오. 자세한 내용은 코드 옆의 문구에 있습니다", "一時的なら再試行されるのでお待ちください。詳しくはコードの横の文にあります"}
	readText = [3]string{"read the text beside the code, which is the refusing host's", "코드 옆의 문구를 읽으십시오. 거부한 호스트의 말입니다", "コードの横の文を読んでください。拒否したホストの言葉です"}
	operator = [3]string{"the operator of the host that says so has to look at its log", "그렇게 응답한 호스트의 관리자가 로그를 확인해야 합니다", "そう応答したホストの管理者がログを確認する必要があります"}
	protocol = [3]string{"mend the program that sends, or the host that answers: they do not speak alike", "보내는 프로그램이나 응답하는 호스트를 고쳐야 합니다. 서로 말이 맞지 않습니다", "送信するプログラムか応答するホストを直してください。やり取りが食い違っています"}
	format   = [3]string{"send it in another form, such as plain text or base64", "일반 텍스트나 base64 등 다른 형식으로 보내십시오", "平文や base64 など、別の形式で送ってください"}
	login    = [3]string{"check user name, password and encryption in the mail program's account settings", "메일 프로그램의 계정 설정에서 사용자 이름, 비밀번호, 암호화를 확인하십시오", "メールソフトのアカウント設定で、利用者名、パスワード、暗号化を確認してください"}
	signed   = [3]string{"the sender's operator mends SPF, DKIM or DMARC in DNS", "보낸 쪽의 관리자가 DNS의 SPF, DKIM, DMARC를 고쳐야 합니다", "送信側の管理者が DNS の SPF、DKIM、DMARC を直す必要があります"}
	loop     = [3]string{"find the forward or MX that leads back; the Received fields show the way", "되돌아오게 하는 전달 설정이나 MX를 찾으십시오. Received 필드에 경로가 보입니다", "戻ってくる原因の転送設定か MX を探してください。Received フィールドに経路が見えます"}
)

// statuses are the details of enhanced codes behind the class: "1.1" of 5.1.1.
var statuses = map[string]told{
	"0.0":  {[3]string{"another or an unknown status", "그 밖의 상태이거나 알 수 없는 상태입니다", "その他、または不明な状態です"}, readText},
	"1.0":  {[3]string{"something about an address", "주소에 관한 문제입니다", "アドレスに関する問題です"}, spell},
	"1.1":  {[3]string{"there is no such mailbox", "그런 사서함이 없습니다", "そのメールボックスはありません"}, spell},
	"1.2":  {[3]string{"there is no such domain, or it takes no mail", "그런 도메인이 없거나 메일을 받지 않습니다", "そのドメインがないか、メールを受け取りません"}, spell},
	"1.3":  {[3]string{"the recipient's address is not written as addresses are", "받는 사람 주소의 형식이 잘못되었습니다", "宛先アドレスの形式が誤っています"}, spell},
	"1.4":  {[3]string{"the address fits several recipients", "주소가 여러 받는 사람에 해당합니다", "アドレスが複数の宛先に当てはまります"}, spell},
	"1.5":  {[3]string{"the recipient's address is valid", "받는 사람 주소가 올바릅니다", "宛先アドレスは正しいです"}, [3]string{"nothing", "할 일이 없습니다", "何もする必要はありません"}},
	"1.6":  {[3]string{"the mailbox has moved, and nobody knows where to", "사서함이 옮겨졌고 새 주소를 알 수 없습니다", "メールボックスは移転し、移転先は不明です"}, reach},
	"1.7":  {[3]string{"the sender's address is not written as addresses are", "보낸 사람 주소의 형식이 잘못되었습니다", "差出人アドレスの形式が誤っています"}, sender},
	"1.8":  {[3]string{"the sender's domain does not exist or takes no mail", "보낸 사람의 도메인이 없거나 메일을 받지 않습니다", "差出人のドメインがないか、メールを受け取りません"}, sender},
	"1.9":  {[3]string{"the message was handed to a host that does not send notices", "알림을 보내지 않는 호스트로 메시지를 넘겼습니다", "通知を送らないホストへメッセージを渡しました"}, [3]string{"nothing", "할 일이 없습니다", "何もする必要はありません"}},
	"1.10": {[3]string{"the recipient's domain takes no mail (null MX)", "받는 사람의 도메인은 메일을 받지 않습니다(null MX)", "宛先のドメインはメールを受け取りません(null MX)"}, reach},
	"2.0":  {[3]string{"something about the mailbox", "사서함에 관한 문제입니다", "メールボックスに関する問題です"}, again},
	"2.1":  {[3]string{"the mailbox is disabled, or takes no mail now", "사서함의 사용이 중지되었거나 지금은 메일을 받지 않습니다", "メールボックスが停止中か、今はメールを受け取りません"}, reach},
	"2.2":  {[3]string{"the mailbox is full", "사서함이 가득 찼습니다", "メールボックスが一杯です"}, [3]string{"its owner has to delete mail", "소유자가 메일을 지워야 합니다", "所有者がメールを削除する必要があります"}},
	"2.3":  {[3]string{"the message is larger than the mailbox takes", "메시지가 사서함의 제한보다 큽니다", "メッセージがメールボックスの制限を超えています"}, smaller},
	"2.4":  {[3]string{"a mailing list could not be expanded", "메일링 리스트를 펼칠 수 없었습니다", "メーリングリストを展開できませんでした"}, operator},
	"3.0":  {[3]string{"something about the receiving system, or its queue", "받는 시스템이나 그 큐의 문제입니다", "受信システムかそのキューの問題です"}, again},
	"3.1":  {[3]string{"the receiving system's disk is full", "받는 시스템의 디스크가 가득 찼습니다", "受信システムのディスクが一杯です"}, operator},
	"3.2":  {[3]string{"the receiving system takes no mail now: it stops, or is overloaded", "받는 시스템이 지금은 메일을 받지 않습니다. 멈추는 중이거나 과부하입니다", "受信システムが今はメールを受け取りません。停止中か過負荷です"}, again},
	"3.3":  {[3]string{"the receiving system cannot do what the message needs", "메시지에 필요한 기능을 받는 시스템이 지원하지 않습니다", "メッセージに必要な機能を受信システムが備えていません"}, format},
	"3.4":  {[3]string{"the message is larger than the receiving system takes", "메시지가 받는 시스템의 제한보다 큽니다", "メッセージが受信システムの制限を超えています"}, smaller},
	"3.5":  {[3]string{"the receiving system is configured wrongly", "받는 시스템의 설정이 잘못되었습니다", "受信システムの設定が誤っています"}, operator},
	"4.0":  {[3]string{"something about the network or the route", "네트워크나 경로의 문제입니다", "ネットワークか経路の問題です"}, again},
	"4.1":  {[3]string{"the host does not answer", "호스트가 응답하지 않습니다", "ホストが応答しません"}, again},
	"4.2":  {[3]string{"the connection broke off or timed out", "연결이 끊어졌거나 시간이 초과되었습니다", "接続が切れたか、タイムアウトしました"}, again},
	"4.3":  {[3]string{"DNS or another directory does not answer", "DNS나 다른 디렉터리가 응답하지 않습니다", "DNS か別のディレクトリが応答しません"}, again},
	"4.4":  {[3]string{"no route to the domain is known: no usable MX or address", "도메인으로 가는 경로가 없습니다. 쓸 수 있는 MX나 주소가 없습니다", "ドメインへの経路がありません。使える MX もアドレスもありません"}, spell},
	"4.5":  {[3]string{"the network or the host is congested", "네트워크나 호스트가 혼잡합니다", "ネットワークかホストが混雑しています"}, again},
	"4.6":  {[3]string{"the message runs in a circle", "메시지가 순환하고 있습니다", "メッセージがループしています"}, loop},
	"4.7":  {[3]string{"the time for the message is over", "메시지의 보관 시간이 지났습니다", "メッセージの期限が過ぎました"}, [3]string{"see the last attempt's reason, and send again when it is mended", "마지막 시도의 이유를 보고, 해결된 뒤 다시 보내십시오", "最後の試行の理由を見て、解決してから送り直してください"}},
	"5.0":  {[3]string{"something about the protocol", "프로토콜에 관한 문제입니다", "プロトコルに関する問題です"}, protocol},
	"5.1":  {[3]string{"a command that is unknown, or that comes at the wrong time", "알 수 없는 명령이거나 순서가 잘못되었습니다", "未知のコマンドか、順序が誤っています"}, protocol},
	"5.2":  {[3]string{"a command is written wrongly", "명령의 구문이 잘못되었습니다", "コマンドの構文が誤っています"}, protocol},
	"5.3":  {[3]string{"the message has too many recipients", "받는 사람이 너무 많습니다", "宛先が多すぎます"}, [3]string{"send to fewer at a time, or use a list", "나누어 보내거나 메일링 리스트를 쓰십시오", "分けて送るか、メーリングリストを使ってください"}},
	"5.4":  {[3]string{"a command's argument or parameter is wrong", "명령의 인자나 매개변수가 잘못되었습니다", "コマンドの引数かパラメーターが誤っています"}, protocol},
	"5.5":  {[3]string{"the protocol's version is wrong", "프로토콜의 버전이 다릅니다", "プロトコルの版が違います"}, protocol},
	"5.6":  {[3]string{"a line of the login is too long", "로그인 줄이 너무 깁니다", "ログインの行が長すぎます"}, protocol},
	"6.0":  {[3]string{"something about the message's content", "메시지 내용에 관한 문제입니다", "メッセージの内容に関する問題です"}, readText},
	"6.1":  {[3]string{"the receiving system does not take this media type", "받는 시스템이 이 형식을 지원하지 않습니다", "受信システムがこの形式に対応していません"}, format},
	"6.2":  {[3]string{"the content must be converted and may not be", "내용을 변환해야 하는데 변환이 금지되어 있습니다", "内容の変換が必要ですが、禁止されています"}, format},
	"6.3":  {[3]string{"the content must be converted and cannot be", "내용을 변환해야 하는데 변환할 수 없습니다", "内容の変換が必要ですが、できません"}, format},
	"6.4":  {[3]string{"the content was converted with losses", "변환하면서 내용의 일부를 잃었습니다", "変換で内容の一部が失われました"}, format},
	"6.5":  {[3]string{"the conversion of the content failed", "내용의 변환에 실패했습니다", "内容の変換に失敗しました"}, format},
	"6.6":  {[3]string{"the content cannot be fetched", "내용을 가져올 수 없습니다", "内容を取得できません"}, again},
	"6.7":  {[3]string{"an address needs SMTPUTF8, which was not offered or not declared", "주소에 SMTPUTF8이 필요하지만 지원되지 않거나 선언되지 않았습니다", "アドレスに SMTPUTF8 が必要ですが、提供されていないか宣言されていません"}, [3]string{"use an address of plain ASCII characters", "ASCII 글자만 쓴 주소를 사용하십시오", "ASCII 文字だけのアドレスを使ってください"}},
	"6.8":  {[3]string{"a reply needs UTF-8, which the client did not ask for", "응답에 UTF-8이 필요하지만 클라이언트가 요청하지 않았습니다", "応答に UTF-8 が必要ですが、クライアントが求めていません"}, protocol},
	"6.9":  {[3]string{"the header needs UTF-8, which the next host cannot handle", "헤더에 UTF-8이 필요하지만 다음 호스트가 다룰 수 없습니다", "ヘッダーに UTF-8 が必要ですが、次のホストが扱えません"}, format},
	"6.11": {[3]string{"the content holds characters that may not be there, such as a bare CR or LF", "내용에 있으면 안 되는 글자가 있습니다. 단독 CR이나 LF 등입니다", "内容にあってはならない文字があります。単独の CR や LF などです"}, protocol},
	"7.0":  {[3]string{"something about security or policy", "보안이나 정책에 관한 문제입니다", "安全か方針に関する問題です"}, readText},
	"7.1":  {[3]string{"the host does not allow it: relaying, a blocked sender, a list, a rule", "호스트가 허용하지 않습니다. 중계, 차단된 보낸 사람, 차단 목록, 규칙 등입니다", "ホストが許可していません。中継、遮断された差出人、ブロックリスト、規則などです"}, readText},
	"7.2":  {[3]string{"the sender may not send to this mailing list", "보낸 사람은 이 메일링 리스트에 보낼 수 없습니다", "差出人はこのメーリングリストに送れません"}, [3]string{"subscribe to the list, or ask its owner", "리스트에 가입하거나 관리자에게 문의하십시오", "リストに参加するか、管理者に問い合わせてください"}},
	"7.3":  {[3]string{"security needs a conversion that cannot be done", "보안에 필요한 변환을 할 수 없습니다", "安全のために必要な変換ができません"}, format},
	"7.4":  {[3]string{"a security feature is not supported, such as TLS", "TLS와 같은 보안 기능이 지원되지 않습니다", "TLS などの安全機能に対応していません"}, operator},
	"7.5":  {[3]string{"encryption failed", "암호화에 실패했습니다", "暗号化に失敗しました"}, operator},
	"7.6":  {[3]string{"the algorithm of a signature or encryption is not supported", "서명이나 암호화의 알고리즘이 지원되지 않습니다", "署名か暗号化のアルゴリズムに対応していません"}, operator},
	"7.7":  {[3]string{"the message's integrity cannot be shown", "메시지의 무결성을 확인할 수 없습니다", "メッセージの完全性を確認できません"}, operator},
	"7.8":  {[3]string{"user name or password is wrong", "사용자 이름이나 비밀번호가 틀렸습니다", "利用者名かパスワードが違います"}, login},
	"7.9":  {[3]string{"the way of logging in is too weak", "로그인 방법의 보안이 너무 약합니다", "ログイン方法の安全性が足りません"}, login},
	"7.10": {[3]string{"encryption is needed", "암호화가 필요합니다", "暗号化が必要です"}, login},
	"7.11": {[3]string{"this way of logging in needs encryption", "이 로그인 방법에는 암호화가 필요합니다", "このログイン方法には暗号化が必要です"}, login},
	"7.12": {[3]string{"a password transition is needed", "비밀번호를 새 방식으로 바꿔야 합니다", "パスワードを新しい方式へ移す必要があります"}, login},
	"7.13": {[3]string{"the account is disabled", "계정의 사용이 중지되었습니다", "アカウントが停止されています"}, operator},
	"7.14": {[3]string{"the trust relationship between the hosts is missing", "호스트 사이의 신뢰 관계가 없습니다", "ホスト間の信頼関係がありません"}, operator},
	"7.17": {[3]string{"the mailbox's owner has changed", "사서함의 소유자가 바뀌었습니다", "メールボックスの所有者が変わりました"}, reach},
	"7.20": {[3]string{"no DKIM signature is valid", "유효한 DKIM 서명이 없습니다", "有効な DKIM 署名がありません"}, signed},
	"7.21": {[3]string{"no DKIM signature is one that is accepted", "받아들일 수 있는 DKIM 서명이 없습니다", "受け入れられる DKIM 署名がありません"}, signed},
	"7.22": {[3]string{"no valid DKIM signature is the author's", "보낸 사람 도메인의 유효한 DKIM 서명이 없습니다", "差出人ドメインの有効な DKIM 署名がありません"}, signed},
	"7.23": {[3]string{"SPF fails: the sender's domain does not let this host send", "SPF 검사에 실패했습니다. 보낸 사람의 도메인이 이 호스트의 송신을 허용하지 않습니다", "SPF の検査に失敗しました。差出人のドメインがこのホストからの送信を認めていません"}, signed},
	"7.24": {[3]string{"SPF could not be evaluated", "SPF를 평가할 수 없었습니다", "SPF を評価できませんでした"}, signed},
	"7.25": {[3]string{"the client's address has no name that leads back to it", "클라이언트 주소의 역방향 DNS가 맞지 않습니다", "クライアントのアドレスの逆引き DNS が合いません"}, [3]string{"the sender's operator sets forward and reverse DNS of the sending host", "보낸 쪽의 관리자가 송신 호스트의 정방향과 역방향 DNS를 설정해야 합니다", "送信側の管理者が送信ホストの正引きと逆引きの DNS を設定する必要があります"}},
	"7.26": {[3]string{"several checks of the sender failed together", "보낸 사람에 대한 여러 검사가 모두 실패했습니다", "差出人に対する複数の検査が失敗しました"}, signed},
	"7.27": {[3]string{"the sender's domain takes no mail itself (null MX)", "보낸 사람의 도메인이 메일을 받지 않습니다(null MX)", "差出人のドメインがメールを受け取りません(null MX)"}, sender},
	"7.28": {[3]string{"the sender sends more than is usual", "보낸 사람이 평소보다 많이 보냅니다", "差出人の送信量が通常より多いです"}, again},
	"7.30": {[3]string{"REQUIRETLS cannot be kept on the way", "경로에서 REQUIRETLS를 지킬 수 없습니다", "経路で REQUIRETLS を守れません"}, operator},
}

// replies are SMTP reply codes of refusals.
var replies = map[string]told{
	"421": {[3]string{"the server closes the connection: it stops, is too busy, or lost patience", "서버가 연결을 닫습니다. 멈추는 중이거나 바쁘거나 기다리는 시간이 지났습니다", "サーバーが接続を閉じます。停止中か、混雑か、待ち時間切れです"}, again},
	"450": {[3]string{"the mailbox is not available now: locked, greylisted or limited", "지금 사서함을 쓸 수 없습니다. 잠김, 그레이리스팅, 제한 등입니다", "今はメールボックスを使えません。ロック、グレイリスト、制限などです"}, again},
	"451": {[3]string{"an error in the server's processing", "서버에서 처리 중 오류가 났습니다", "サーバーの処理中に障害が起きました"}, again},
	"452": {[3]string{"the server lacks room, or has enough recipients for now", "서버의 공간이 부족하거나 지금은 받는 사람이 충분합니다", "サーバーの空きが足りないか、今は宛先が十分です"}, again},
	"454": {[3]string{"encryption or the password check is not available now", "지금은 암호화나 비밀번호 확인을 쓸 수 없습니다", "今は暗号化かパスワードの確認を使えません"}, again},
	"455": {[3]string{"the server cannot do what a parameter asks for", "매개변수가 요구하는 것을 서버가 할 수 없습니다", "パラメーターの要求にサーバーが応じられません"}, again},
	"458": {[3]string{"ETRN: the node's mail cannot be sent now", "ETRN: 지금은 그 노드의 메일을 보낼 수 없습니다", "ETRN: 今はそのノードのメールを送れません"}, again},
	"459": {[3]string{"ETRN: the node may not be served", "ETRN: 그 노드에는 보낼 수 없습니다", "ETRN: そのノードには送れません"}, operator},
	"500": {[3]string{"the command is unknown or too long", "알 수 없거나 너무 긴 명령입니다", "未知のコマンドか、長すぎます"}, protocol},
	"501": {[3]string{"the command's argument is wrong", "명령의 인자가 잘못되었습니다", "コマンドの引数が誤っています"}, protocol},
	"502": {[3]string{"the command is not offered", "제공하지 않는 명령입니다", "提供していないコマンドです"}, protocol},
	"503": {[3]string{"the command comes at the wrong time", "명령의 순서가 잘못되었습니다", "コマンドの順序が誤っています"}, protocol},
	"504": {[3]string{"the command's parameter is not offered", "제공하지 않는 매개변수입니다", "提供していないパラメーターです"}, protocol},
	"521": {[3]string{"the host takes no mail at all", "이 호스트는 메일을 전혀 받지 않습니다", "このホストはメールを一切受け取りません"}, reach},
	"523": {[3]string{"the message is larger than the server takes", "메시지가 서버의 제한보다 큽니다", "メッセージがサーバーの制限を超えています"}, smaller},
	"530": {[3]string{"a login or encryption is needed first", "먼저 로그인이나 암호화가 필요합니다", "先にログインか暗号化が必要です"}, login},
	"534": {[3]string{"the way of logging in is too weak", "로그인 방법의 보안이 너무 약합니다", "ログイン方法の安全性が足りません"}, login},
	"535": {[3]string{"user name or password is wrong", "사용자 이름이나 비밀번호가 틀렸습니다", "利用者名かパスワードが違います"}, login},
	"538": {[3]string{"this way of logging in needs encryption", "이 로그인 방법에는 암호화가 필요합니다", "このログイン方法には暗号化が必要です"}, login},
	"550": {[3]string{"the mailbox does not exist, or policy refuses it", "사서함이 없거나 정책에 따라 거부되었습니다", "メールボックスがないか、方針により拒否されました"}, readText},
	"551": {[3]string{"the user is not here", "그 사용자는 여기 없습니다", "その利用者はここにいません"}, spell},
	"552": {[3]string{"the mailbox or the message is over its limit", "사서함이나 메시지가 제한을 넘었습니다", "メールボックスかメッセージが制限を超えています"}, smaller},
	"553": {[3]string{"the address is not allowed: wrongly written, not local, or not the sender's own", "허용되지 않는 주소입니다. 형식이 틀렸거나, 이 서버의 것이 아니거나, 본인의 주소가 아닙니다", "許可されないアドレスです。形式の誤り、このサーバーのものでない、または本人のものでないためです"}, readText},
	"554": {[3]string{"the transaction failed: the message or the client is refused", "메시지나 클라이언트가 거부되었습니다", "メッセージかクライアントが拒否されました"}, readText},
	"555": {[3]string{"a parameter of MAIL or RCPT is not known", "MAIL이나 RCPT의 매개변수를 알 수 없습니다", "MAIL か RCPT のパラメーターが不明です"}, protocol},
	"556": {[3]string{"the recipient's domain takes no mail", "받는 사람의 도메인은 메일을 받지 않습니다", "宛先のドメインはメールを受け取りません"}, reach},
}
