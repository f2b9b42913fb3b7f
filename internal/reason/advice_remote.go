package reason

// remoteAdvice is about deliveries to other hosts.
var remoteAdvice = map[ID]advice{
	"dns-temporary": {
		[3]string{"no name server gave an answer about the domain", "도메인에 대해 응답한 네임서버가 없습니다", "ドメインについて応答したネームサーバーがありません"},
		[3]string{"it is tried again; check the domain's spelling, and whether this host's resolver works", "다시 시도합니다. 도메인의 철자와 이 호스트의 DNS 설정을 확인하십시오", "再試行されます。ドメインのつづりと、このホストの DNS の設定を確認してください"}},
	"host-unknown": {
		[3]string{"DNS says that there is no such domain", "DNS에 그런 도메인이 없습니다", "DNS にそのドメインはありません"},
		[3]string{"check the spelling behind the @", "@ 뒤의 철자를 확인하십시오", "@ の後のつづりを確かめてください"}},
	"host-no-address": {
		[3]string{"the domain exists, but none of its mail servers has an address", "도메인은 있지만 메일 서버의 주소가 없습니다", "ドメインはありますが、メールサーバーのアドレスがありません"},
		[3]string{"check the spelling behind the @; else the domain's owner has to mend its DNS records", "@ 뒤의 철자를 확인하십시오. 맞다면 도메인 소유자가 DNS 레코드를 고쳐야 합니다", "@ の後のつづりを確かめてください。正しければ、ドメインの持ち主が DNS レコードを直す必要があります"}},
	"null-mx": {
		[3]string{"the domain's owner says in DNS that it takes no mail (RFC 7505)", "도메인 소유자가 메일을 받지 않는다고 DNS에 밝혔습니다(RFC 7505)", "ドメインの持ち主が、メールを受け取らないと DNS で示しています(RFC 7505)"},
		[3]string{"use another address of the recipient", "받는 사람의 다른 주소를 쓰십시오", "相手の別のアドレスを使ってください"}},
	"mx-is-me": {
		[3]string{"DNS names this host as the domain's best mail server, but the domain is not configured here", "DNS에는 이 호스트가 도메인의 최우선 메일 서버로 되어 있지만, 여기에는 그 도메인이 설정되어 있지 않습니다", "DNS ではこのホストがドメインの最優先メールサーバーですが、ここではそのドメインが設定されていません"},
		[3]string{"add the domain here (`domain add`, route.locals, route.virtual_domains) or a route for it, or change its MX", "도메인이나 그 경로를 여기에 추가하거나(`domain add`, route.locals, route.virtual_domains) MX를 바꾸십시오", "ドメインかその経路をここに追加する(`domain add`、route.locals、route.virtual_domains)か、MX を変更してください"}},
	"connect-failed": {
		[3]string{"none of the domain's mail servers took a connection", "도메인의 메일 서버 중 어느 것에도 연결할 수 없었습니다", "ドメインのメールサーバーのどれにも接続できませんでした"},
		[3]string{"it is tried again; if all hosts fail, port 25 outward is closed: ask the provider, or use a relay", "다시 시도합니다. 모든 호스트가 안 되면 나가는 25번 포트가 막힌 것입니다. 회선 사업자에 문의하거나 중계 서버를 쓰십시오", "再試行されます。すべてのホストで失敗するなら外向きの 25 番ポートが閉じています。回線事業者に問い合わせるか、中継サーバーを使ってください"}},
	"host-resting": {
		[3]string{"the host did not answer several times, and is left alone for a while", "호스트가 여러 번 응답하지 않아 잠시 쉬게 합니다", "ホストが何度も応答しなかったため、しばらく休ませています"},
		[3]string{"wait; `queue hosts` shows it, and `queue flush` tries it at once", "기다리십시오. `queue hosts`에 나오며 `queue flush`로 바로 시도합니다", "お待ちください。`queue hosts` に表示され、`queue flush` ですぐに試せます"}},
	"connection-lost": {
		[3]string{"the connection broke off or timed out before the message was over", "메시지를 다 보내기 전에 연결이 끊어지거나 시간이 초과되었습니다", "メッセージを送り終える前に接続が切れたか、タイムアウトしました"},
		[3]string{"it is tried again; if it stays, look at the network, the path MTU and firewalls", "다시 시도합니다. 계속되면 네트워크, 경로 MTU, 방화벽을 확인하십시오", "再試行されます。続くようならネットワーク、パス MTU、ファイアウォールを確認してください"}},
	"connection-lost-possible-duplicate": {
		[3]string{"the connection broke off after the message was sent, before its answer came: it may have arrived", "메시지를 보낸 뒤 응답이 오기 전에 연결이 끊어졌습니다. 이미 도착했을 수 있습니다", "メッセージを送った後、応答の前に接続が切れました。すでに届いているかもしれません"},
		[3]string{"nothing: it is sent again, and the recipient may get it twice", "할 일이 없습니다. 다시 보내므로 두 번 받을 수 있습니다", "何もする必要はありません。再送されるため、二通届くことがあります"}},
	"remote-protocol": {
		[3]string{"the other host answered with something that is no SMTP", "상대 호스트가 SMTP가 아닌 것으로 응답했습니다", "相手ホストが SMTP ではない応答をしました"},
		[3]string{"it is tried again; see with `record` what it says, and whether a firewall stands between", "다시 시도합니다. `record`로 무엇을 말하는지, 중간에 방화벽이 있는지 확인하십시오", "再試行されます。`record` で相手の応答と、間にファイアウォールがないかを確認してください"}},
	"tls-not-offered": {
		[3]string{"this host's policy wants encryption to that host, which offers none", "이 서버의 정책은 그 호스트와의 암호화를 요구하지만, 상대가 제공하지 않습니다", "このサーバーの方針ではそのホストとの暗号化が必要ですが、相手が提供していません"},
		[3]string{"ask the other host's postmaster, or relax tls of the route", "상대 호스트의 postmaster에게 문의하거나, 경로의 tls 설정을 완화하십시오", "相手ホストの postmaster に問い合わせるか、経路の tls の設定を緩めてください"}},
	"tls-failed": {
		[3]string{"encryption could not be agreed on, or the other host's certificate is not valid", "암호화 협상에 실패했거나, 상대 호스트의 인증서가 유효하지 않습니다", "暗号化の合意ができなかったか、相手ホストの証明書が有効ではありません"},
		[3]string{"see the text behind it; the other host mends its certificate, or this host's clock is wrong", "뒤에 나오는 문구를 보십시오. 상대가 인증서를 고치거나, 이 호스트의 시계를 맞춰야 합니다", "その後の文を見てください。相手が証明書を直すか、このホストの時計を合わせる必要があります"}},
	"dane-failed": {
		[3]string{"the other host's TLSA records in DNS and the certificate that it shows do not fit, or it offers no TLS; somebody may stand between", "상대 호스트의 DNS TLSA 레코드와 제시한 인증서가 맞지 않거나 TLS를 제공하지 않습니다. 중간에 누가 있을 수 있습니다", "相手ホストの DNS の TLSA レコードと提示された証明書が合わないか、TLS が提供されていません。間に誰かがいるかもしれません"},
		[3]string{"it is tried again; tell the other host's postmaster, who mends records or certificate; a route for the domain with tls=encrypt sends all the same", "다시 시도합니다. 상대 postmaster에게 알려 레코드나 인증서를 고치게 하십시오. 그래도 보내려면 그 도메인의 경로에 tls=encrypt를 쓰십시오", "再試行されます。相手の postmaster に知らせ、レコードか証明書を直してもらってください。それでも送るには、そのドメインの経路に tls=encrypt を指定します"}},
	"dane-unavailable": {
		[3]string{"DNS gives no answer about the other host's TLSA records, so nobody knows whether its certificate has to be checked", "상대 호스트의 TLSA 레코드에 대해 DNS가 응답하지 않아, 인증서를 확인해야 하는지 알 수 없습니다", "相手ホストの TLSA レコードについて DNS の応答がなく、証明書の確認が必要か分かりません"},
		[3]string{"it is tried again; if it stays, the name servers of the other host are broken: tell its postmaster; remote.no_dane asks no more", "다시 시도합니다. 계속되면 상대의 네임서버가 고장난 것이니 postmaster에게 알리십시오. remote.no_dane을 쓰면 묻지 않습니다", "再試行されます。続くなら相手のネームサーバーが壊れています。postmaster に知らせてください。remote.no_dane を使うと問い合わせません"}},
	"mta-sts-failed": {
		[3]string{"the domain has published an MTA-STS policy, and its mail server does not keep it: another name, no TLS, or a certificate that is not valid", "도메인이 MTA-STS 정책을 공표했지만 메일 서버가 지키지 않습니다. 이름이 다르거나, TLS가 없거나, 인증서가 유효하지 않습니다", "ドメインは MTA-STS ポリシーを公表していますが、メールサーバーが守っていません。名前が違うか、TLS がないか、証明書が有効ではありません"},
		[3]string{"it is tried again; tell the domain's postmaster; a route for the domain with tls=encrypt sends all the same", "다시 시도합니다. 도메인의 postmaster에게 알리십시오. 그래도 보내려면 그 도메인의 경로에 tls=encrypt를 쓰십시오", "再試行されます。ドメインの postmaster に知らせてください。それでも送るには、そのドメインの経路に tls=encrypt を指定します"}},
	"requiretls-impossible": {
		[3]string{"the sender wants TLS on the whole way (REQUIRETLS), and the next host does not support that", "보낸 사람이 전 구간 TLS(REQUIRETLS)를 요구하지만 다음 호스트가 지원하지 않습니다", "差出人が全経路の TLS(REQUIRETLS)を求めていますが、次のホストが対応していません"},
		[3]string{"send without that demand, or in another way", "그 요구 없이 보내거나 다른 방법으로 보내십시오", "その指定なしで送るか、別の方法で送ってください"}},
	"remote-auth-not-possible": {
		[3]string{"the route has a user and password, but the other host offers no way to log in that is safe", "경로에 사용자와 비밀번호가 있지만, 상대 호스트가 안전한 로그인 방법을 제공하지 않습니다", "経路に利用者名とパスワードがありますが、相手ホストが安全なログイン方法を提供していません"},
		[3]string{"see the port and tls of the route: 587 with encrypt, or 465 with implicit", "경로의 port와 tls를 확인하십시오. 587은 encrypt, 465는 implicit입니다", "経路の port と tls を確認してください。587 なら encrypt、465 なら implicit です"}},
	"remote-auth-refused": {
		[3]string{"the other host does not take the route's user and password", "상대 호스트가 경로의 사용자와 비밀번호를 거부했습니다", "相手ホストが経路の利用者名とパスワードを拒否しました"},
		[3]string{"mend user and password of the route; some providers want an app password", "경로의 사용자와 비밀번호를 고치십시오. 앱 비밀번호를 요구하는 사업자도 있습니다", "経路の利用者名とパスワードを直してください。アプリパスワードを求める事業者もあります"}},
	"remote-size": {
		[3]string{"the other host announces a limit that the message exceeds", "메시지가 상대 호스트가 알린 크기 제한을 넘습니다", "メッセージが相手ホストの示した大きさの制限を超えています"},
		[3]string{"send less at once, or put the file where the recipient can fetch it", "나누어 보내거나, 파일을 받는 사람이 내려받을 수 있는 곳에 두십시오", "分けて送るか、ファイルを相手が取得できる場所に置いてください"}},
	"smtputf8-needed": {
		[3]string{"an address is written in characters that the next host cannot handle (SMTPUTF8)", "주소에 다음 호스트가 다룰 수 없는 글자가 있습니다(SMTPUTF8)", "アドレスに次のホストが扱えない文字があります(SMTPUTF8)"},
		[3]string{"use an address of plain ASCII characters", "ASCII 글자만 쓴 주소를 사용하십시오", "ASCII 文字だけのアドレスを使ってください"}},
	"conversion-needed": {
		[3]string{"the next host takes 7-bit mail only, and the message is signed, broken or otherwise not to be changed", "다음 호스트는 7비트 메일만 받는데, 메시지가 서명되었거나 망가져서 변환할 수 없습니다", "次のホストは 7 ビットのメールしか受け取らず、メッセージは署名付きや破損などで変換できません"},
		[3]string{"send it again as quoted-printable or base64, which mail programs do by a setting", "quoted-printable이나 base64로 다시 보내십시오. 메일 프로그램에서 설정할 수 있습니다", "quoted-printable か base64 で送り直してください。メールソフトの設定で選べます"}},
	"attempt-interrupted": {
		[3]string{"the server was stopped, or its part was restarted, during the attempt", "시도하는 동안 서버가 멈추었거나 그 부분이 다시 시작되었습니다", "試行中にサーバーが停止したか、その部分が再起動されました"},
		[3]string{"nothing: it is tried again", "할 일이 없습니다. 다시 시도합니다", "何もする必要はありません。再試行されます"}},
	"remote-greeting-refused": {
		[3]string{"the other host takes no mail from this host for now: the reply behind says why", "상대 호스트가 지금은 이 호스트의 메일을 받지 않습니다. 이유는 뒤의 응답에 있습니다", "相手ホストが今はこのホストからのメールを受け取りません。理由は後の応答にあります"},
		[3]string{"it is tried again; if it stays, this host's address may be on a block list", "다시 시도합니다. 계속되면 이 호스트의 주소가 차단 목록에 있을 수 있습니다", "再試行されます。続くようなら、このホストのアドレスがブロックリストに載っている可能性があります"}},
	"remote-helo-refused": {
		[3]string{"the other host does not like the name that this host calls itself", "상대 호스트가 이 호스트가 밝힌 이름을 받아들이지 않습니다", "相手ホストが、このホストの名乗る名前を受け入れません"},
		[3]string{"set host (or remote.helo) to a name that DNS leads to this host and back", "host(또는 remote.helo)를 DNS의 정방향과 역방향이 모두 이 호스트인 이름으로 설정하십시오", "host(または remote.helo)を、DNS の正引きと逆引きの両方がこのホストになる名前にしてください"}},
	"remote-sender-refused": {
		[3]string{"the other host takes no mail from this sender's address", "상대 호스트가 이 보낸 사람 주소의 메일을 받지 않습니다", "相手ホストがこの差出人アドレスのメールを受け取りません"},
		[3]string{"see its reply; SPF, DKIM and DNS of the sender's domain are the usual causes", "상대의 응답을 보십시오. 보낸 사람 도메인의 SPF, DKIM, DNS가 흔한 원인입니다", "相手の応答を見てください。差出人ドメインの SPF、DKIM、DNS がよくある原因です"}},
	"remote-recipient-refused": {
		[3]string{"the other host does not take mail for this recipient: its reply says why", "상대 호스트가 이 받는 사람의 메일을 받지 않습니다. 이유는 상대의 응답에 있습니다", "相手ホストがこの宛先のメールを受け取りません。理由は相手の応答にあります"},
		[3]string{"check the spelling of the address, and read the other host's reply", "주소의 철자를 확인하고 상대 호스트의 응답을 읽어 보십시오", "アドレスのつづりを確かめ、相手ホストの応答を読んでください"}},
	"remote-data-refused": {
		[3]string{"the other host took sender and recipient, but not the message", "상대 호스트가 보낸 사람과 받는 사람은 받았지만 메시지는 받지 않았습니다", "相手ホストは差出人と宛先は受け付けましたが、メッセージは受け取りませんでした"},
		[3]string{"see its reply", "상대의 응답을 보십시오", "相手の応答を見てください"}},
	"remote-message-refused": {
		[3]string{"the other host has read the message and does not want it: content, size, a virus or spam filter", "상대 호스트가 메시지를 읽고 거부했습니다. 내용, 크기, 바이러스나 스팸 필터 때문입니다", "相手ホストがメッセージを読んだ上で拒否しました。内容、大きさ、ウイルスや迷惑メールのフィルターが理由です"},
		[3]string{"see its reply; leave out attachments and links, and send again", "상대의 응답을 보십시오. 첨부 파일이나 링크를 빼고 다시 보내십시오", "相手の応答を見てください。添付ファイルやリンクを除いて送り直してください"}},
	"qmtp-refused": {
		[3]string{"the other host refuses the message over QMTP: its reply says why", "상대 호스트가 QMTP로 온 메시지를 거부했습니다. 이유는 상대의 응답에 있습니다", "相手ホストが QMTP のメッセージを拒否しました。理由は相手の応答にあります"},
		[3]string{"see its reply", "상대의 응답을 보십시오", "相手の応答を見てください"}},
	"qmtp-deferred": {
		[3]string{"the other host does not take the message over QMTP for now", "상대 호스트가 지금은 QMTP로 온 메시지를 받지 않습니다", "相手ホストが今は QMTP のメッセージを受け取りません"},
		[3]string{"nothing: it is tried again", "할 일이 없습니다. 다시 시도합니다", "何もする必要はありません。再試行されます"}},
}
