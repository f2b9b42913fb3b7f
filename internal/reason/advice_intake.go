package reason

// intakeAdvice is about sessions of SMTP, LMTP, QMTP and QMQP: what clients say, and what policy says to it.
var intakeAdvice = map[ID]advice{
	"command-unknown": {
		[3]string{"the client sent a command that there is none of, or something other than SMTP", "클라이언트가 없는 명령이나 SMTP가 아닌 것을 보냈습니다", "クライアントが存在しないコマンドか、SMTP でないものを送りました"},
		[3]string{"mend the client; `record` shows what it sends", "클라이언트를 고치십시오. `record`로 무엇을 보내는지 볼 수 있습니다", "クライアントを修正してください。`record` で何を送っているか分かります"}},
	"command-syntax": {
		[3]string{"the command's argument is not as RFC 5321 has it; the text says what was expected", "명령의 인자가 RFC 5321과 다릅니다. 무엇이 필요한지는 문구에 있습니다", "コマンドの引数が RFC 5321 と異なります。何が必要かは文にあります"},
		[3]string{"mend the client", "클라이언트를 고치십시오", "クライアントを修正してください"}},
	"command-order": {
		[3]string{"the command came too early, too late or twice; the text says what comes first", "명령이 너무 이르거나 늦거나 두 번 왔습니다. 먼저 올 것은 문구에 있습니다", "コマンドが早すぎるか、遅すぎるか、二度来ました。先に必要なものは文にあります"},
		[3]string{"mend the client; on a qmail host smtp.helo_optional lets MAIL come first", "클라이언트를 고치십시오. qmail 호스트에서는 smtp.helo_optional로 MAIL이 먼저 올 수 있습니다", "クライアントを修正してください。qmail ホストでは smtp.helo_optional で MAIL を先にできます"}},
	"command-not-offered": {
		[3]string{"the command exists, but this listener does not offer it: AUTH on port 25, STARTTLS without a certificate, ETRN", "있는 명령이지만 이 포트에서는 제공하지 않습니다. 25번 포트의 AUTH, 인증서 없는 STARTTLS, ETRN 등입니다", "存在するコマンドですが、このポートでは提供していません。25 番ポートの AUTH、証明書のない STARTTLS、ETRN などです"},
		[3]string{"use the submission port 587 or 465 to log in", "로그인하려면 587이나 465번 포트를 쓰십시오", "ログインするには 587 か 465 番ポートを使ってください"}},
	"line-too-long": {
		[3]string{"a command line is longer than max_line", "명령 줄이 max_line보다 깁니다", "コマンド行が max_line を超えています"},
		[3]string{"mend the client; one that sends the message without DATA looks like this", "클라이언트를 고치십시오. DATA 없이 메시지를 보내는 클라이언트에서 자주 보입니다", "クライアントを修正してください。DATA なしで本文を送るクライアントによく見られます"}},
	"parameter-unknown": {
		[3]string{"MAIL or RCPT has a parameter that EHLO did not offer", "MAIL이나 RCPT에 EHLO에서 제공하지 않은 매개변수가 있습니다", "MAIL か RCPT に EHLO で提示していないパラメーターがあります"},
		[3]string{"mend the client", "클라이언트를 고치십시오", "クライアントを修正してください"}},
	"sender-syntax": {
		[3]string{"the address in MAIL FROM is not written as addresses are; the text says where", "MAIL FROM의 주소 형식이 잘못되었습니다. 어디인지는 문구에 있습니다", "MAIL FROM のアドレスの形式が誤っています。どこかは文にあります"},
		[3]string{"write <name@domain>; smtp.bare_recipients takes what qmail takes", "<이름@도메인>으로 적으십시오. smtp.bare_recipients는 qmail이 받는 것을 받습니다", "<名前@ドメイン> と書いてください。smtp.bare_recipients は qmail が受け付けるものを受け付けます"}},
	"recipient-syntax": {
		[3]string{"the address in RCPT TO is not written as addresses are; the text says where", "RCPT TO의 주소 형식이 잘못되었습니다. 어디인지는 문구에 있습니다", "RCPT TO のアドレスの形式が誤っています。どこかは文にあります"},
		[3]string{"write <name@domain>; smtp.bare_recipients takes what qmail takes", "<이름@도메인>으로 적으십시오. smtp.bare_recipients는 qmail이 받는 것을 받습니다", "<名前@ドメイン> と書いてください。smtp.bare_recipients は qmail が受け付けるものを受け付けます"}},
	"smtputf8-not-declared": {
		[3]string{"an address holds characters outside ASCII, and MAIL did not say SMTPUTF8", "주소에 ASCII가 아닌 글자가 있는데 MAIL에 SMTPUTF8이 없습니다", "アドレスに ASCII 以外の文字がありますが、MAIL に SMTPUTF8 がありません"},
		[3]string{"use a client that knows SMTPUTF8, or an ASCII address", "SMTPUTF8을 지원하는 클라이언트나 ASCII 주소를 쓰십시오", "SMTPUTF8 に対応したクライアントか、ASCII のアドレスを使ってください"}},
	"not-a-mail-client": {
		[3]string{"the client speaks HTTP or TLS where SMTP belongs: a web browser, a scanner, or port 465's settings on port 25", "클라이언트가 SMTP 대신 HTTP나 TLS로 말합니다. 웹 브라우저나 스캐너, 또는 25번 포트에 465번 포트의 설정을 쓴 경우입니다", "クライアントが SMTP ではなく HTTP か TLS で話しています。ウェブブラウザー、スキャナー、または 25 番ポートに 465 番ポートの設定を使った場合です"},
		[3]string{"for TLS from the first byte use port 465; else nothing", "처음부터 TLS를 쓰려면 465번 포트를 쓰십시오. 아니면 할 일이 없습니다", "最初から TLS を使うなら 465 番ポートを使ってください。それ以外は何もする必要はありません"}},
	"early-talker": {
		[3]string{"the client sent something before it was greeted, as spam programs do", "클라이언트가 인사말 전에 데이터를 보냈습니다. 스팸 프로그램이 그렇게 합니다", "クライアントが挨拶の前にデータを送りました。迷惑メールのプログラムに見られます"},
		[3]string{"mend the client: it must wait for 220", "클라이언트를 고치십시오. 220을 기다려야 합니다", "クライアントを修正してください。220 を待つ必要があります"}},
	"early-pipelining": {
		[3]string{"the client went on without waiting for a reply where it must", "기다려야 하는 응답을 기다리지 않고 계속 보냈습니다", "待つべき応答を待たずに送り続けました"},
		[3]string{"mend the client; scripts that send all at once use `sendmail -bs`", "클라이언트를 고치십시오. 한꺼번에 보내는 스크립트는 `sendmail -bs`를 쓰십시오", "クライアントを修正してください。一度に送るスクリプトは `sendmail -bs` を使ってください"}},
	"bare-newline": {
		[3]string{"the message has lines that end in CR or LF alone, through which others could be smuggled in", "CR이나 LF만으로 끝나는 줄이 있습니다. 이를 통해 다른 메일을 몰래 넣을 수 있습니다", "CR か LF だけで終わる行があります。それを使って別のメールを紛れ込ませることができます"},
		[3]string{"mend the client; bare_newline = \"normalise\" takes such mail with its lines put right", "클라이언트를 고치십시오. bare_newline = \"normalise\"로 하면 줄바꿈을 바로잡아 받습니다", "クライアントを修正してください。bare_newline = \"normalise\" なら改行を直して受け取ります"}},
	"no-valid-recipients": {
		[3]string{"DATA came, but no recipient was taken", "받아들여진 받는 사람 없이 DATA가 왔습니다", "受け付けられた宛先がないまま DATA が来ました"},
		[3]string{"see the replies to RCPT", "RCPT에 대한 응답을 보십시오", "RCPT への応答を見てください"}},
	"too-many-errors": {
		[3]string{"max_errors commands were refused in one connection, mostly guessed recipients", "한 연결에서 거부된 명령이 max_errors에 이르렀습니다. 대개 추측한 받는 사람 주소입니다", "一つの接続で拒否されたコマンドが max_errors に達しました。多くは当て推量の宛先です"},
		[3]string{"clean the sender's list of recipients; raise max_errors for a list that is known to be good", "보내는 쪽의 주소 목록을 정리하십시오. 믿을 수 있는 목록이면 max_errors를 높이십시오", "送信側の宛先一覧を整理してください。信頼できる一覧なら max_errors を上げてください"}},
	"too-many-failed-logins": {
		[3]string{"max_auth_failures logins failed in one connection", "한 연결에서 로그인 실패가 max_auth_failures에 이르렀습니다", "一つの接続でログインの失敗が max_auth_failures に達しました"},
		[3]string{"mend the password in the mail program", "메일 프로그램의 비밀번호를 바로잡으십시오", "メールソフトのパスワードを直してください"}},
	"too-many-commands": {
		[3]string{"the client sent many commands and no message", "클라이언트가 메시지 없이 명령만 많이 보냈습니다", "クライアントがメッセージなしで多くのコマンドを送りました"},
		[3]string{"mend the client; the limits are max_commands and max_idle_commands", "클라이언트를 고치십시오. 제한은 max_commands와 max_idle_commands입니다", "クライアントを修正してください。制限は max_commands と max_idle_commands です"}},
	"idle-timeout": {
		[3]string{"the client was silent for idle_timeout or data_timeout, or its message took longer than message_timeout", "클라이언트가 idle_timeout이나 data_timeout 동안 보내지 않았거나, 메시지가 message_timeout보다 오래 걸렸습니다", "クライアントが idle_timeout か data_timeout の間送らなかったか、メッセージが message_timeout を超えました"},
		[3]string{"see the client, the network and its path MTU: messages that hang after a few kilobytes mean a blocked ICMP", "클라이언트와 네트워크, 경로 MTU를 확인하십시오. 몇 킬로바이트 뒤에 멈추면 ICMP가 막힌 것입니다", "クライアント、ネットワーク、パス MTU を確認してください。数キロバイトで止まるなら ICMP が遮断されています"}},
	"stopping": {
		[3]string{"the server is being stopped or restarted", "서버를 멈추거나 다시 시작하는 중입니다", "サーバーを停止または再起動しています"},
		[3]string{"nothing: clients come back", "할 일이 없습니다. 클라이언트가 다시 시도합니다", "何もする必要はありません。クライアントが再試行します"}},
	"over-limit": {
		[3]string{"the client has more connections or messages at once than the limits allow; the text says which", "클라이언트의 동시 연결이나 메시지가 제한을 넘었습니다. 어느 것인지는 문구에 있습니다", "クライアントの同時接続かメッセージが制限を超えています。どれかは文にあります"},
		[3]string{"wait; the limits are keys of the listener (max_connections and its kin)", "기다리십시오. 제한은 포트의 키입니다(max_connections 등)", "お待ちください。制限はポートのキーです(max_connections など)"}},
	"load-too-high": {
		[3]string{"the host's load is above floors.refuse_load", "호스트의 부하가 floors.refuse_load를 넘었습니다", "ホストの負荷が floors.refuse_load を超えています"},
		[3]string{"nothing: clients come back; see what loads the host", "할 일이 없습니다. 클라이언트가 다시 시도합니다. 무엇이 부하를 주는지 확인하십시오", "何もする必要はありません。クライアントが再試行します。何が負荷をかけているか確認してください"}},
	"sender-refused": {
		[3]string{"the sender or its domain is in policy.bad_senders (badmailfrom)", "보낸 사람이나 그 도메인이 policy.bad_senders(badmailfrom)에 있습니다", "差出人かそのドメインが policy.bad_senders(badmailfrom)にあります"},
		[3]string{"the operator takes it out, if it is innocent", "문제가 없는 상대라면 관리자가 목록에서 빼면 됩니다", "問題のない相手であれば、管理者が一覧から外してください"}},
	"recipient-refused": {
		[3]string{"the recipient is in policy.bad_recipients (badrcptto)", "받는 사람이 policy.bad_recipients(badrcptto)에 있습니다", "宛先が policy.bad_recipients(badrcptto)にあります"},
		[3]string{"use another address", "다른 주소를 쓰십시오", "別のアドレスを使ってください"}},
	"relay-denied": {
		[3]string{"the recipient's domain is not one of this server's, and the client may not send to others", "받는 사람의 도메인이 이 서버의 것이 아니고, 클라이언트에게 중계가 허용되지 않았습니다", "宛先のドメインがこのサーバーのものではなく、クライアントに中継が許可されていません"},
		[3]string{"users log in on port 587 or 465; for a domain of this host use `domain add` or policy.rcpthosts; for a host of the house policy.relay_networks or RELAYCLIENT", "사용자는 587이나 465번 포트에서 로그인하십시오. 이 호스트의 도메인은 `domain add`나 policy.rcpthosts로, 내부 호스트는 policy.relay_networks나 RELAYCLIENT로 허용합니다", "利用者は 587 か 465 番ポートでログインしてください。このホストのドメインは `domain add` か policy.rcpthosts で、内部のホストは policy.relay_networks か RELAYCLIENT で許可します"}},
	"receive-only": {
		[3]string{"policy.receive_only is on: mail goes to this host's domains alone", "policy.receive_only가 켜져 있어 이 호스트의 도메인으로만 메일을 받습니다", "policy.receive_only が有効で、このホストのドメイン宛てだけを受け付けます"},
		[3]string{"send through another server", "다른 서버로 보내십시오", "別のサーバーから送ってください"}},
	"sending-forbidden": {
		[3]string{"the operator lets this account receive, but not send", "관리자가 이 계정의 송신을 막았습니다. 수신만 할 수 있습니다", "管理者がこのアカウントの送信を止めています。受信だけできます"},
		[3]string{"ask the operator (`account set`)", "관리자에게 문의하십시오(`account set`)", "管理者に問い合わせてください(`account set`)"}},
	"sender-not-yours": {
		[3]string{"the account sends with a reverse-path that is not one of its addresses", "계정이 자기 주소가 아닌 보낸 사람 주소로 보냅니다", "アカウントが自分のものでない差出人アドレスで送っています"},
		[3]string{"set the mail program's address to the account's; the operator gives it an alias, or allows all with policy.any_sender", "메일 프로그램의 주소를 계정의 주소로 맞추십시오. 관리자는 별칭을 추가하거나 policy.any_sender로 모두 허용할 수 있습니다", "メールソフトのアドレスをアカウントのものに合わせてください。管理者は別名を追加するか、policy.any_sender ですべて許可できます"}},
	"message-too-big": {
		[3]string{"the message exceeds the limit of the server, the domain, the account or the client (policy.max_size, databytes)", "메시지가 서버, 도메인, 계정 또는 클라이언트의 크기 제한을 넘습니다(policy.max_size, databytes)", "メッセージがサーバー、ドメイン、アカウント、クライアントのいずれかの制限を超えています(policy.max_size、databytes)"},
		[3]string{"send less at once, or put the file where the recipient can fetch it", "나누어 보내거나, 파일을 받는 사람이 내려받을 수 있는 곳에 두십시오", "分けて送るか、ファイルを相手が取得できる場所に置いてください"}},
	"too-many-recipients": {
		[3]string{"the message has more recipients than policy.max_recipients or the account's own limit", "받는 사람이 policy.max_recipients나 계정의 제한보다 많습니다", "宛先が policy.max_recipients かアカウントの制限を超えています"},
		[3]string{"nothing for servers, which send the rest anew; people use a list", "서버는 나머지를 다시 보내므로 할 일이 없습니다. 사람은 메일링 리스트를 쓰십시오", "サーバーは残りを送り直すので何もする必要はありません。人の場合はメーリングリストを使ってください"}},
	"rate-exceeded": {
		[3]string{"the account sent to policy.account_rate recipients within an hour", "계정이 한 시간에 policy.account_rate만큼의 받는 사람에게 보냈습니다", "アカウントが一時間に policy.account_rate 件の宛先へ送りました"},
		[3]string{"wait; if it was not you, change the password at once", "기다리십시오. 본인이 보내지 않았다면 즉시 비밀번호를 바꾸십시오", "お待ちください。自分が送ったのでなければ、すぐにパスワードを変更してください"}},
	"too-many-hops": {
		[3]string{"the message has passed more servers than policy.max_hops: it runs in a circle", "메시지가 policy.max_hops보다 많은 서버를 거쳤습니다. 순환하고 있습니다", "メッセージが policy.max_hops を超えるサーバーを通りました。ループしています"},
		[3]string{"its Received fields show the circle; find the forward or MX that leads back", "Received 필드에 순환이 보입니다. 되돌아오게 하는 전달 설정이나 MX를 찾으십시오", "Received フィールドにループが見えます。戻ってくる原因の転送設定か MX を探してください"}},
	"expansion-not-offered": {
		[3]string{"EXPN would tell strangers who is on a list", "EXPN은 목록에 누가 있는지 모르는 사람에게 알려 주게 됩니다", "EXPN はリストに誰がいるかを他人に教えることになります"},
		[3]string{"nothing; on the host itself `address test` tells it", "할 일이 없습니다. 이 호스트에서는 `address test`로 알 수 있습니다", "何もする必要はありません。このホスト上では `address test` で分かります"}},
	"client-refused": {
		[3]string{"the operator's access rules refuse the client; the text is the rule's", "관리자의 접속 규칙이 클라이언트를 거부합니다. 문구는 규칙의 것입니다", "管理者の接続規則がクライアントを拒否しています。文は規則のものです"},
		[3]string{"the log names the rule; the operator changes it", "로그에 규칙이 나옵니다. 관리자가 바꿀 수 있습니다", "ログに規則が出ます。管理者が変更できます"}},
	"client-listed": {
		[3]string{"a DNS list says that the client's address sends spam", "DNS 목록에 클라이언트의 주소가 스팸 발신지로 등록되어 있습니다", "DNS リストにクライアントのアドレスが迷惑メールの送信元として載っています"},
		[3]string{"the client's operator has it taken off the list that is named; here an allow list or RBLSMTPD=\"\" lets it in", "클라이언트의 관리자가 그 목록에서 해제를 요청해야 합니다. 여기서는 허용 목록이나 RBLSMTPD=\"\"로 받을 수 있습니다", "クライアントの管理者がそのリストからの解除を申請してください。こちらでは許可リストか RBLSMTPD=\"\" で受け入れられます"}},
	"client-blocked": {
		[3]string{"the access rules set RBLSMTPD for the client; the text is theirs", "접속 규칙이 이 클라이언트에 RBLSMTPD를 설정했습니다. 문구는 규칙의 것입니다", "接続規則がこのクライアントに RBLSMTPD を設定しています。文は規則のものです"},
		[3]string{"the operator takes the variable out", "관리자가 그 변수를 지우면 됩니다", "管理者がその変数を取り除いてください"}},
	"dnslist-trouble": {
		[3]string{"a DNS list gave no answer, and dns_lists.fail_closed wants one", "DNS 목록이 응답하지 않았고, dns_lists.fail_closed는 응답을 요구합니다", "DNS リストが応答せず、dns_lists.fail_closed は応答を求めます"},
		[3]string{"see the resolver; leave fail_closed off", "DNS 설정을 확인하거나 fail_closed를 끄십시오", "DNS の設定を確認するか、fail_closed を無効にしてください"}},
	"etrn-refused": {
		[3]string{"ETRN was asked for by a client that turn does not name for the domain", "turn에 그 도메인으로 등록되지 않은 클라이언트가 ETRN을 요청했습니다", "turn にそのドメインで登録されていないクライアントが ETRN を要求しました"},
		[3]string{"name the client's address or account there", "그 클라이언트의 주소나 계정을 등록하십시오", "そのクライアントのアドレスかアカウントを登録してください"}},
	"sender-is-ours": {
		[3]string{"mail from outside names a sender of this host, and policy.own_senders is refuse", "밖에서 온 메일이 이 호스트의 주소를 보낸 사람으로 썼고, policy.own_senders가 refuse입니다", "外部からのメールがこのホストのアドレスを差出人にしており、policy.own_senders が refuse です"},
		[3]string{"users outside log in on port 587 or 465", "밖에 있는 사용자는 587이나 465번 포트에서 로그인하십시오", "外部の利用者は 587 か 465 番ポートでログインしてください"}},
	"sender-unknown": {
		[3]string{"mail from outside names a sender of this host's domains who does not exist", "밖에서 온 메일이 이 호스트의 도메인에 없는 사람을 보낸 사람으로 썼습니다", "外部からのメールが、このホストのドメインに存在しない人を差出人にしています"},
		[3]string{"use an address that exists; policy.unknown_senders = \"accept\" takes all", "있는 주소를 쓰십시오. policy.unknown_senders = \"accept\"로 모두 받을 수 있습니다", "存在するアドレスを使ってください。policy.unknown_senders = \"accept\" ですべて受け付けます"}},
	"author-not-yours": {
		[3]string{"the From or Sender field that the mail program writes is not an address of the account", "메일 프로그램이 쓴 From이나 Sender 필드가 계정의 주소가 아닙니다", "メールソフトが書いた From か Sender フィールドがアカウントのアドレスではありません"},
		[3]string{"set the mail program's address to the account's", "메일 프로그램의 주소를 계정의 주소로 맞추십시오", "メールソフトのアドレスをアカウントのものに合わせてください"}},
	"author-unreadable": {
		[3]string{"the From or Sender field holds nothing that is an address", "From이나 Sender 필드에 주소가 없습니다", "From か Sender フィールドにアドレスがありません"},
		[3]string{"mend the mail program's own address", "메일 프로그램의 보낸 사람 주소를 고치십시오", "メールソフトの差出人アドレスを直してください"}},
	"content-refused": {
		[3]string{"a content rule of the operator matches a field, part or attachment; the text is the rule's", "관리자의 내용 규칙이 헤더나 본문, 첨부 파일에 걸렸습니다. 문구는 규칙의 것입니다", "管理者の内容規則がヘッダー、本文、添付ファイルのいずれかに一致しました。文は規則のものです"},
		[3]string{"send without what the text names; the log has the rule", "문구에 있는 것을 빼고 보내십시오. 로그에 규칙이 나옵니다", "文にあるものを除いて送ってください。ログに規則が出ます"}},
	"content-deferred": {
		[3]string{"a content rule of the operator defers such messages; the text is the rule's", "관리자의 내용 규칙이 이런 메시지를 나중으로 미룹니다. 문구는 규칙의 것입니다", "管理者の内容規則がこのようなメッセージを後回しにします。文は規則のものです"},
		[3]string{"wait; the log has the rule", "기다리십시오. 로그에 규칙이 나옵니다", "お待ちください。ログに規則が出ます"}},
	"content-too-complex": {
		[3]string{"the message has more fields, parts or levels than are checked", "메시지의 필드나 부분, 단계가 검사할 수 있는 수보다 많습니다", "メッセージのフィールド、パート、階層が検査できる数を超えています"},
		[3]string{"send it in a simpler form, such as one archive in place of many attachments", "첨부 파일을 하나로 묶는 등 더 단순한 형태로 보내십시오", "添付ファイルを一つにまとめるなど、より単純な形で送ってください"}},
}
