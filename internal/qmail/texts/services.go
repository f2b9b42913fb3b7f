package texts

// smtpd is what qmail-smtpd answers (qmail reference 4.3, 27).
func smtpd() []Text {
	const p = "qmail-smtpd"
	t := func(reply int, words, cause, remedy string) Text {
		class := Permanent
		if reply < 500 {
			class = Temporary
		}
		return Text{Program: p, Words: words, Class: class, Reply: reply, Cause: cause, Remedy: remedy}
	}
	chkuser := func(reply int, status, words, cause, remedy string) Text {
		x := t(reply, words, cause, remedy)
		x.Front = status
		return x
	}
	return []Text{
		t(553, "sorry, your envelope sender is in my badmailfrom list (#5.7.1)", "control/badmailfrom names the sender or its domain", "take it out, if it is innocent"),
		t(553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "the domain is not taken from this client: not in rcpthosts, and the client may not relay", "add the domain to rcpthosts, or the client's address to tcp.smtp with RELAYCLIENT; users outside use authenticated submission"),
		t(555, "syntax error (#5.5.4)", "an address is malformed or longer than 900 bytes", "mend the address or the client"),
		t(503, "MAIL first (#5.5.1)", "RCPT or DATA without MAIL", "mend the client"),
		t(503, "RCPT first (#5.5.1)", "DATA without a recipient that was taken", "see the answers to RCPT"),
		t(451, "qqt failure (#4.3.0)", "qmail-queue cannot be started, mostly for a memory limit", "raise softlimit of qmail-smtpd"),
		t(554, "too many hops, this message is looping (#5.4.6)", "100 lines Received or Delivered: it runs in a circle", "find the forward or MX that leads back"),
		t(552, "sorry, that message size exceeds my databytes limit (#5.3.4)", "the message is larger than control/databytes or DATABYTES", "send less, or raise the limit"),
		t(502, "unimplemented (#5.5.1)", "the command is not known", "nothing: clients do without"),
		t(421, "out of memory (#4.3.0)", "the memory limit is too low", "raise softlimit of qmail-smtpd"),
		t(421, "unable to read controls (#4.3.0)", "a control file cannot be read, or neither smtpgreeting nor me exists", "write control/me; see the files' modes"),
		t(421, "unable to figure out my IP addresses (#4.3.0)", "the interfaces cannot be read", "see the host's network"),
		t(451, "timeout (#4.4.2)", "the client was silent for timeoutsmtpd seconds", "see the client and the path MTU"),
		t(451, "See https://cr.yp.to/docs/smtplf.html.", "the client sends lines that end in LF alone", "mend the client; fixcrio in front helps old ones"),
		t(451, "See http://pobox.com/~djb/docs/smtplf.html.", "the client sends lines that end in LF alone", "mend the client; fixcrio in front helps old ones"),
		t(553, "sorry, your HELO host name has been denied (#5.7.1)", "control/badhelo names it (a patch)", "take it out, if it is innocent"),
		t(553, "sorry, your envelope sender has been denied (#5.7.1)", "badmailfrom of a patched qmail names it", "take it out, if it is innocent"),
		t(553, "sorry, your envelope recipient has been denied (#5.7.1)", "badrcptto of a patched qmail names it", "take it out, if it is innocent"),
		t(421, "too many invalid addresses, goodbye (#4.3.0)", "brtlimit: too many recipients that do not exist", "clean the sender's list"),
		chkuser(550, "5.1.1", "sorry, no mailbox here by that name (chkuser)", "no such mailbox", "spell the address right"),
		chkuser(552, "5.2.2", "sorry, recipient mailbox is full (chkuser)", "the mailbox is full", "let the owner delete mail"),
		chkuser(553, "5.1.3", "sorry, rcpt syntax not allowed (chkuser)", "characters that are not allowed", "spell the address right"),
		chkuser(550, "5.5.3", "sorry, you are violating our security policies (chkuser)", "a rule of chkuser", "ask the other host's postmaster"),
		chkuser(550, "5.1.8", "sorry, can't find a valid MX for sender domain (chkuser)", "the sender's domain takes no mail", "use an address that can be answered"),
		chkuser(451, "4.3.0", "system temporary unavailable, try again later (chkuser)", "the user data base does not answer", "wait"),
	}
}

// netservers is what the other servers of the network answer (qmail reference 15, 17.3, 22).
func netservers() []Text {
	return []Text{
		{Program: "qmail-qmtpd", Words: "sorry, I can't handle that recipient (#5.1.3)", Class: Permanent, Cause: "an address of 1000 bytes or with a NUL", Remedy: "mend the client"},
		{Program: "qmail-qmtpd", Words: "unacceptable sender (#5.1.7)", Class: Permanent, Cause: "a sender of 1000 bytes or with a NUL", Remedy: "mend the client"},
		{Program: "qmail-qmqpd", Words: "sorry, I can't accept addresses like that (#5.1.3)", Class: Permanent, Cause: "an address of 1000 bytes or with a NUL", Remedy: "mend the client"},
		{Program: "ofmipd", Words: "unable to read configuration (#4.3.0)", Reply: 451, Cause: "a control file cannot be read", Remedy: "see the files' modes"},
		{Program: "ofmipd", Words: "unable to read cdb (#4.3.0)", Reply: 451, Cause: "the table of names is broken", Remedy: "run ofmipname"},
		{Program: "rblsmtpd", Words: "temporary RBL lookup error", Reply: 451, Cause: "a DNS list does not answer, and -c wants an answer", Remedy: "see the name server; leave -c out"},
		{Program: "tcpserver", Words: "tcpserver: fatal: unable to bind: address already used", Class: Notice, Exit: 111, Cause: "another server has the port", Remedy: "stop it; ss -ltnp names it"},
		{Program: "tcpserver", Words: "tcpserver: warning: dropping connection, unable to read rules: *", Class: Notice, Cause: "the rules' cdb is missing or broken", Remedy: "run tcprules (qmailctl cdb)"},
		{Program: "tcprules", Words: "tcprules: fatal: unable to parse this line: *", Class: Notice, Exit: 100, Cause: "the line is no rule", Remedy: "write ADDRESS:allow or ADDRESS:deny"},
	}
}

// clients is what qmail-queue's exit status becomes in its clients (qmail reference 5.3).
func clients() []Text {
	t := func(exit int, words, cause, remedy string) Text {
		x := Text{Program: "qmail-queue", Words: words, Class: Temporary, Reply: 451, Exit: exit, Cause: cause, Remedy: remedy}
		if status(words) != "" && status(words)[0] == '5' {
			x.Class, x.Reply = Permanent, 554
		}
		return x
	}
	const disk = "look at the queue's folder, its owners and modes, the disk's room and inodes"
	return []Text{
		t(11, "envelope address too long for qq (#5.1.3)", "an address of more than 1003 bytes", "mend the sender"),
		t(31, "mail server permanently rejected message (#5.3.0)", "a filter, or the server of qmail-qmqpc, refuses it", "see the filter"),
		t(51, "qq out of memory (#4.3.0)", "the memory limit is too low", "raise softlimit"),
		t(52, "qq timeout (#4.3.0)", "the message took a day to come", "see the client"),
		t(53, "qq write error or disk full (#4.3.0)", "the queue's disk is full or fails", disk),
		t(54, "qq read error (#4.3.0)", "the client ended before the message did", "see the client"),
		t(55, "qq unable to read configuration (#4.3.0)", "a filter cannot read its configuration", "see the filter"),
		t(56, "qq trouble making network connection (#4.3.0)", "qmail-qmqpc has no network", "see the network"),
		t(61, "qq trouble in home directory (#4.3.0)", "/var/qmail cannot be entered", disk),
		t(62, "qq trouble creating files in queue (#4.3.0)", "the queue's folders cannot be written", disk),
		t(71, "mail server temporarily rejected message (#4.3.0)", "a filter, or the server of qmail-qmqpc, defers it", "see the filter"),
		t(72, "connection to mail server timed out (#4.4.1)", "the QMQP server does not answer", "see control/qmqpservers"),
		t(73, "connection to mail server rejected (#4.4.1)", "the QMQP server refuses connections", "see control/qmqpservers and its rules"),
		t(74, "communication with mail server failed (#4.4.2)", "the connection to the QMQP server broke off", "see the network"),
		t(81, "qq internal bug (#4.3.0)", "a malformed envelope (exit 91), or a filter's own bug", "see the filter; reinstall"),
		t(120, "unable to exec qq (#4.3.0)", "bin/qmail-queue or QMAILQUEUE cannot be run", "see the path and mode of the program that QMAILQUEUE names"),
		t(0, "qq permanent problem (#5.3.0)", "a filter ended with an exit status from 11 to 40", "see the filter"),
		t(0, "qq temporary problem (#4.3.0)", "a filter ended with another exit status", "see the filter"),
		t(0, "qq crashed (#4.3.0)", "qmail-queue or the filter was killed by a signal, often for its memory limit", "raise softlimit"),
		t(0, "qq waitpid surprise (#4.3.0)", "the program cannot be waited for", "see what started the client"),
	}
}

// pop3 is what qmail-popup and qmail-pop3d answer (qmail reference 14).
func pop3() []Text {
	popup := func(words, cause, remedy string) Text {
		return Text{Program: "qmail-popup", Words: "-ERR " + words, Class: Notice, Cause: cause, Remedy: remedy}
	}
	pop3d := func(words, cause, remedy string) Text {
		return Text{Program: "qmail-pop3d", Words: "-ERR " + words, Class: Notice, Cause: cause, Remedy: remedy}
	}
	return []Text{
		popup("authorization first", "a command before the login", "mend the client"),
		popup("USER first", "PASS before USER", "mend the client"),
		popup("syntax error", "an argument is missing", "mend the client"),
		popup("authorization failed", "wrong user or password, or the checker may not read the passwords", "see the password; checkpassword runs as root"),
		popup("aack, child crashed", "the password checker was killed by a signal, often for its memory limit", "raise softlimit"),
		popup("usage: popup hostname subprogram", "qmail-popup is called in a wrong way", "see the run script"),
		popup("unable to open pipe", "no more descriptors", "raise the limit"),
		popup("unable to write pipe", "the password checker does not read its input", "see the run script's checker"),
		popup("unable to fork", "no more processes", "raise the limit"),
		pop3d("unimplemented", "the command is not known", "nothing: clients do without"),
		pop3d("already deleted", "the message was deleted in this session", "RSET takes that back"),
		pop3d("messages are counted from 1", "message 0", "mend the client"),
		pop3d("not that many messages", "there is no message of that number", "LIST again"),
		pop3d("unable to open that message", "another session removed it", "log in again"),
		pop3d("unable to unlink all deleted messages", "the Maildir is not the user's, or its disk is read-only", "see owner and disk"),
		pop3d("this user has no $HOME/Maildir", "no Maildir of the name in the run script", "make it with maildirmake as that user"),
		pop3d("unable to scan $HOME/Maildir", "the Maildir cannot be read", "see its owner and mode"),
		pop3d("out of memory", "the memory limit is too low for so many messages", "raise softlimit"),
	}
}
