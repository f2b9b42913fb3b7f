package reason

// mailboxAdvice is about deliveries into mailboxes and by .qmail files.
var mailboxAdvice = map[ID]advice{
	"quota-exceeded": {
		[3]string{"the mailbox holds as much as it may", "사서함이 할당량만큼 찼습니다", "メールボックスが容量一杯です"},
		[3]string{"its owner deletes mail (and has the mail program leave none on the server); the operator raises the quota with `account set`", "소유자가 메일을 지워야 합니다(메일 프로그램이 서버에 메일을 남기지 않게 하십시오). 관리자는 `account set`으로 할당량을 늘릴 수 있습니다", "所有者がメールを削除してください(メールソフトがサーバーにメールを残さないようにします)。管理者は `account set` で容量を増やせます"}},
	"quota-too-small": {
		[3]string{"the message is larger than the room that is left in the mailbox", "메시지가 사서함의 남은 공간보다 큽니다", "メッセージがメールボックスの残り容量を超えています"},
		[3]string{"send less, or wait until the owner has made room", "더 작게 보내거나, 소유자가 공간을 비울 때까지 기다리십시오", "小さくして送るか、所有者が空きを作るまで待ってください"}},
	"mailbox-unavailable": {
		[3]string{"the Maildir cannot be written now: its disk is full, read-only or failing, or its folder has another owner", "지금 Maildir에 쓸 수 없습니다. 디스크가 가득 찼거나 읽기 전용이거나 오류가 있거나, 폴더의 소유자가 다릅니다", "今は Maildir に書き込めません。ディスクが一杯か、読み取り専用か、障害があるか、フォルダーの所有者が違います"},
		[3]string{"it is tried again; the log has the cause", "다시 시도합니다. 원인은 로그에 있습니다", "再試行されます。原因はログにあります"}},
	"mailbox-hangs": {
		[3]string{"for half a minute the file system of the mailbox, or of others of its domain, has not answered: a server that is gone (NFS), or a failing disk", "30초 동안 이 사서함이나 같은 도메인의 다른 사서함이 있는 파일 시스템이 응답하지 않았습니다. 서버(NFS)가 끊겼거나 디스크가 고장 났습니다", "このメールボックス、または同じドメインの他のメールボックスのファイルシステムが 30 秒間応答していません。サーバー(NFS)が落ちているか、ディスクの障害です"},
		[3]string{"see to the mount (`dmesg`, `df`); the mail waits, and `postilion flush` tries it once the file system answers", "마운트를 확인하십시오(`dmesg`, `df`). 메일은 큐에서 기다리며, 파일 시스템이 응답하면 `postilion flush`로 다시 시도합니다", "マウントを確認してください(`dmesg`、`df`)。メールはキューで待機し、応答するようになれば `postilion flush` で再試行されます"}},
	"deliver-as-root": {
		[3]string{"the address belongs to uid 0, for whom nothing is ever delivered or run", "주소가 uid 0의 것입니다. uid 0으로는 배달도 실행도 하지 않습니다", "アドレスが uid 0 のものです。uid 0 への配送も実行も行いません"},
		[3]string{"make an alias for it: ~alias/.qmail-root, or `alias add`", "별칭을 만드십시오: ~alias/.qmail-root 또는 `alias add`", "別名を作ってください: ~alias/.qmail-root か `alias add`"}},
	"alias-user-absent": {
		[3]string{"route.alias_user (or qmail's user alias) does not exist, so names that no user has cannot be looked up", "route.alias_user(또는 qmail의 사용자 alias)가 없어서, 사용자가 아닌 이름을 찾을 수 없습니다", "route.alias_user(または qmail のユーザー alias)がないため、ユーザーでない名前を調べられません"},
		[3]string{"make the user, or name another", "그 사용자를 만들거나 다른 사용자를 지정하십시오", "そのユーザーを作るか、別のユーザーを指定してください"}},
	"no-system-users": {
		[3]string{"the address belongs to a user of this system, and runas.enabled or route.system_users is off", "주소가 시스템 사용자의 것인데 runas.enabled나 route.system_users가 꺼져 있습니다", "アドレスがシステムユーザーのものですが、runas.enabled か route.system_users が無効です"},
		[3]string{"switch them on, or give the address an account or alias", "켜거나, 그 주소의 계정이나 별칭을 만드십시오", "有効にするか、そのアドレスのアカウントか別名を作ってください"}},
	"home-not-absolute": {
		[3]string{"passwd or users/assign gives the user a home that does not begin with /", "passwd나 users/assign에 적힌 홈 디렉터리가 /로 시작하지 않습니다", "passwd か users/assign のホームディレクトリが / で始まっていません"},
		[3]string{"mend the user's entry", "그 사용자의 항목을 고치십시오", "そのユーザーの項目を直してください"}},
	"home-unreachable": {
		[3]string{"the user's home cannot be entered: missing, not mounted, or closed to the user", "사용자의 홈 디렉터리에 들어갈 수 없습니다. 없거나, 마운트되지 않았거나, 사용자에게 권한이 없습니다", "ユーザーのホームディレクトリに入れません。存在しないか、マウントされていないか、権限がありません"},
		[3]string{"make or mount it; see owner and mode; the mail waits", "만들거나 마운트하고 소유자와 권한을 확인하십시오. 메일은 큐에서 기다립니다", "作るかマウントし、所有者とモードを確認してください。メールはキューで待機しています"}},
	"home-writable": {
		[3]string{"others can write into the user's home, and could put a .qmail there", "다른 사용자가 홈 디렉터리에 쓸 수 있어 .qmail을 넣어 둘 수 있습니다", "他のユーザーがホームディレクトリに書き込めるため、.qmail を置かれるおそれがあります"},
		[3]string{"chmod o-w the home; the mail waits", "홈 디렉터리에 chmod o-w를 실행하십시오. 메일은 큐에서 기다립니다", "ホームディレクトリに chmod o-w を実行してください。メールはキューで待機しています"}},
	"home-sticky": {
		[3]string{"the home's sticky bit holds deliveries while .qmail is edited", ".qmail을 고치는 동안 홈 디렉터리의 sticky 비트가 배달을 멈추게 합니다", ".qmail を編集している間、ホームディレクトリの sticky ビットが配送を止めています"},
		[3]string{"chmod -t the home when the editing is done", "수정이 끝나면 홈 디렉터리에 chmod -t를 실행하십시오", "編集が終わったらホームディレクトリに chmod -t を実行してください"}},
	"dot-qmail-unreadable": {
		[3]string{"the .qmail file cannot be read as the user", "그 사용자로 .qmail 파일을 읽을 수 없습니다", "そのユーザーとして .qmail を読めません"},
		[3]string{"give it to the user and make it readable; the mail waits", "소유자를 그 사용자로 하고 읽을 수 있게 하십시오. 메일은 큐에서 기다립니다", "所有者をそのユーザーにし、読めるようにしてください。メールはキューで待機しています"}},
	"dot-qmail-writable": {
		[3]string{"others can write the .qmail file", "다른 사용자가 .qmail 파일에 쓸 수 있습니다", "他のユーザーが .qmail に書き込めます"},
		[3]string{"chmod o-w it; the mail waits", "chmod o-w를 실행하십시오. 메일은 큐에서 기다립니다", "chmod o-w を実行してください。メールはキューで待機しています"}},
	"dot-qmail-blank": {
		[3]string{"the .qmail file begins with an empty line", ".qmail 파일이 빈 줄로 시작합니다", ".qmail が空行で始まっています"},
		[3]string{"take the line out; the mail waits", "그 줄을 지우십시오. 메일은 큐에서 기다립니다", "その行を取り除いてください。メールはキューで待機しています"}},
	"dot-qmail-file-with-x": {
		[3]string{"the .qmail file is executable or has +list, and so may only forward", ".qmail 파일에 실행 비트나 +list가 있어 전달만 할 수 있습니다", ".qmail に実行ビットか +list があるため、転送しかできません"},
		[3]string{"chmod -x it, or take the file line out", "chmod -x를 실행하거나 파일 배달 줄을 지우십시오", "chmod -x を実行するか、ファイルへの配送の行を取り除いてください"}},
	"dot-qmail-program-with-x": {
		[3]string{"the .qmail file is executable or has +list, and so may only forward", ".qmail 파일에 실행 비트나 +list가 있어 전달만 할 수 있습니다", ".qmail に実行ビットか +list があるため、転送しかできません"},
		[3]string{"chmod -x it, or take the program line out", "chmod -x를 실행하거나 프로그램 줄을 지우십시오", "chmod -x を実行するか、プログラムの行を取り除いてください"}},
	"dot-qmail-nul": {
		[3]string{"the .qmail file holds a zero byte: something other than a text was put there", ".qmail 파일에 0 바이트가 있습니다. 텍스트가 아닌 것이 들어 있습니다", ".qmail に NUL バイトがあります。テキストではないものが置かれています"},
		[3]string{"write it anew as a text", "텍스트 파일로 다시 만드십시오", "テキストファイルとして作り直してください"}},
	"dot-qmail-long-forward": {
		[3]string{"a forward line is longer than an address may be", "전달 줄이 주소의 최대 길이보다 깁니다", "転送の行がアドレスの最大長を超えています"},
		[3]string{"write one address a line", "한 줄에 주소를 하나만 적으십시오", "一行に一つのアドレスを書いてください"}},
	"dot-qmail-bad-forward": {
		[3]string{"a forward line holds a control character", "전달 줄에 제어 문자가 있습니다", "転送の行に制御文字があります"},
		[3]string{"write the line anew", "그 줄을 다시 적으십시오", "その行を書き直してください"}},
	"dot-qmail-too-big": {
		[3]string{"the .qmail file is larger than is read", ".qmail 파일이 읽을 수 있는 크기보다 큽니다", ".qmail が読み込める大きさを超えています"},
		[3]string{"use a list program for so many addresses", "주소가 그렇게 많으면 메일링 리스트 프로그램을 쓰십시오", "それほど多くのアドレスにはメーリングリストのプログラムを使ってください"}},
	"program-report": {
		[3]string{"a program of .qmail ended with a failure; the text is its own", ".qmail의 프로그램이 실패로 끝났습니다. 문구는 그 프로그램의 것입니다", ".qmail のプログラムが失敗で終わりました。文はそのプログラムのものです"},
		[3]string{"see what it says; run it by hand as that user with the message", "그 문구를 보십시오. 그 사용자로 메시지를 넣어 직접 실행해 보십시오", "その文を見てください。そのユーザーでメッセージを渡して手で実行してみてください"}},
	"program-crashed": {
		[3]string{"a program of .qmail was killed by a signal, often for its memory limit", ".qmail의 프로그램이 시그널로 종료되었습니다. 대개 메모리 제한 때문입니다", ".qmail のプログラムがシグナルで終了しました。多くはメモリ制限のためです"},
		[3]string{"run it by hand with the message; raise runas.program_memory", "메시지를 넣어 직접 실행해 보고 runas.program_memory를 높이십시오", "メッセージを渡して手で実行し、runas.program_memory を上げてください"}},
	"program-timeout": {
		[3]string{"a program of .qmail ran longer than runas.program_time, and was ended with all that it had started", ".qmail의 프로그램이 runas.program_time보다 오래 실행되어, 그것이 시작한 것까지 모두 끝냈습니다", ".qmail のプログラムが runas.program_time を超えて動いたため、それが起動したものも含めて終了させました"},
		[3]string{"see what it waits for; raise the limit if it needs the time", "무엇을 기다리는지 확인하고, 시간이 더 필요하면 제한을 높이십시오", "何を待っているか調べ、時間が必要なら制限を上げてください"}},
	"program-not-run": {
		[3]string{"/bin/sh could not be started as the user", "그 사용자로 /bin/sh를 시작할 수 없습니다", "そのユーザーで /bin/sh を起動できません"},
		[3]string{"see /bin/sh and the limits of runas", "/bin/sh와 runas의 제한을 확인하십시오", "/bin/sh と runas の制限を確認してください"}},
	"maildir-absent": {
		[3]string{"the Maildir that .qmail names is not there, or is not the user's", ".qmail에 적힌 Maildir이 없거나 그 사용자의 것이 아닙니다", ".qmail にある Maildir がないか、そのユーザーのものではありません"},
		[3]string{"make it with maildirmake as that user; the mail waits", "그 사용자로 maildirmake를 실행해 만드십시오. 메일은 큐에서 기다립니다", "そのユーザーで maildirmake を実行して作ってください。メールはキューで待機しています"}},
	"maildir-timeout": {
		[3]string{"writing into the Maildir took too long", "Maildir에 쓰는 데 너무 오래 걸렸습니다", "Maildir への書き込みに時間がかかりすぎました"},
		[3]string{"look at the file system or file server", "파일 시스템이나 파일 서버를 확인하십시오", "ファイルシステムかファイルサーバーを確認してください"}},
	"maildir-trouble": {
		[3]string{"the Maildir cannot be written: full, over quota, read-only, or without tmp or new", "Maildir에 쓸 수 없습니다. 디스크가 가득 찼거나 할당량을 넘었거나 읽기 전용이거나, tmp나 new가 없습니다", "Maildir に書き込めません。ディスクが一杯か、容量超過か、読み取り専用か、tmp か new がありません"},
		[3]string{"make room; see tmp, new and cur and their owner; the mail waits", "공간을 확보하고 tmp, new, cur와 그 소유자를 확인하십시오. 메일은 큐에서 기다립니다", "空きを作り、tmp、new、cur とその所有者を確認してください。メールはキューで待機しています"}},
	"message-unreadable": {
		[3]string{"the message in the queue could not be read", "큐에 있는 메시지를 읽을 수 없었습니다", "キューにあるメッセージを読めませんでした"},
		[3]string{"look at the queue's disk and the log", "큐의 디스크와 로그를 확인하십시오", "キューのディスクとログを確認してください"}},
	"mailbox-file-unopened": {
		[3]string{"the mbox file cannot be opened as the user", "그 사용자로 mbox 파일을 열 수 없습니다", "そのユーザーで mbox ファイルを開けません"},
		[3]string{"see its path, owner and mode; the mail waits", "경로와 소유자, 권한을 확인하십시오. 메일은 큐에서 기다립니다", "パス、所有者、モードを確認してください。メールはキューで待機しています"}},
	"mailbox-file-locked": {
		[3]string{"something else holds the mbox's lock", "다른 프로그램이 mbox의 잠금을 잡고 있습니다", "別のプログラムが mbox のロックを持っています"},
		[3]string{"end the reader that holds it, or remove a lock file that was left behind; a Maildir needs none", "잡고 있는 프로그램을 끝내거나 남은 잠금 파일을 지우십시오. Maildir에는 잠금이 필요 없습니다", "ロックしているプログラムを終了するか、残ったロックファイルを削除してください。Maildir にはロックが要りません"}},
	"mailbox-file-busy": {
		[3]string{"something else has held the mbox's lock for three seconds, and a fifth of the places for local deliveries is taken by such waiting", "다른 프로그램이 3초 동안 mbox의 잠금을 잡고 있고, 로컬 배달 자리의 5분의 1이 이미 그런 대기에 쓰이고 있습니다", "別のプログラムが mbox のロックを 3 秒間持っており、ローカル配送の枠の 5 分の 1 がすでにそのような待機に使われています"},
		[3]string{"end the reader that holds it; it is tried again; a Maildir needs no lock", "잡고 있는 프로그램을 끝내십시오. 다시 시도합니다. Maildir에는 잠금이 필요 없습니다", "ロックしているプログラムを終了してください。再試行されます。Maildir にはロックが要りません"}},
	"mailbox-file-unwritten": {
		[3]string{"the mbox cannot be written: full, over quota or read-only; what was written is taken back", "mbox에 쓸 수 없습니다. 디스크가 가득 찼거나 할당량을 넘었거나 읽기 전용입니다. 쓴 부분은 되돌렸습니다", "mbox に書き込めません。ディスクが一杯か、容量超過か、読み取り専用です。書いた分は元に戻しました"},
		[3]string{"make room; the mail waits", "공간을 확보하십시오. 메일은 큐에서 기다립니다", "空きを作ってください。メールはキューで待機しています"}},
	"runas-unavailable": {
		[3]string{"role runas is stopped, restarting or overloaded", "runas 역할이 멈추었거나 다시 시작 중이거나 과부하입니다", "ロール runas が停止中か、再起動中か、過負荷です"},
		[3]string{"it is tried again; see `postilion status` and the log", "다시 시도합니다. `postilion status`와 로그를 확인하십시오", "再試行されます。`postilion status` とログを確認してください"}},
	"runas-busy": {
		[3]string{"one user's deliveries and programs fill the room that a single user has", "한 사용자의 배달과 프로그램이 그 사용자의 몫을 모두 쓰고 있습니다", "一人のユーザーの配送とプログラムが、その割り当てを使い切っています"},
		[3]string{"it is tried again; see which of the user's programs do not end", "다시 시도합니다. 그 사용자의 프로그램 중 끝나지 않는 것을 찾으십시오", "再試行されます。そのユーザーの終わらないプログラムを探してください"}},
	"runas-only-own-user": {
		[3]string{"only root may become another user", "다른 사용자가 되려면 root여야 합니다", "別のユーザーになれるのは root だけです"},
		[3]string{"start the server as root", "서버를 root로 시작하십시오", "サーバーを root で起動してください"}},
	"runas-reserved-user": {
		[3]string{"the user is one under which a part of the server runs", "서버의 일부가 그 사용자로 실행됩니다", "サーバーの一部がそのユーザーで動いています"},
		[3]string{"give the address an alias to a real mailbox", "그 주소를 실제 사서함으로 보내는 별칭을 만드십시오", "そのアドレスを実際のメールボックスへ送る別名を作ってください"}},
	"runas-refused-group": {
		[3]string{"users/assign, or another list of users, gives the user a group of runas.refused_groups that is not the user's own in passwd", "users/assign 같은 사용자 목록이 runas.refused_groups에 있는 그룹을 그 사용자에게 지정했는데, passwd에 있는 그 사용자의 그룹이 아닙니다", "users/assign などのユーザー一覧が runas.refused_groups のグループをそのユーザーに指定していますが、passwd にあるそのユーザー自身のグループではありません"},
		[3]string{"give the user another group there; or take the group out of runas.refused_groups; the mail waits", "그 목록에서 다른 그룹을 지정하거나 runas.refused_groups에서 그 그룹을 빼십시오. 메일은 큐에서 기다립니다", "その一覧で別のグループを指定するか、runas.refused_groups からそのグループを外してください。メールはキューで待機しています"}},
}
