package reason

// authAdvice is about logins.
var authAdvice = map[ID]advice{
	"auth-failed": {
		[3]string{"there is no such account, or its password is another, or it is disabled: which one is not told", "그런 계정이 없거나, 비밀번호가 다르거나, 사용이 중지되었습니다. 어느 것인지는 알려 주지 않습니다", "そのアカウントがないか、パスワードが違うか、停止されています。どれかは示しません"},
		[3]string{"enter the whole address as user name, and the password anew; the log has the client", "사용자 이름에 전체 주소를 넣고 비밀번호를 다시 입력하십시오. 로그에 클라이언트가 나옵니다", "利用者名にアドレス全体を入れ、パスワードを入力し直してください。ログにクライアントが出ます"}},
	"auth-blocked": {
		[3]string{"too many logins failed from this address, network or for this account", "이 주소나 네트워크에서, 또는 이 계정으로 로그인 실패가 너무 많았습니다", "このアドレスやネットワークから、またはこのアカウントでのログイン失敗が多すぎました"},
		[3]string{"wait; mend the password in every mail program; the operator sees and lifts blocks with `block`", "기다리십시오. 모든 메일 프로그램의 비밀번호를 고치십시오. 관리자는 `block`으로 차단을 보고 풀 수 있습니다", "お待ちください。すべてのメールソフトのパスワードを直してください。管理者は `block` で遮断を確認し解除できます"}},
	"auth-barred": {
		[3]string{"the operator has blocked this client or this account", "관리자가 이 클라이언트나 이 계정을 차단했습니다", "管理者がこのクライアントまたはこのアカウントを遮断しました"},
		[3]string{"the operator sees the reason with `block list` and lifts it with `block remove`", "관리자는 `block list`로 이유를 보고 `block remove`로 풀 수 있습니다", "管理者は `block list` で理由を確認し `block remove` で解除できます"}},
	"auth-busy": {
		[3]string{"more passwords are to be checked than the server takes at once", "확인할 비밀번호가 한 번에 처리할 수 있는 수보다 많습니다", "確認するパスワードが一度に処理できる数を超えています"},
		[3]string{"nothing: clients come back; an attack shows in the log", "할 일이 없습니다. 클라이언트가 다시 시도합니다. 공격이라면 로그에 보입니다", "何もする必要はありません。クライアントが再試行します。攻撃ならログに現れます"}},
	"auth-required": {
		[3]string{"the submission port takes mail from accounts only", "송신 포트는 로그인한 계정의 메일만 받습니다", "送信用ポートはログインしたアカウントのメールだけを受け付けます"},
		[3]string{"switch on authentication for outgoing mail in the mail program", "메일 프로그램의 보내는 서버 설정에서 인증을 켜십시오", "メールソフトの送信サーバーの設定で認証を有効にしてください"}},
	"tls-required": {
		[3]string{"this listener takes mail over TLS only", "이 포트는 TLS로만 메일을 받습니다", "このポートは TLS でのみメールを受け付けます"},
		[3]string{"switch on STARTTLS in the client", "클라이언트에서 STARTTLS를 켜십시오", "クライアントで STARTTLS を有効にしてください"}},
	"tls-required-for-auth": {
		[3]string{"a password must not cross the network in clear", "비밀번호를 암호화하지 않고 보낼 수 없습니다", "パスワードを暗号化せずに送ることはできません"},
		[3]string{"switch on STARTTLS in the client, or use port 465", "클라이언트에서 STARTTLS를 켜거나 465번 포트를 쓰십시오", "クライアントで STARTTLS を有効にするか、465 番ポートを使ってください"}},
	"tls-unavailable": {
		[3]string{"the server has no certificate now, such as before the first one was fetched", "지금 서버에 인증서가 없습니다. 첫 인증서를 받기 전 등입니다", "今サーバーに証明書がありません。最初の証明書を取得する前などです"},
		[3]string{"see tls.cert, tls.key or tls.acme, and the log", "tls.cert, tls.key 또는 tls.acme와 로그를 확인하십시오", "tls.cert、tls.key または tls.acme と、ログを確認してください"}},
	"auth-mechanism-unknown": {
		[3]string{"the client asked for a way to log in that EHLO did not offer", "클라이언트가 EHLO에서 제공하지 않은 로그인 방법을 요청했습니다", "クライアントが EHLO で提示していないログイン方法を要求しました"},
		[3]string{"choose \"normal password\" with TLS in the client; CRAM-MD5 is not offered", "클라이언트에서 TLS와 함께 \"일반 비밀번호\"를 고르십시오. CRAM-MD5는 제공하지 않습니다", "クライアントで TLS とともに「通常のパスワード」を選んでください。CRAM-MD5 は提供していません"}},
	"auth-cancelled": {
		[3]string{"the client broke the login off, often since it has no password", "클라이언트가 로그인을 중단했습니다. 대개 비밀번호가 없기 때문입니다", "クライアントがログインを中止しました。多くはパスワードがないためです"},
		[3]string{"enter the password in the mail program", "메일 프로그램에 비밀번호를 입력하십시오", "メールソフトにパスワードを入力してください"}},
	"auth-encoding": {
		[3]string{"the client's response is no base64 or not of the mechanism's form", "클라이언트의 응답이 base64가 아니거나 그 인증 방식의 형식이 아닙니다", "クライアントの応答が base64 でないか、その認証方式の形式ではありません"},
		[3]string{"mend the client", "클라이언트를 고치십시오", "クライアントを修正してください"}},
	"auth-channel-binding": {
		[3]string{"the client did not see that the server offers SCRAM-SHA-256-PLUS, though both know it: somebody in between may have taken it out; or it binds in a way that this connection has not", "양쪽 모두 아는 SCRAM-SHA-256-PLUS 제안을 클라이언트가 보지 못했습니다. 중간에서 누군가 지웠을 수 있습니다. 또는 이 연결에 없는 방식으로 묶으려 했습니다", "双方が知る SCRAM-SHA-256-PLUS の提示をクライアントが見ていません。途中で誰かが取り除いた可能性があります。または、この接続にない方法で結び付けようとしました"},
		[3]string{"see that nothing between client and server opens TLS, such as a virus scanner; mend a client that forgets the offer", "바이러스 검사기처럼 클라이언트와 서버 사이에서 TLS를 여는 것이 없는지 확인하고, 제안을 잊는 클라이언트는 고치십시오", "ウイルス対策など、クライアントとサーバーの間で TLS を開くものがないか確認し、提示を忘れるクライアントは修正してください"}},
	"auth-too-long": {
		[3]string{"a line of the login is longer than RFC 4954 allows", "로그인 줄이 RFC 4954의 제한보다 깁니다", "ログインの行が RFC 4954 の制限を超えています"},
		[3]string{"mend the client", "클라이언트를 고치십시오", "クライアントを修正してください"}},
}

// hostAdvice is about this host: its disk and parts, and what its programs hand in.
var hostAdvice = map[ID]advice{
	"local-error": {
		[3]string{"something failed on this server that is nobody's mail's fault", "이 서버에서 메일과 관계없는 오류가 났습니다", "このサーバーで、メールのせいではない障害が起きました"},
		[3]string{"nothing for senders: it is tried again; the operator finds the cause in the log", "보내는 사람은 할 일이 없습니다. 다시 시도합니다. 관리자는 로그에서 원인을 찾으십시오", "送信者は何もする必要はありません。再試行されます。管理者はログで原因を確認してください"}},
	"queue-unavailable": {
		[3]string{"the queue's store is closed: its disk is full or failing, or role queue restarts", "큐를 쓸 수 없습니다. 디스크가 가득 찼거나 오류가 있거나, queue 역할이 다시 시작 중입니다", "キューが使えません。ディスクが一杯か障害があるか、ロール queue が再起動中です"},
		[3]string{"nothing for senders; the operator looks at the disk of the data folder and the log: it opens by itself when the disk works", "보내는 사람은 할 일이 없습니다. 관리자는 데이터 폴더의 디스크와 로그를 확인하십시오. 디스크가 정상이면 저절로 열립니다", "送信者は何もする必要はありません。管理者はデータフォルダーのディスクとログを確認してください。ディスクが直れば自動的に開きます"}},
	"disk-full": {
		[3]string{"the queue's disk has less room or inodes than floors.free_bytes and floors.free_inodes", "큐의 디스크의 여유 공간이나 inode가 floors.free_bytes나 floors.free_inodes보다 적습니다", "キューのディスクの空きか inode が floors.free_bytes か floors.free_inodes を下回っています"},
		[3]string{"make room; mail goes out meanwhile, and intake resumes by itself", "공간을 확보하십시오. 그동안에도 메일은 나가고, 수신은 저절로 재개됩니다", "空きを作ってください。その間も送信は続き、受信は自動的に再開します"}},
	"filter-refused": {
		[3]string{"the filter (submit.filter, QMAILQUEUE) refused the message; the text is its own or its exit code's", "필터(submit.filter, QMAILQUEUE)가 메시지를 거부했습니다. 문구는 필터나 그 종료 코드의 것입니다", "フィルター(submit.filter、QMAILQUEUE)がメッセージを拒否しました。文はフィルターかその終了コードのものです"},
		[3]string{"see the text and the filter's own log", "그 문구와 필터의 로그를 보십시오", "その文とフィルターのログを見てください"}},
	"filter-failed": {
		[3]string{"the filter (submit.filter, QMAILQUEUE) could not be run, took too long or deferred the message", "필터(submit.filter, QMAILQUEUE)를 실행할 수 없거나, 너무 오래 걸렸거나, 메시지를 미뤘습니다", "フィルター(submit.filter、QMAILQUEUE)を実行できないか、時間がかかりすぎたか、メッセージを後回しにしました"},
		[3]string{"nothing for senders; the operator runs the filter by hand: the log has its exit code and what it said", "보내는 사람은 할 일이 없습니다. 관리자는 필터를 직접 실행해 보십시오. 로그에 종료 코드와 출력이 있습니다", "送信者は何もする必要はありません。管理者はフィルターを手で実行してみてください。ログに終了コードと出力があります"}},
	"inject-busy": {
		[3]string{"programs of this host have inject.max_connections connections open", "이 호스트의 프로그램이 inject.max_connections만큼 연결하고 있습니다", "このホストのプログラムが inject.max_connections まで接続しています"},
		[3]string{"see which program starts so many at once", "어느 프로그램이 한꺼번에 많이 시작하는지 확인하십시오", "どのプログラムが一度に多く起動しているか確認してください"}},
	"inject-user-busy": {
		[3]string{"one user's programs have inject.max_per_user connections open", "한 사용자의 프로그램이 inject.max_per_user만큼 연결하고 있습니다", "一人のユーザーのプログラムが inject.max_per_user まで接続しています"},
		[3]string{"hand in one message after the other, or raise the limit", "메시지를 차례로 넘기거나 제한을 높이십시오", "メッセージを順に渡すか、制限を上げてください"}},
	"inject-rate": {
		[3]string{"one user's programs handed in more messages a minute than inject.rate", "한 사용자의 프로그램이 1분에 inject.rate보다 많은 메시지를 넘겼습니다", "一人のユーザーのプログラムが一分間に inject.rate を超えるメッセージを渡しました"},
		[3]string{"see whether a script runs wild; raise the limit if it may", "폭주하는 스크립트가 있는지 확인하고, 정상이면 제한을 높이십시오", "暴走しているスクリプトがないか確認し、正常なら制限を上げてください"}},
	"inject-version": {
		[3]string{"the program and the running server are of different versions", "프로그램과 실행 중인 서버의 버전이 다릅니다", "プログラムと稼働中のサーバーのバージョンが異なります"},
		[3]string{"restart the server after an update; `links check` shows which program is called", "업데이트한 뒤에는 서버를 다시 시작하십시오. `links check`가 어느 프로그램을 부르는지 보여 줍니다", "更新の後はサーバーを再起動してください。`links check` でどのプログラムが呼ばれるか分かります"}},
	"inject-forbidden": {
		[3]string{"the user is not one of inject.queue_users", "그 사용자가 inject.queue_users에 없습니다", "そのユーザーが inject.queue_users にありません"},
		[3]string{"ask the operator, or run it as root", "관리자에게 문의하거나 root로 실행하십시오", "管理者に問い合わせるか、root で実行してください"}},
}

// adminAdvice is about who may manage what.
var adminAdvice = map[ID]advice{
	"admin-not-yours": {
		[3]string{"the domain or account is not among those that you administer", "관리 권한이 있는 도메인이나 계정이 아닙니다", "管理を任されたドメインやアカウントではありません"},
		[3]string{"ask the server's owner for it", "서버 소유자에게 권한을 요청하십시오", "サーバーの所有者に権限を依頼してください"}},
	"admin-owner-only": {
		[3]string{"it concerns the whole server", "서버 전체에 관한 일입니다", "サーバー全体に関わることです"},
		[3]string{"ask the server's owner to do it", "서버 소유자에게 부탁하십시오", "サーバーの所有者に依頼してください"}},
	"admin-above": {
		[3]string{"the account administers domains that you do not", "그 계정은 당신이 관리하지 않는 도메인도 관리합니다", "そのアカウントは、あなたが管理しないドメインも管理しています"},
		[3]string{"ask the server's owner to do it", "서버 소유자에게 부탁하십시오", "サーバーの所有者に依頼してください"}},
	"admin-self": {
		[3]string{"an account may change its own passwords alone", "계정은 자기 비밀번호만 바꿀 수 있습니다", "アカウントが変更できるのは自分のパスワードだけです"},
		[3]string{"ask the administrator of the domain", "도메인 관리자에게 부탁하십시오", "ドメインの管理者に依頼してください"}},
	"admin-app-password": {
		[3]string{"an app password was used to log in, which could have been taken from a device", "앱 비밀번호로 로그인했습니다. 앱 비밀번호는 기기에서 유출될 수 있습니다", "アプリパスワードでログインしています。アプリパスワードは端末から漏れることがあります"},
		[3]string{"log in with the account's own password", "계정의 원래 비밀번호로 로그인하십시오", "アカウント本来のパスワードでログインしてください"}},
	"admin-catch-all": {
		[3]string{"a catch-all to somebody else's domain would send strangers a domain's mail", "다른 도메인으로 가는 catch-all은 도메인의 메일을 남에게 보내게 됩니다", "別のドメインへの catch-all は、ドメインのメールを他人に送ることになります"},
		[3]string{"name an address of your domain, and make it an alias if it leads further", "자기 도메인의 주소를 지정하고, 더 보내려면 그 주소를 별칭으로 만드십시오", "自分のドメインのアドレスを指定し、さらに送るならそれを別名にしてください"}},
	"admin-target": {
		[3]string{"an administrator's alias may lead to people, not to programs or files of the host", "관리자의 별칭은 사람에게만 보낼 수 있고, 호스트의 프로그램이나 파일로는 보낼 수 없습니다", "管理者の別名の行き先は人だけで、ホストのプログラムやファイルにはできません"},
		[3]string{"name an address", "주소를 지정하십시오", "アドレスを指定してください"}},
	"admin-gone": {
		[3]string{"the account was disabled or removed while it was logged in", "로그인해 있는 동안 계정이 중지되거나 삭제되었습니다", "ログイン中にアカウントが停止または削除されました"},
		[3]string{"ask the server's owner", "서버 소유자에게 문의하십시오", "サーバーの所有者に問い合わせてください"}},
	"admin-system-user": {
		[3]string{"users of the system are managed by the system's own tools", "시스템 사용자는 시스템의 도구로 관리합니다", "システムユーザーはシステムの道具で管理します"},
		[3]string{"use passwd(1) and usermod(8)", "passwd(1)와 usermod(8)를 쓰십시오", "passwd(1) と usermod(8) を使ってください"}},
	"admin-login": {
		[3]string{"the command came before the login", "로그인 전에 명령이 왔습니다", "ログインの前にコマンドが来ました"},
		[3]string{"log in", "로그인하십시오", "ログインしてください"}},
	"admin-busy": {
		[3]string{"too many administrators are connected at once", "동시에 접속한 관리자가 너무 많습니다", "同時に接続している管理者が多すぎます"},
		[3]string{"try again later", "나중에 다시 시도하십시오", "後でやり直してください"}},
	"admin-user-busy": {
		[3]string{"your user of this host has too many connections open", "이 호스트의 같은 사용자가 연결을 너무 많이 열었습니다", "このホストの同じユーザーが接続を開きすぎています"},
		[3]string{"end the programs that hold them", "연결을 잡고 있는 프로그램을 끝내십시오", "接続を持っているプログラムを終了してください"}},
}
