package texts

// send is what qmail-send writes into its log and bounces (qmail reference 7.3, 7.6).
func send() []Text {
	notice := func(words, cause, remedy string) Text {
		return Text{Program: "qmail-send", Words: words, Class: Notice, Cause: cause, Remedy: remedy}
	}
	fatal := func(words, cause, remedy string) Text {
		return Text{Program: "qmail-send", Words: words, Class: Notice, Exit: 111, Cause: cause, Remedy: remedy}
	}
	const disk = "look at the queue's folder, its owners and modes, the disk's room and inodes"
	return []Text{
		{Program: "qmail-send", Words: "I'm not going to try again; this message has been in the queue too long.", Class: Permanent, Cause: "every attempt failed for control/queuelifetime", Remedy: "see the text before it, which is the last attempt's"},
		fatal("alert: cannot start: unable to switch to home directory", "/var/qmail cannot be entered", "see its mode"),
		fatal("alert: cannot start: unable to read controls", "a control file cannot be read, or neither locals nor me exists", "write control/me"),
		fatal("alert: cannot start: unable to switch to queue directory", "queue cannot be entered", disk),
		fatal("alert: cannot start: unable to open mutex", "queue/lock/sendmutex cannot be opened", disk),
		fatal("alert: cannot start: qmail-send is already running", "another qmail-send holds the queue", "stop it; svstat names it"),
		fatal("alert: cannot start: hath the daemon spawn no fire?", "the spawners cannot be started", "start it by qmail-start, with bin in PATH"),
		notice("alert: oh no! lost spawn connection! dying...", "a spawner was killed", "see the system's log; it is started again by supervise"),
		notice("alert: oh no! lost qmail-clean connection! dying...", "qmail-clean was killed", "see the system's log"),
		notice("alert: out of memory, sleeping...", "the memory limit is too low for the queue", "raise the limit"),
		notice("alert: unable to opendir *, sleeping...", "no more descriptors, or the queue's folder is broken", disk),
		notice("alert: unable to append to bounce message; HELP! sleeping...", "the queue's disk is full; everything waits", "make room"),
		notice("alert: unable to reread controls: unable to switch to home directory", "/var/qmail cannot be entered", "see its mode; the old controls hold"),
		notice("alert: unable to reread control/locals", "the file cannot be read", "see its mode; the old ones hold"),
		notice("alert: unable to reread control/virtualdomains", "the file cannot be read", "see its mode; the old ones hold"),
		notice("alert: unable to switch back to queue directory; HELP! sleeping...", "queue cannot be entered", disk),
		notice("warning: unable to unlink *; will try again later", "the queue's files belong to somebody else", disk),
		notice("warning: unable to stat *; will try again later", "a file of the queue is missing: something removed it by hand", "never change a queue that is served"),
		notice("warning: unable to open *", "a file of the queue cannot be read", disk),
		notice("warning: unable to create *", "the queue's folder cannot be written", disk),
		notice("warning: unable to utime *; message will be retried too soon", "a file belongs to somebody else", disk),
		notice("warning: unable to start qmail-queue, will try later", "no more processes, or the program cannot be run", "raise the limits"),
		notice("warning: trouble injecting bounce message, will try later", "the queue refuses the bounce", disk),
		notice("warning: trouble marking *; message will be delivered twice!", "the queue's disk failed after a delivery", disk),
		notice("warning: trouble opening *; will try again later", "a file of the queue cannot be read", disk),
		notice("warning: trouble reading *; will try again later", "the disk failed", disk),
		notice("warning: trouble writing to *", "the disk is full or failed", disk),
		notice("warning: trouble fsyncing *", "the disk failed", disk),
		notice("warning: unknown record type in *!", "a file of the queue is broken, or was edited by hand", "take the message out with the server stopped"),
		notice("warning: qmail-clean unable to clean up *", "the queue's files belong to somebody else", disk),
		notice("warning: internal error: delivery report out of range", "a spawner of another version", "reinstall"),
		notice("report mangled, will defer", "a spawner's answer was cut off", "see the spawner's limits"),
		notice("warning: trouble in select", "the system failed", "see the system's log"),
		notice("triple bounce: discarding *", "the bounce of a bounce could not be delivered: nobody takes doublebounceto's mail", "make control/doublebounceto an address that works, postmaster if it is missing"),
		{Program: "qmail-send", Words: "I wasn't able to deliver your message to the following addresses.", Class: Permanent, Cause: "the recipients below failed for good", Remedy: "see the text below each"},
		{Program: "qmail-send", Words: "I tried to deliver a bounce message to this address, but the bounce bounced!", Class: Permanent, Cause: "the sender of the first message cannot be reached", Remedy: "mostly forged mail: refuse unknown recipients at SMTP"},
	}
}

// inject is what qmail-inject and its kin say (qmail reference 12.1, 12.8).
func inject() []Text {
	t := func(exit int, words, cause, remedy string) Text {
		class := Permanent
		if exit == 111 {
			class = Temporary
		}
		return Text{Program: "qmail-inject", Words: words, Class: class, Exit: exit, Cause: cause, Remedy: remedy}
	}
	return []Text{
		t(111, "qmail-inject: fatal: out of memory", "the memory limit is too low", "raise the limit"),
		t(100, "qmail-inject: fatal: invalid header field: *", "a line before the first empty one is no header field", "mend the program that wrote the message"),
		t(111, "qmail-inject: fatal: unable to run qmail-queue", "no more processes, or the program cannot be run", "see bin/qmail-queue and QMAILQUEUE"),
		t(100, "qmail-inject: fatal: internal bug", "a bug", "report it"),
		t(111, "qmail-inject: fatal: read error", "the message cannot be read", "see what feeds it"),
		t(100, "qmail-inject: fatal: unable to parse this line:*", "an address field is malformed", "quote names with special characters, and put commas between addresses"),
		t(100, "qmail-inject: fatal: unable to parse address: *", "an argument is no address", "write user@host"),
		{Program: "sendmail", Words: "sendmail: fatal: please use fastforward/newaliases instead", Class: Permanent, Exit: 100, Cause: "newaliases of qmail's sendmail makes no aliases", Remedy: "use fastforward's newaliases"},
	}
}

// tools is what programs in .qmail files and those that make tables say (qmail reference 8.4, 8.6, 18).
func tools() []Text {
	fatal := func(program, words, cause, remedy string) Text {
		return Text{Program: program, Words: program + ": fatal: " + words, Class: Notice, Exit: 111, Cause: cause, Remedy: remedy}
	}
	return []Text{
		fatal("qmail-newu", "bad format in users/assign", "a line has not seven colons, or the last line is no dot", "mend the line; `config check --qmail` names it"),
		fatal("qmail-newu", "unable to open users/assign", "the file is missing", "write it, or run qmail-pw2u"),
		fatal("qmail-newu", "unable to read users/assign", "the disk failed", "check the disk"),
		fatal("qmail-newu", "unable to open users/cdb.tmp", "users cannot be written", "run it as root"),
		fatal("qmail-newu", "unable to write users/cdb.tmp", "the disk is full", "make room"),
		fatal("qmail-newu", "unable to move users/cdb.tmp to users/cdb", "users cannot be written", "run it as root"),
		fatal("qmail-newmrh", "unable to read control/morercpthosts: *", "the file is missing", "write it"),
		fatal("qmail-newmrh", "unable to write to control/morercpthosts.tmp: *", "control cannot be written", "run it as root"),
		fatal("qmail-pw2u", "unable to find alias user", "the input has no user alias, or its home is another's", "make the user alias"),
		fatal("qmail-pw2u", "unable to stat *", "a home does not exist (-h)", "make it, or leave -h out"),
		fatal("qmail-pw2u", "unable to find * user for subuser", "users/subusers names a user that the input lacks", "mend users/subusers"),
		fatal("newaliases", "file delivery * not supported", "fastforward does not deliver to files", "deliver from a .qmail file"),
		fatal("newaliases", "unable to parse this line: *", "the line is no alias", "write name: address, address"),
		fatal("setforward", "final instruction must end with semicolon", "the last entry has no ;", "write one"),
		fatal("setforward", "double colons are not permitted", "two colons in an entry", "put ; behind the entry before, or \\ before the colon"),
		fatal("setforward", "commas are not permitted before colons", "a , or ; without a target and colon before it", "write target: command;"),
		fatal("dot-forward", "file delivery * not supported", ".forward names a file or an :include:", "deliver from a .qmail file"),
		fatal("dot-forward", "unable to parse this line: *", "the line of .forward is no list of addresses", "put commas between addresses"),
		{Program: "fastforward", Words: "$DEFAULT or $EXT must be set", Class: Permanent, Exit: 100, Cause: "fastforward -d outside of a .qmail file", Remedy: "call it from .qmail-default"},
		fatal("qmail-start", "unable to run *", "a program is missing from PATH", "put /var/qmail/bin first in PATH"),
	}
}
