package explain

// This file is what other mail programs' logs, bounces and replies say most often. "*" stands for what
// differs.

// line is a text of another program.
type line struct {
	program, words string
	told
}

var (
	askThem = [3]string{"ask the operator of the host that says so", "그렇게 응답한 호스트의 관리자에게 문의하십시오", "そう応答したホストの管理者に問い合わせてください"}
	port25  = [3]string{"it is tried again; check the network, firewalls and port 25 outward", "다시 시도합니다. 네트워크, 방화벽, 나가는 25번 포트를 확인하십시오", "再試行されます。ネットワーク、ファイアウォール、外向きの 25 番ポートを確認してください"}
	relay   = [3]string{"log in on port 587 or 465, or have the client's address allowed", "587이나 465번 포트에서 로그인하거나, 클라이언트 주소를 허용받으십시오", "587 か 465 番ポートでログインするか、クライアントのアドレスを許可してもらってください"}
	noUser  = [3]string{"there is no such mailbox on that host", "그 호스트에 그런 사서함이 없습니다", "そのホストにそのメールボックスはありません"}
	noHost  = [3]string{"DNS does not know the host", "DNS에 그 호스트가 없습니다", "DNS にそのホストがありません"}
	relayed = [3]string{"the host does not send on for this client", "그 호스트는 이 클라이언트의 메일을 중계하지 않습니다", "そのホストはこのクライアントのメールを中継しません"}

	cannotWrite = [3]string{"the mailbox could not be written: its owner's quota or the disk is full, mostly", "사서함에 쓸 수 없었습니다. 대개 소유자의 할당량이나 디스크가 가득 찬 것입니다", "メールボックスに書き込めませんでした。多くは所有者の容量制限かディスクが一杯です"}
	makeRoom    = [3]string{"its owner has to delete mail", "소유자가 메일을 지워야 합니다", "所有者がメールを削除する必要があります"}
	endSession  = [3]string{"wait until the other session has ended (`account free` ends it)", "다른 세션이 끝나기를 기다리십시오(`account free`로 끝낼 수 있습니다)", "別のセッションが終わるのを待ってください(`account free` で終了できます)"}
)

// foreign are the texts of other programs.
func foreign() []line {
	return []line{
		{"Postfix", "Relay access denied", told{relayed, relay}},
		{"Postfix", "User unknown in local recipient table", told{noUser, spell}},
		{"Postfix", "User unknown in virtual mailbox table", told{noUser, spell}},
		{"Postfix", "Host or domain name not found. Name service error for name=*", told{[3]string{"DNS does not know the domain, or does not answer", "DNS에 그 도메인이 없거나 응답하지 않습니다", "DNS にそのドメインがないか、応答しません"}, spell}},
		{"Postfix", "Client host rejected: cannot find your hostname", told{[3]string{"the sending host's address has no name in DNS, or the name does not lead back", "보내는 호스트의 주소에 DNS 이름이 없거나, 이름이 그 주소로 돌아오지 않습니다", "送信ホストのアドレスに DNS の名前がないか、名前がそのアドレスに戻りません"}, [3]string{"set forward and reverse DNS of the sending host", "보내는 호스트의 정방향과 역방향 DNS를 설정하십시오", "送信ホストの正引きと逆引きの DNS を設定してください"}}},
		{"Postfix", "Sender address rejected: Domain not found", told{[3]string{"the sender's domain is not in DNS", "보낸 사람의 도메인이 DNS에 없습니다", "差出人のドメインが DNS にありません"}, sender}},
		{"Postfix", "Helo command rejected: *", told{[3]string{"the host does not like the name in HELO", "그 호스트가 HELO의 이름을 받아들이지 않습니다", "そのホストが HELO の名前を受け入れません"}, [3]string{"let the sending host call itself by a full name that DNS knows", "보내는 호스트가 DNS에 등록된 전체 이름을 쓰게 하십시오", "送信ホストが DNS に登録された完全な名前を名乗るようにしてください"}}},
		{"Postfix", "mail for * loops back to myself", told{[3]string{"the domain's MX is this host, which does not know the domain", "도메인의 MX가 이 호스트인데, 이 호스트는 그 도메인을 모릅니다", "ドメインの MX がこのホストですが、このホストはそのドメインを知りません"}, [3]string{"add the domain on this host, or change its MX", "이 호스트에 도메인을 추가하거나 MX를 바꾸십시오", "このホストにドメインを追加するか、MX を変更してください"}}},
		{"Postfix", "lost connection with * while *", told{[3]string{"the connection broke off", "연결이 끊어졌습니다", "接続が切れました"}, port25}},
		{"SMTP", "Greylisted", told{[3]string{"the host lets unknown senders try twice", "그 호스트는 처음 보는 상대에게 다시 시도하게 합니다", "そのホストは初めての相手に再試行を求めます"}, [3]string{"nothing: the second attempt is taken", "할 일이 없습니다. 두 번째 시도는 받습니다", "何もする必要はありません。二度目の試行は受け付けられます"}}},
		{"SMTP", "greylisting", told{[3]string{"the host lets unknown senders try twice", "그 호스트는 처음 보는 상대에게 다시 시도하게 합니다", "そのホストは初めての相手に再試行を求めます"}, [3]string{"nothing: the second attempt is taken", "할 일이 없습니다. 두 번째 시도는 받습니다", "何もする必要はありません。二度目の試行は受け付けられます"}}},
		{"SMTP", "Connection timed out", told{[3]string{"the host does not answer", "호스트가 응답하지 않습니다", "ホストが応答しません"}, port25}},
		{"SMTP", "Connection refused", told{[3]string{"nothing listens on that port of the host, or a firewall refuses", "호스트의 그 포트에서 아무것도 받지 않거나 방화벽이 거부합니다", "ホストのそのポートで待ち受けがないか、ファイアウォールが拒否しています"}, port25}},
		{"sendmail", "User unknown", told{noUser, spell}},
		{"sendmail", "Host unknown", told{noHost, spell}},
		{"sendmail", "Name server: *: host not found", told{noHost, [3]string{"check the spelling behind the @; where `dig DOMAIN aaaa` says SERVFAIL, the domain's name server is to be mended", "@ 뒤의 철자를 확인하십시오. `dig 도메인 aaaa`의 답이 SERVFAIL이면 그 도메인의 네임서버를 고쳐야 합니다", "@ の後のつづりを確かめてください。`dig ドメイン aaaa` が SERVFAIL を返すなら、そのドメインのネームサーバーを直す必要があります"}}},
		{"sendmail", "Transient parse error -- message queued for future delivery", told{[3]string{"the address could not be looked up just then: DNS or a map did not answer", "그때 주소를 조회하지 못했습니다. DNS나 맵이 응답하지 않았습니다", "その時アドレスを調べられませんでした。DNS かマップが応答しませんでした"}, again}},
		{"sendmail", "Message could not be delivered for *", told{[3]string{"all attempts failed until the message's time was over", "보관 기간이 끝날 때까지 모든 시도가 실패했습니다", "保管期間が終わるまで、すべての試行が失敗しました"}, [3]string{"find out whether the recipient's host works, then send again", "받는 쪽 호스트가 동작하는지 확인한 뒤 다시 보내십시오", "相手のホストが動いているか確かめてから、送り直してください"}}},
		{"sendmail", "could not send message for past *", told{[3]string{"a notice that the message is late; attempts go on", "메일이 늦어지고 있다는 알림입니다. 시도는 계속됩니다", "遅れを知らせる通知です。試行は続きます"}, [3]string{"nothing: do not send it again", "할 일이 없습니다. 다시 보내지 마십시오", "何もする必要はありません。送り直さないでください"}}},
		{"sendmail", "can't create (user) output file", told{cannotWrite, makeRoom}},
		{"sendmail", "Can't create output", told{cannotWrite, makeRoom}},
		{"sendmail", "rejecting connections", told{[3]string{"the host's load is above RefuseLA", "호스트의 부하가 RefuseLA보다 높습니다", "ホストの負荷が RefuseLA を超えています"}, [3]string{"lower the load, or raise RefuseLA (here: floors.refuse_load)", "부하를 낮추거나 RefuseLA를 높이십시오(이 서버에서는 floors.refuse_load)", "負荷を下げるか、RefuseLA を上げてください(このサーバーでは floors.refuse_load)"}}},
		{"sendmail", "Relaying denied", told{relayed, relay}},
		{"sendmail", "Domain of sender address * does not *", told{[3]string{"the sender's domain is not in DNS", "보낸 사람의 도메인이 DNS에 없습니다", "差出人のドメインが DNS にありません"}, sender}},
		{"sendmail", "Message exceeds maximum fixed size", told{[3]string{"the message is larger than the host takes", "메시지가 그 호스트의 제한보다 큽니다", "メッセージがそのホストの制限を超えています"}, smaller}},
		{"sendmail", "Message size exceeds fixed maximum message size", told{[3]string{"the message is larger than the host takes", "메시지가 그 호스트의 제한보다 큽니다", "メッセージがそのホストの制限を超えています"}, smaller}},
		{"sendmail", "Connection rate limit exceeded", told{[3]string{"the client connects more often than the host allows", "클라이언트가 그 호스트의 허용보다 자주 연결합니다", "クライアントがそのホストの許可より頻繁に接続しています"}, again}},
		{"sendmail", "local configuration error", told{[3]string{"DNS sends the domain's mail to a host that does not know the domain", "DNS가 그 도메인을 모르는 호스트로 메일을 보냅니다", "DNS がそのドメインを知らないホストへメールを向けています"}, askThem}},
		{"procmail", "Quota exceeded while writing *", told{[3]string{"the mailbox is full", "사서함이 가득 찼습니다", "メールボックスが一杯です"}, makeRoom}},
		{"Dovecot", "Quota exceeded (mailbox for user is full)", told{[3]string{"the mailbox is full", "사서함이 가득 찼습니다", "メールボックスが一杯です"}, makeRoom}},
		{"Dovecot", "(auth failed, * attempts", told{[3]string{"user name or password is wrong", "사용자 이름이나 비밀번호가 틀렸습니다", "利用者名かパスワードが違います"}, login}},
		{"Dovecot", "(no auth attempts", told{[3]string{"the client left without logging in: a scanner, or a TLS handshake that failed", "클라이언트가 로그인하지 않고 나갔습니다. 스캐너이거나 TLS 협상에 실패했습니다", "クライアントがログインせずに切断しました。スキャナーか、TLS の失敗です"}, nothing}},
		{"ipop3d", "Can't get lock. Mailbox in use", told{[3]string{"another session uses the mailbox: one that broke off, mostly", "다른 세션이 사서함을 쓰고 있습니다. 대개 갑자기 끊어진 세션입니다", "別のセッションがメールボックスを使用中です。多くは途中で切れたセッションです"}, endSession}},
		{"inetd", "server failing (looping)", told{[3]string{"too many connections in a minute: inetd stopped the service for a while", "1분 동안의 연결이 너무 많아 inetd가 서비스를 잠시 멈췄습니다", "1 分間の接続が多すぎたため、inetd がサービスをしばらく止めました"}, [3]string{"raise its limit (nowait.200); this server bounds connections at once instead, as by pop3.max_connections", "한도를 높이십시오(nowait.200). 이 서버는 그 대신 pop3.max_connections처럼 동시 연결 수를 제한합니다", "上限を上げてください(nowait.200)。このサーバーは代わりに pop3.max_connections のように同時接続数を制限します"}}},
		{"virus scanner", "has been infected with the virus *", told{[3]string{"a virus scanner on the way refused the message", "경로의 바이러스 검사기가 메일을 거부했습니다", "経路上のウイルス検査がメールを拒否しました"}, [3]string{"check the computer that sent it, then send again without the file", "보낸 컴퓨터의 바이러스를 검사한 뒤 그 파일 없이 다시 보내십시오", "送信したコンピューターをウイルス検査し、そのファイルを付けずに送り直してください"}}},
		{"virus scanner", "Fragmented emails are not permit*", told{[3]string{"the mail program sent the message in parts, which cannot be checked", "메일 프로그램이 메시지를 나누어 보냈는데, 나뉜 메일은 검사할 수 없습니다", "メールソフトがメッセージを分割して送りました。分割されたメールは検査できません"}, [3]string{"turn the splitting of messages off in the mail program", "메일 프로그램의 분할 전송 설정을 끄십시오", "メールソフトの分割送信の設定を解除してください"}}},
		{"Outlook Express", "0x800CCC90", told{[3]string{"the POP3 server answered with an error: often the mailbox is in use by another session", "POP3 서버가 오류로 응답했습니다. 대개 다른 세션이 사서함을 쓰고 있습니다", "POP3 サーバーがエラーを返しました。多くは別のセッションがメールボックスを使用中です"}, endSession}},
		{"Outlook Express", "0x800CCC92", told{[3]string{"the password was rejected, or the mailbox is in use by another session", "비밀번호가 거부되었거나 다른 세션이 사서함을 쓰고 있습니다", "パスワードが拒否されたか、別のセッションがメールボックスを使用中です"}, login}},
		{"Outlook Express", "0x800CCC79", told{relayed, relay}},
	}
}
